"""The flag that is named for an unknown one belongs to the command, and means the same."""
import pytest

from centernet.config.declared import SETTINGS, aliases
from centernet.config.launcher import FOREGROUND, GROUP_OPTIONS, OPTIONS
from centernet.config.load import load_config
from centernet.config.near_flags import SYNONYMS
from centernet.config.shorthands import SHORTHANDS
from centernet.errors import UserError, listed


@pytest.mark.parametrize("entry, flag, meant", [
    ("train", "batch", "train_config.batch_size"), ("eval", "batch", "eval_config.batch_size"),
    ("train", "batch-size", "train_config.batch_size"), ("export", "batch", "export_batch_size"),
    ("infer", "batchsize", "eval_config.batch_size"), ("train", "imgsz", "input_size"),
    ("infer", "source", "image"), ("infer", "conf", "score_thresh"), ("eval", "conf", "eval_config.score_thresh"),
    ("infer", "iou", "nms"), ("train", "patience", "train_config.early_stop"), ("train", "project", "out"),
    ("train", "config", "config_path"), ("train", "pretrained", "backbone_checkpoint"),
    ("train", "freeze", "train_config.freeze_stages"), ("train", "epoch", "epochs"), ("train", "Seed", "seed"),
    ("train", "SOFT_nms", "eval_config.SOFT_NMS")])
@pytest.mark.fault("flags of other programs", "--batch, --imgsz, --conf, --source, ...",
                   "an error that names the setting of this command")
def test_names_of_other_programs(entry, flag, meant):
    with pytest.raises(UserError, match=rf"did you mean --{meant}\?"):
        load_config(entry, [f"--{flag}", "4"], "")


@pytest.mark.parametrize("argv, message", [
    (["--epoch", "3", "--imgsz=64", "--cache", "-1", "--epoch", "4"],
     "train.py: 3 problems:\n  - unknown argument '--epoch'; did you mean --epochs?\n  - unknown argument "
     "'--imgsz=64'; did you mean --input_size?\n  - unknown argument '--cache'.\n`train.py --help-all` lists all "
     "flags."),
    (["--cache", "-1"], "train.py: unknown argument '--cache'. `train.py --help-all` lists all flags."),
    ([f"--x{number}" for number in range(30)], "train.py: 30 problems:")])
@pytest.mark.fault("several flags that do not exist", "two misspelt and one of another program",
                   "one message with all of them and the flags that are meant")
def test_all_unknown_flags_are_told(argv, message, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(UserError) as caught:
        load_config("train", argv, "")
    assert str(caught.value).startswith(message) and len(str(caught.value).splitlines()) <= 23


@pytest.mark.parametrize("entry, flag, owner", [("infer", "epochs", "train"), ("train", "report", "eval"),
                                                ("eval", "image", "infer"), ("eval", "lr", "train")])
def test_flags_of_other_commands(entry, flag, owner):
    with pytest.raises(UserError, match=rf"unknown argument '--{flag}': it is a flag of .*{owner}.*\."):
        load_config(entry, [f"--{flag}", "4"], "")


@pytest.mark.parametrize("flag", [name for name in (*OPTIONS, *GROUP_OPTIONS, FOREGROUND) if name not in SETTINGS])
def test_flags_of_the_launcher(flag):
    with pytest.raises(UserError, match=f"'--{flag}': it is a flag of the script that starts a training on several"):
        load_config("train", [f"--{flag}", "4"], "")


@pytest.mark.parametrize("words", [["128x128"], ["1", "2", "3"], ["0.5"], ["-5"]])
def test_an_input_size_of_another_form(words):
    with pytest.raises(UserError, match="--input_size .*: give one number of pixels, or height and width, such as"):
        load_config("train", ["--input_size", *words], "")


def test_weights_of_other_programs_are_a_file():
    with pytest.raises(UserError, match="weights must be one of ema, raw; found 'best.pt'. The file of a model is"):
        load_config("infer", ["--weights", "best.pt"], "")


@pytest.mark.parametrize("flag", ["cache", "imgsz"])
def test_nothing_is_guessed_where_no_setting_has_the_meaning(flag):
    with pytest.raises(UserError) as caught:
        load_config("convert_weights", [f"--{flag}", "4"], "")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("entry, word, flags", [
    ("infer", "photo.jpg", "--model PATH --data PATH."), ("train", "shards", "--data PATH."),
    ("dataset", "coco", "--data PATH --out PATH.")])
def test_a_path_without_a_flag(entry, word, flags):
    with pytest.raises(UserError) as caught:
        load_config(entry, [word], "")
    assert f"'{word}': it belongs to no flag. Paths have flags, too: {flags}" in str(caught.value)


def test_the_meanings_are_flags():
    known = {*SETTINGS, *(item.name for item in SHORTHANDS), *aliases("train"), "config_path"}
    assert {name for names in SYNONYMS.values() for name in names} <= known


def test_dots_only_for_what_is_left_out():
    assert listed(("RBC", "WBC", "Platelets")) == "RBC, WBC, Platelets" and listed(list("abcd")) == "a, b, c, ..."


@pytest.mark.parametrize("dash", ["\u2013", "\u2014"])
def test_a_long_dash_is_named(dash):
    with pytest.raises(UserError, match="it begins with a long dash. Flags begin with two short ones: --model"):
        load_config("infer", [f"{dash}model", "a.onnx"], "")
