"""Messages name commands that the reader has: `centernet NAME` after an installation, NAME.py in a checkout."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from centernet import program as names
from centernet.config.flags import EXAMPLES
from centernet.data.info_file import read_info
from centernet.data.layouts.found import command as import_of
from centernet.data.mindrecord import open_shards
from centernet.errors import UserError
from centernet.files import write_text
from centernet.runtimes.manifest import read_manifest
from centernet.training.loop import diagnosis
from centernet.training.train_log import StepResult

SRC = Path(__file__).parents[1] / "src/centernet"
FILES = re.compile(r"\b(train|eval|export|infer|preprocess|postprocess|convert_weights|dataset)\.py\b"
                   r"|\b(scripts|requirements)[/-]")
# Parts that only a checkout has: the scripts start them, or the text is about a script.
ONLY_CHECKOUT = ("jobs/launch/", "jobs/start_job.py", "program.py")
ABOUT_SCRIPTS = ("scripts/convert_om.sh", "scripts/run_distributed_train_ascend.sh or ")


def texts(path):
    """The texts of a file that can be printed: no docstrings."""
    tree = ast.parse(path.read_text())
    documents = {id(node.body[0].value) for node in ast.walk(tree)
                 if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and node.body
                 and isinstance(node.body[0], ast.Expr)}
    return [node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents]


def test_no_message_names_a_file_that_an_installation_lacks():
    found = [(path.name, text) for path in SRC.rglob("*.py") for text in texts(path)
             if not str(path.relative_to(SRC)).startswith(ONLY_CHECKOUT) and FILES.search(text)
             and not any(known in text for known in ABOUT_SCRIPTS) and path.name != "command.py"]
    assert not found


@pytest.mark.parametrize("entry", sorted(EXAMPLES))
def test_the_named_command_exists(entry, monkeypatch):
    from centernet.cli import COMMANDS
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.chdir(names.ROOT)
    monkeypatch.setattr("sys.argv", ["train.py"])
    words = names.command(entry).split()
    assert words[0] == "centernet" and words[1] in COMMANDS or (names.ROOT / words[1]).is_file()
    monkeypatch.setattr(names, "ROOT", Path("/usr/lib"))  # the wheel
    for started in ("train.py", "/usr/bin/centernet", "/lib/centernet/__main__.py", "notebook.py"):
        monkeypatch.setattr("sys.argv", [started])
        first, name = names.command(entry).split()
        assert first == "centernet" and name in COMMANDS


@pytest.mark.parametrize("started", ["/here/src/centernet/__main__.py", "/here/eval.py"])
def test_a_checkout_that_is_not_installed_has_no_command_centernet(started, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", [started])
    monkeypatch.chdir(names.ROOT)
    assert [names.program(entry) for entry in ("dataset", "train", "check_data")] == [
        "dataset.py", "train.py", "python -m centernet check-data"]
    assert [names.command(entry) for entry in ("dataset", "eval", "import_dataset", "compare")] == [
        "python src/dataset.py", "python eval.py", "PYTHONPATH=src python -m centernet import-dataset",
        "PYTHONPATH=src python -m centernet compare"]
    assert import_of(tmp_path / "a b").startswith("PYTHONPATH=src python -m centernet import-dataset --data '/")
    done = subprocess.run(["bash", "-c", f"{names.command('import_dataset')} --help"], capture_output=True, text=True,
                          env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"})
    assert done.returncode == 0 and "--val_share" in done.stdout
    monkeypatch.chdir(tmp_path)
    assert names.command("check_data") == f"PYTHONPATH={names.ROOT}/src python -m centernet check-data"
    monkeypatch.setattr(names, "ROOT", tmp_path)  # the wheel, in an environment that is not active
    assert names.command("import_dataset") == names.program("import_dataset") == "python -m centernet import-dataset"
    assert names.command("train") == "python -m centernet train"
    (tmp_path / "centernet").touch(0o755)
    assert names.command("import_dataset") == "centernet import-dataset"


def test_no_message_names_the_command_centernet_itself():
    """Names of commands come from program.py, which knows whether there is such a command."""
    allowed = ("program.py", "__main__.py")
    found = [(path.name, text) for path in SRC.rglob("*.py") for text in texts(path)
             if re.search(r"\bcenternet (train|eval|export|infer|import|check|convert|p[a-z]+process|compare)", text)
             and path.name not in allowed]
    assert not found


def test_a_command_is_found_from_another_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["/somewhere/eval.py"])
    monkeypatch.chdir(tmp_path)
    assert names.command("dataset") == f"python {names.ROOT / 'src/dataset.py'}"


@pytest.mark.parametrize("checkout", [True, False])
def test_messages_of_every_room(checkout, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["train.py"])
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    if checkout:
        monkeypatch.chdir(names.ROOT)
    else:
        monkeypatch.setattr(names, "ROOT", tmp_path)
    convert = "python src/dataset.py" if checkout else "centernet convert-dataset"
    (tmp_path / "a.ckpt").touch()
    write_text(tmp_path / "p.info.json", '{"complete": false}')
    export = "python export.py" if checkout else "centernet export"
    for function, argument, message in (
            (read_info, tmp_path / "p.info.json", f"; run `{convert}` again"),
            (read_manifest, tmp_path / "a.ckpt", f"Run `{export} --export_load_ckpt")):
        with pytest.raises(UserError, match=re.escape(message)):
            function(argument)
    with pytest.raises(UserError, match=f"first: {convert} --data DATA --out "):
        open_shards(tmp_path / "none", "p", (), 0)
    lost = StepResult(*[float("nan")] * 4, True, 1.0, 0.1)
    assert f"({convert} --strict true)" in diagnosis(1, 1, lost)
    assert names.install("onnx", "onnx") == ("pip install -r requirements-onnx.txt" if checkout else "pip install onnx")


def test_a_deleted_current_folder(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert names.command("train").endswith("train.py")
