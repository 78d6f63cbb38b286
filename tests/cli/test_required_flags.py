"""--help marks the flags that a command needs, and a command without them names one of them."""
import importlib

import pytest

from centernet.cli import COMMANDS
from centernet.config.declared import flags_of
from centernet.config.load import load_config
from centernet.config.setting import ENTRIES
from centernet.errors import UserError

NEEDED = {"train": {"data"}, "eval": {"model", "data"}, "export": {"model"}, "infer": {"model", "data"},
          "dataset": {"data", "out"}, "import_dataset": {"data"}, "check_data": {"data"},
          "convert_weights": {"model", "out"}, "preprocess": {"model", "data", "out"},
          "postprocess": {"model", "data", "meta_path"}}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("flag", ["--help", "--help-all"])
def test_help_marks_required_flags(entry, flag, capsys):
    with pytest.raises(SystemExit):
        load_config(entry, [flag], "")
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("[required") == len(NEEDED[entry])
    usage = text.partition(" [flags]")[0]
    for name in NEEDED[entry]:
        assert f" --{name} " in usage
    uses = {declared.name: declared.uses[entry] for declared in flags_of(entry)}
    needed = {use.alias or name: use.need for name, use in uses.items() if use.need}
    assert set(needed) == NEEDED[entry] and all(text.count(f"[{need}]") for need in needed.values())


@pytest.mark.parametrize("entry", sorted(set(ENTRIES) - {"dataset"}))
def test_a_command_without_its_flags_names_one_of_them(entry):
    name = {"eval": "evaluate"}.get(entry, entry)
    assert name in {module for module, _ in COMMANDS.values()}
    run = importlib.import_module(f"centernet.cli.{name}").run
    names = [f"--{word}" for declared in flags_of(entry) if declared.uses[entry].need
             for word in (declared.name, declared.uses[entry].alias)]
    with pytest.raises(UserError) as caught:
        run(load_config(entry, ["--device_target", "CPU"], ""))
    assert str(caught.value).split()[0] in names
