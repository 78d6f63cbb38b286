"""The export for MindSpore Lite 2.0 looks at its flags before it sets up MindSpore 2.0."""
import pytest
from tiny_model import read_config, tiny_checkpoint, tiny_config

from tools import export_mindir_lite20

CKPT = ["--export_load_ckpt", "net.ckpt"]


@pytest.mark.parametrize("flags, message", [
    (["--export_load_ckpt", ""], "--export_load_ckpt is empty: give a value, or leave the flag out"),
    (["--export_load_ckpt", "none.ckpt"], "none.ckpt"),
    ([*CKPT, "--export_nme", "a"], "did you mean --export_name?"),
    ([*CKPT, "--export_name", "a.onnx"], "does not have the suffix of --export_format MINDIR"),
    (CKPT, "add --export_deform gather")])
@pytest.mark.fault("a wrong flag of an export whose set-up takes minutes", "an empty, missing or unknown flag",
                   "an error before MindSpore 2.0 is downloaded")
def test_wrong_flags_set_up_nothing(tmp_path, monkeypatch, capsys, flags, message):
    path = tiny_config(tmp_path, neck="deform")
    tiny_checkpoint(tmp_path / "net.ckpt", read_config(path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINDSPORE20_PYTHON", raising=False)
    monkeypatch.setattr(export_mindir_lite20, "_set_up", lambda: pytest.fail("MindSpore 2.0 was set up"))
    assert export_mindir_lite20.main(["--config_path", str(path), *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.fault("no MindSpore 2.0 for an export", "a set-up that fails", "an error; the model is not written")
def test_a_set_up_that_fails_is_told(tmp_path, monkeypatch, capfd):
    path = tiny_config(tmp_path)
    tiny_checkpoint(tmp_path / "net.ckpt", read_config(path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINDSPORE20_PYTHON", raising=False)
    monkeypatch.setenv("CENTERNET_LITE", str(tmp_path / "net.ckpt"))  # no folder: nothing is downloaded
    assert export_mindir_lite20.main(["--config_path", str(path), *CKPT, "--export_name", "a"]) == 2
    assert "MindSpore 2.0.0 is not there, and its set-up failed: see the message above" in capfd.readouterr().err
    assert not list(tmp_path.glob("*.mindir"))
