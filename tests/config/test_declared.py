"""One declaration per setting: the documented file, flags, help and aliases say what schema.py says."""
import ast
import dataclasses
import sys
from pathlib import Path

import pytest
import yaml

from centernet.config.declared import SETTINGS, aliases, flags_of, paths
from centernet.config.flags import program
from centernet.config.load import DEFAULT_CONFIG, PRESETS, load_config
from centernet.config.schema import Config, NetConfig
from centernet.config.setting import ENTRIES
from centernet.config.values import convert, is_list
from centernet.errors import UserError
from tools.default_config import render

FOLDER = Path(sys.modules["centernet.config.declared"].__file__).parent
VALUES, HELP, CHOICES = yaml.safe_load_all(DEFAULT_CONFIG.read_text())
MAIN = {  # model, data, out
    "dataset": (None, "coco_data_dir", "mindrecord_dir"),
    "train": ("load_checkpoint_path", "mindrecord_dir", "save_checkpoint_path"),
    "eval": ("load_checkpoint_path", "data_dir", "save_result_dir"),
    "export": ("export_load_ckpt", None, "export_name"),
    "convert_weights": ("input", None, "output"),
    "preprocess": ("model_path", "val_data_dir", "predict_dir"),
    "infer": ("model_path", "image", "save_result_dir"),
    "postprocess": ("model_path", "result_path", "save_path"),
    "import_dataset": (None, "source_dir", "import_dir"),
    "check_data": (None, "data_dir", "save_result_dir"),
}


def leaves(tree, prefix=""):
    for key, value in tree.items():
        yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]


def test_the_documented_file_has_the_declared_values_help_and_choices():
    assert {name: convert(SETTINGS[name].kind, value) for name, value in leaves(VALUES)} == {
        name: declared.default for name, declared in SETTINGS.items()}
    assert dict(leaves(HELP)) == {name: declared.help for name, declared in SETTINGS.items()}
    assert dict(leaves(CHOICES)) == {name: list(declared.choices) for name, declared in SETTINGS.items()
                                     if declared.choices}


def test_the_documented_file_is_what_the_command_writes():
    text = DEFAULT_CONFIG.read_text()
    assert render(text) == text
    # From a file that lacks a key, has another value, and a comment: the comment stays.
    other = text.replace("shard_num: 8\n", "", 1).replace("epoch_size: 1\n", "epoch_size: 2  # mine\n", 1)
    assert render(other) == text.replace("epoch_size: 1\n", "epoch_size: 1               # mine\n", 1)


def test_every_setting_is_documented_and_taken_by_an_entry():
    assert all(declared.help and declared.uses and set(declared.uses) <= set(ENTRIES)
               for declared in SETTINGS.values())
    assert {field.name for field in dataclasses.fields(Config)} == {name.split(".")[0] for name in SETTINGS} | {
        "preset", "given", "named"}
    assert all(not declared.choices or declared.default in declared.choices for declared in SETTINGS.values())


@pytest.mark.parametrize("entry", ENTRIES)
def test_main_flags_have_the_same_names_everywhere(entry, capsys):
    names = dict(zip(("model", "data", "out"), MAIN[entry]))
    assert aliases(entry) == {alias: name for alias, name in names.items() if name}
    with pytest.raises(SystemExit):
        load_config(entry, ["--help"], "")
    text = capsys.readouterr().out
    for alias, name in aliases(entry).items():
        path = "PATH [PATH ...]" if is_list(SETTINGS[name]) else "PATH"
        assert f"--{name} {path}, --{alias} {path}" in " ".join(text.split())
        for words in ([f"--{alias}", "here"], [f"--{alias}=here"], [f"--{name}", "here"]):
            here = ("here",) if is_list(SETTINGS[name]) else "here"
            assert getattr(load_config(entry, words, ""), name) == here
        same = f"--{alias} and --{name} are the same flag of {program(entry)}: give only one"
        with pytest.raises(UserError, match=same):
            load_config(entry, [f"--{alias}=here", f"--{name}", "there"], "")


def test_an_alias_that_an_entry_does_not_have_is_unknown():
    with pytest.raises(UserError, match="export.py: unknown argument '--data': there is no data for export.py. `exp"):
        load_config("export", ["--data", "coco"], "")


@pytest.mark.parametrize("entry", ENTRIES)
def test_paths_of_modelarts_jobs_are_settings_of_text(entry):
    for role in ("data", "output", "model"):
        for name, use in paths(entry, role).items():
            # A list of paths is replaced path by path, see modelarts._below.
            assert SETTINGS[name].kind is str or name == "image", name
            assert "." not in name
            assert bool(use.suffixes) == (role == "model")
    main = [use for use in paths(entry, "model").values() if use.alias]
    assert len(main) == ("model" in aliases(entry))


def test_flags_are_listed_with_the_main_ones_first_and_the_sections_last():
    names = [declared.name for declared in flags_of("train")]
    assert names[:3] == ["mindrecord_dir", "save_checkpoint_path", "load_checkpoint_path"]
    assert names.index("epoch_size") < names.index("device_target") < names.index("dataset_config.mean")


def test_the_network_is_declared_for_python_3_7_without_packages():
    """MindSpore 2.0's Python imports these files (tools/export_in_mindspore20.py)."""
    for name in ("setting", "sections", "schema"):
        tree = ast.parse((FOLDER / f"{name}.py").read_text(), feature_version=(3, 7))
        modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in ast.walk(tree)
                   if isinstance(node, (ast.Import, ast.ImportFrom))}
        assert modules <= {"__future__", "typing", "collections.abc", "dataclasses", "centernet.config.setting",
                           "centernet.config.sections"}, name
    network = yaml.safe_load((PRESETS / "official_hourglass.yaml").read_text())["net_config"]
    assert NetConfig(**network).size_unit == 128
