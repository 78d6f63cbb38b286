import os

import pytest

from centernet.errors import UserError
from centernet.evaluation.inputs import find_inputs


@pytest.mark.fault("a file name that is not UTF-8", "a name of such bytes", "refused before the first image")
@pytest.mark.parametrize("chosen", ["", "*.jpg", "caf\udce9.jpg"])
def test_a_name_that_json_cannot_hold_is_refused_before_the_work(tmp_path, chosen):
    (tmp_path / "good.jpg").write_bytes(b"")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.jpg", "wb"):
        pass
    with pytest.raises(UserError, match=r"image '.*/caf\\udce9.jpg': the name is not UTF-8, .* rename it") as error:
        find_inputs([str(tmp_path / chosen)])
    str(error.value).encode()  # the message itself can be printed


def test_names_of_all_alphabets_are_found(tmp_path):
    for name in ("street.jpg", "stra\u00dfe.jpg", "\u6f22 \U0001f600.png"):
        (tmp_path / name).write_bytes(b"")
    assert len(find_inputs([str(tmp_path)]).images) == 3
