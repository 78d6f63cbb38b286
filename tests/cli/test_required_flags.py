"""--help marks the flags that a command needs, and a command without them names one of them."""
import dataclasses
import errno
import importlib
import os
from types import SimpleNamespace

import pytest
from tiny_coco import make_coco

from centernet import owner
from centernet.cli import COMMANDS, check_data, compare, export, import_dataset, postprocess
from centernet.config.declared import aliases, flags_of
from centernet.config.load import load_config
from centernet.config.setting import ENTRIES
from centernet.data.layouts import found, write
from centernet.data_check import check
from centernet.errors import UserError
from centernet.evaluation.report import result_folder
from centernet.training.folders import require_folders
from tests.data.layouts.makers import make_csv, random_boxes

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


@pytest.mark.parametrize("entry, folder", [("train", "checkpoints"), ("eval", "results"), ("infer", "results"),
                                           ("check_data", "data_check"), ("export", "centernet_resnet50"),
                                           ("postprocess", "results_310"),
                                           ("import_dataset", "the folder of the data set")])
def test_help_shows_where_the_results_go_without_a_flag(entry, folder, capsys):
    with pytest.raises(SystemExit):
        load_config(entry, ["--help"], "")
    text = " ".join(capsys.readouterr().out.split()).partition(" --out PATH ")[2].partition(" --")[0]
    assert text.endswith((f"(default: {folder})", f"without it: {folder}"))


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


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.fault("--out with an unset variable of the shell", "each command with an empty --out",
                   "an error; the default would be another folder than the user meant")
def test_an_empty_place_for_the_results_is_an_error(entry, value):
    name = aliases(entry)["out"]
    for flag in (f"--out={value}", f"--{name}={value}"):
        with pytest.raises(UserError, match=rf"^--(out \({name}\)|{name}) is empty: name where the results "
                                            "go, or leave the flag out$"):
            load_config(entry, [flag], "")
        load_config(entry, [flag, "--enable_modelarts", "true"], "")  # the job completes it


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.fault("a flag with an unset variable of the shell", "each flag of a text that is empty, in each command",
                   "an error; a training would start from random weights, and a preset would be passed over")
def test_an_empty_text_is_an_error(entry, value):
    texts = [declared.name for declared in flags_of(entry) if declared.kind is str and not declared.choices]
    assert {"log_file", "data_url"} < set(texts)
    out = aliases(entry)["out"]
    for name in ("config_path", *texts):
        wanted = "name where the results go" if name == out else "give a value"
        with pytest.raises(UserError, match=f"^--{name} is empty: {wanted}, or leave the flag out$"):
            load_config(entry, [f"--{name}={value}"], "")


# What a job completes, by docs/modelarts.md, besides data_url and train_url.
COMPLETED = {"dataset": {"coco_data_dir", "mindrecord_dir"}, "train": {"mindrecord_dir", "save_checkpoint_path"},
             "eval": {"data_dir", "save_result_dir"}, "export": {"export_name"}, "convert_weights": {"output"},
             "preprocess": {"val_data_dir", "predict_dir"}, "infer": {"save_result_dir", "result_path"},
             "postprocess": {"result_path", "meta_path", "save_path"}, "import_dataset": {"source_dir", "import_dir"},
             "check_data": {"data_dir", "save_result_dir"}}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("value", ["", " ", "''"])
@pytest.mark.fault("a flag of a ModelArts job that is empty", "each flag of a text, in a job",
                   "an error unless the job completes it; the preset or the log file would be left out silently")
def test_a_job_takes_only_the_empty_texts_that_it_completes(entry, value):
    texts = {declared.name for declared in flags_of(entry) if declared.kind is str and not declared.choices}
    refused = set()
    for name in (*texts, "config_path"):
        try:
            load_config(entry, ["--enable_modelarts", "true", f"--{name}={value}"], "")
        except UserError as error:
            assert str(error).startswith(f"--{name} is empty: ")
            refused.add(name)
    assert {*texts, "config_path"} - refused == COMPLETED[entry] | {"data_url", "train_url"}


def test_a_job_completes_an_empty_model_from_checkpoint_url():
    job = ["--enable_modelarts", "true", "--load_checkpoint_path", ""]
    url = ["--checkpoint_url", "obs://b/run"]
    for flags in (job, [*job, *url, "--backbone_checkpoint", "resnet18.ckpt"]):  # the job looks for the named one only
        with pytest.raises(UserError, match="^--load_checkpoint_path is empty: give a value, or leave the flag out$"):
            load_config("train", flags, "")
    assert load_config("train", [*job, *url], "").load_checkpoint_path == ""


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.fault("a flag of several words with an unset variable of the shell", "each such flag, in each command",
                   "an error before any file is read")
def test_an_empty_word_of_a_list_is_an_error(entry):
    others = ("train_config.AdamW.", "train_config.SGD.")  # of optimizers that are not chosen
    for name in [declared.name for declared in flags_of(entry) if declared.kind == tuple[str, ...]
                 and not declared.name.startswith(others)]:
        for value in ("", " "):
            with pytest.raises(UserError, match=f"^--{name} is empty: give a value, or leave the flag out$"):
                load_config(entry, [f"--{name}", value], "")
        with pytest.raises(UserError, match=f"^--{name} has an empty word: leave it out$"):
            load_config(entry, [f"--{name}", "a", ""], "")
    if entry == "infer":
        load_config(entry, ["--enable_modelarts", "true", "--image="], "")  # a job takes the folder of the data


def test_an_empty_text_does_not_unset_what_a_file_says(tmp_path):
    (tmp_path / "mine.yaml").write_text("load_checkpoint_path: a.ckpt\ndata_dir: ''")
    flags = ["--config_path", str(tmp_path / "mine.yaml")]
    with pytest.raises(UserError, match=r"^--model \(load_checkpoint_path\) is empty: give a value, or leave the flag "
                                        "out, and load_checkpoint_path out of the file of --config_path, too$"):
        load_config("train", [*flags, "--model", ""], "")
    assert load_config("train", flags, "").data_dir == ""  # in a file it means: not set


@pytest.mark.parametrize("words, message", [
    (["a", "b", "--out", ""], "--out is empty: name the page to write"),
    (["a", "b", "--out", '""'], "--out is empty: name the page to write"),
    (["a", ""], "one of the two folders is empty")])
def test_an_empty_word_of_a_comparison_is_an_error(words, message, capsys):
    assert compare.main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("below", ["", "sub/folder"])
@pytest.mark.fault("--out that is a file", "commands that write into a folder", "an error that says so")
def test_a_file_in_place_of_the_folder_of_the_results(below, tmp_path, capsys):
    file, data = tmp_path / "afile", tmp_path / "data"
    file.write_text("mine")
    make_coco(data, num_images=2)
    make_coco(data, num_images=2, split="val")
    out = file / below
    config = dataclasses.replace(load_config("train", [], ""), save_checkpoint_path=str(out))
    for flag, start in (("--save_checkpoint_path", lambda: require_folders(config)),
                        ("--save_result_dir", lambda: result_folder(dataclasses.replace(
                            config, save_result_dir=str(out))))):
        with pytest.raises(UserError, match=f"^{flag} {out}.*is a file: name a folder$"):
            start()
    assert check_data.main(["--data", str(data), "--out", str(out)]) == 2
    assert import_dataset.main(["--data", str(data), "--out", str(out)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: --out (save_result_dir) {out}") and second.startswith(f"error: --out {out}")
    assert first.endswith("is a file: name a folder") and second.endswith("is a file: name a folder")
    assert "without --out" not in second and file.read_text() == "mine"


@pytest.mark.fault("check-data --out without permission", "the lock of the folder cannot be written",
                   "an error before any image is read")
def test_a_check_whose_folder_is_not_writable_reads_no_image(tmp_path, monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    monkeypatch.setattr(owner, "_open", refuse)
    monkeypatch.setattr(check, "read_splits", lambda config: pytest.fail("data were read"))
    assert check_data.main(["--data", str(tmp_path), "--out", str(tmp_path / "report")]) == 2
    assert "report: cannot write to this folder: Permission denied. Choose another one" in capsys.readouterr().err


def test_an_import_into_a_folder_without_permission_names_another_way(tmp_path, monkeypatch):
    make_csv(tmp_path / "data", random_boxes())
    imported, out = found.read_layout(tmp_path / "data"), tmp_path / "out"
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(UserError, match=f"^--out {out}: cannot write to this folder: Permission denied. Choose another "
                                        "one$"):
        write.write_import(imported, {"train": imported.pictures}, out, False)


def test_an_export_that_cannot_be_written_loads_no_model(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.ckpt").touch()
    monkeypatch.setattr("centernet.weights.load.load_model", lambda *_: pytest.fail("the model was loaded"))
    assert export.main(["--device_target", "CPU", "--model", str(tmp_path / "a.ckpt"), "--out",
                        str(tmp_path / "a.ckpt" / "model")]) == 2
    assert capsys.readouterr().err == f"error: --out (export_name) {tmp_path / 'a.ckpt'} is a file: name a folder\n"


@pytest.mark.parametrize("flag, reason", [(os.ST_RDONLY, "Read-only file system"), (0, "Permission denied")])
@pytest.mark.fault("an export in a read-only folder", "the current folder is on a read-only disk, and no --out",
                   "an error with the folder and the system's reason, before the model is loaded")
def test_an_export_into_a_read_only_folder_says_which(tmp_path, monkeypatch, capsys, flag, reason):
    (tmp_path / "a.ckpt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=flag))
    assert export.main(["--device_target", "CPU", "--model", "a.ckpt"]) == 2
    assert capsys.readouterr().err == (f"error: --export_name {tmp_path}: cannot write to this folder: {reason}. "
                                       "Choose another one\n")


@pytest.mark.parametrize("name, message", [("nope", "there is no such folder"), ("file", "is a file")])
def test_a_postprocess_without_the_raw_output_says_so(tmp_path, capsys, name, message):
    (tmp_path / "file").touch()
    (tmp_path / "m.mindir").touch()
    (tmp_path / "m.json").touch()
    assert postprocess.main(["--model", str(tmp_path / "m.mindir"), "--result_path", str(tmp_path / name),
                             "--meta_path", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith(f" {tmp_path / name}: {message}. Name the folder of the model's raw "
                                            "output\n")


@pytest.mark.parametrize("out", [[], ["--out", "OUT"]])
@pytest.mark.fault("import-dataset into a folder without permission", "a data set on a read-only disk, or --out there",
                   "an error before the data are read")
def test_an_import_that_cannot_be_written_reads_nothing(tmp_path, monkeypatch, capsys, out):
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    monkeypatch.setattr(found, "read_layout", lambda *_: pytest.fail("data were read"))
    out = [str(tmp_path / "new") if word == "OUT" else word for word in out]
    assert import_dataset.main(["--data", str(tmp_path / "data"), *out]) == 2
    assert capsys.readouterr().err == (
        f"error: --out {tmp_path / 'new'}: cannot write to this folder: Permission denied. Choose another one\n" if out
        else f"error: --data {tmp_path / 'data/annotations'}: cannot write to this folder: Permission denied. Name a "
        "folder for the annotation files with --out\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["data"]
