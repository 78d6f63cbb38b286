"""A data set in place of shards: the message names the command that makes shards of it."""
import json
import shlex

import pytest

from centernet.config.load import load_config
from centernet.data.mindrecord import open_shards
from centernet.errors import UserError


def coco(folder):
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_train2017.json").write_text(json.dumps({"images": []}))


def voc(folder):
    (folder / "Annotations").mkdir()
    (folder / "JPEGImages").mkdir()
    (folder / "Annotations" / "a.xml").write_text("<annotation></annotation>")


@pytest.mark.parametrize("make", [coco, voc])
@pytest.mark.fault("train --data with a folder of images", "COCO's layout, VOC's layout, images alone",
                   "an error that names convert-dataset with its flags")
def test_a_data_set_is_named_with_its_conversion(make, tmp_path):
    folder = tmp_path / "my data"
    folder.mkdir()
    make(folder)
    with pytest.raises(UserError, match="is a data set with images. Convert it first: ") as caught:
        open_shards(folder, "coco_det.train.mind", (), 0)
    words = shlex.split(str(caught.value).partition("first: ")[2].partition(", and")[0])
    config = load_config("dataset", words[words.index("--data"):], "")
    assert config.coco_data_dir == str(folder) and config.mindrecord_dir == "SHARDS"


def test_images_alone_and_an_empty_folder(tmp_path):
    for name, message in (("", "an interrupted conversion leaves none: run `"), ("a.JPG", "has images, but no anno")):
        if name:
            (tmp_path / name).touch()
        with pytest.raises(UserError, match=message):
            open_shards(tmp_path, "p", (), 0)
