"""The operators of a file, as its own definition tells them."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from centernet.errors import UserError
from tools.operators import main, operators


class Small(nn.Cell):
    """Two convolutions, one ReLU, and an operator in a called function."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 1)

    def construct(self, x):
        y = self.second(ops.relu(self.first(x)))
        return ops.floor(y) if y.sum() > 0 else ops.sigmoid(y)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("operators") / "small.mindir"
    ms.export(Small(), ms.Tensor(np.zeros((1, 3, 8, 8), np.float32)), file_name=str(path), file_format="MINDIR")
    return path


def test_operators_are_counted_in_all_functions_of_the_file(model):
    found = operators(model)
    assert found["Conv2D"] == 2 and found["ReLU"] == 1
    assert found["Floor"] == found["Sigmoid"] == 1, "those of the branches, which are functions of their own"
    assert list(found) == sorted(found) and "Load" not in found and "Constant" not in found


def test_command_prints_the_table(model, capsys):
    assert main([str(model)]) == 0
    assert "   2 Conv2D\n" in capsys.readouterr().out


def test_other_files_are_refused(model, tmp_path, capsys):
    cut = tmp_path / "cut.mindir"
    cut.write_bytes(model.read_bytes()[:-100])
    for path, message in ((cut, "not a MINDIR, or is cut off"), (tmp_path / "none.mindir", "No such file")):
        with pytest.raises(UserError, match=message):
            operators(path)
        assert main([str(path)]) == 2
        assert f"error: {path}" in capsys.readouterr().err
