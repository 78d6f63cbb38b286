"""Set-up shared by the tests of data sets."""
import pytest
from tiny_coco import make_coco


@pytest.fixture
def coco(tmp_path):
    make_coco(tmp_path / "coco", num_images=6, empty=(4,))
    return tmp_path / "coco"
