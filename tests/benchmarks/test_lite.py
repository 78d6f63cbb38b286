import sys

import numpy as np
import pytest

from benchmarks.lite import LiteProgram, lite_folder, run_or_fail
from centernet.errors import UserError


def test_without_lite_there_is_no_program(tmp_path, monkeypatch):
    monkeypatch.setenv("CENTERNET_LITE", str(tmp_path))
    assert lite_folder() is None
    with pytest.raises(UserError, match="set_up_lite.sh"):
        LiteProgram([], np.zeros((1, 3, 8, 8), np.float32), tmp_path)
    (tmp_path / "mindspore_lite").mkdir()
    (tmp_path / "mindspore20/bin").mkdir(parents=True)
    (tmp_path / "mindspore20/bin/python").touch()
    assert lite_folder() == tmp_path


def test_a_command_that_fails_says_why():
    with pytest.raises(UserError, match="failed with status 3:\nmore, why$"):
        run_or_fail([sys.executable, "-c", "import os; print(os.environ['WORD'] + ', why'); exit(3)"], WORD="more")
