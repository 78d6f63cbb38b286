"""Configuration: the shipped files load, and every mistake is named with its remedy."""
from pathlib import Path

import pytest
import yaml

from centernet.config.declared import SETTINGS, flags_of
from centernet.config.flags import EXAMPLES, command
from centernet.config.load import DEFAULT_CONFIG, build_config, find_config, load_config, preset_files, write_config
from centernet.config.setting import ENTRIES
from centernet.config.values import as_flag, convert, flag_words, is_list
from centernet.errors import UserError

ROOT = Path(__file__).parents[2]
DLA = ["--config_path", str(ROOT / "configs/official_dla34.yaml")]
SGD = ["--train_config.optimizer", "SGD"]
LTRB = ["--net_config.box_head", "ltrb"]
MORE = "--net_config.more_positives"
HOURGLASS = ["--config_path", str(ROOT / "configs/official_hourglass.yaml")]
VALUES = next(yaml.safe_load_all(DEFAULT_CONFIG.read_text()))


@pytest.mark.parametrize("key, value", [
    ("mindrecord_prefix", "coco_det.train.mind"), ("epoch_size", 1), ("train_steps", -1), ("device_num", 1),
    ("save_checkpoint_steps", 1000), ("save_checkpoint_num", 1), ("data_sink_steps", 1), ("run_mode", "val"),
    ("enable_lossscale", True), ("distribute", True), ("do_shuffle", True)])
def test_documented_defaults(key, value):
    assert VALUES[key] == value


def test_documented_section_defaults():
    config = load_config("train", [], "")
    assert config.dataset_config.input_res_test == (680, 680) and config.dataset_config.max_objs == 128
    assert config.train_config.batch_size == 32 and config.train_config.loss_scale_value == 1024
    assert config.train_config.lr_scale == "none" and config.train_config.reference_batch == 256
    assert config.eval_config.K == 100 and config.eval_config.multi_scales == (1.0,) and config.eval_config.SOFT_NMS
    assert len(config.dataset_config.coco_classes) == 80


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_presets_load_for_every_entry(path):
    for entry in ENTRIES:
        assert load_config(entry, ["--config_path", str(path)], "").preset == path.stem


@pytest.mark.parametrize("word", ["official_res18", "official_res18.yaml", "configs/official_res18.yaml",
                                  "'official_res18'"])
def test_a_preset_is_found_by_its_name_from_any_folder(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "official_res18").mkdir()  # a folder is no file of that name
    assert find_config(word) == ROOT / "configs/official_res18.yaml" and preset_files([word]) == [find_config(word)]
    config = load_config("train", ["--config_path", word], "")
    assert (config.preset, config.net_config.backbone) == ("official_res18", "resnet18")


def test_a_file_wins_over_a_preset_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "official_res18").write_text("epoch_size: 7")
    config = load_config("train", ["--config_path", "official_res18"], "")
    assert (config.epoch_size, config.net_config.backbone) == (7, "resnet50")


def test_the_values_of_an_edited_default_config_are_read(tmp_path, monkeypatch):
    edited = tmp_path / "default_config.yaml"
    edited.write_text(DEFAULT_CONFIG.read_text().replace("epoch_size: 1\n", "epoch_size: 6\n", 1)
                      .replace("seed: 317\n", "", 1))
    monkeypatch.setattr("centernet.config.load.DEFAULT_CONFIG", edited)
    config = load_config("train", ["--config_path", str(edited)], "")
    assert (config.epoch_size, config.seed, config.preset) == (6, 317, "")
    edited.write_text("sead: 1")
    with pytest.raises(UserError, match="default_config.yaml: unknown key 'sead'; did you mean seed?"):
        load_config("train", [], "")


@pytest.mark.parametrize("word, value", [("true", True), ("False", False), ("TRUE", True), ("false", False)])
def test_booleans_are_real(word, value):
    assert load_config("train", ["--do_shuffle", word], "").do_shuffle is value


def test_lists_as_words_and_as_one_word():
    for words in (["64", "96"], ["[64, 96]"]):
        assert load_config("export", ["--input_res", *words], "").input_res == (64, 96)


def test_flags_win_over_the_file(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("epoch_size: 3\ntrain_config:\n    batch_size: 4\n")
    config = load_config("train", ["--config_path", str(overlay), "--epoch_size=5"], "")
    assert (config.epoch_size, config.train_config.batch_size, config.preset) == (5, 4, "mine")


def test_effective_configuration_reads_back(tmp_path):
    config = load_config("train", ["--config_path", str(ROOT / "configs/demo_cpu.yaml"), "--seed", "9"], "")
    write_config(config, tmp_path / "demo_cpu.yaml")
    assert load_config("train", ["--config_path", str(tmp_path / "demo_cpu.yaml")], "") == config


@pytest.mark.parametrize("argv, words", [
    (["--epoch_sise", "3"], "did you mean --epoch_size?"),
    (["--batch_size", "3"], "did you mean --train_config.batch_size?"),
    (["--model_path", "a.ckpt"], "did you mean --load_checkpoint_path?"),
    (["--device_target", "GPU"], "device_target must be one of Ascend, CPU; found 'GPU'"),
    (["--do_shuffle", "maybe"], "do_shuffle must be true or false, found 'maybe'"),
    (["--seed", "x"], "seed must be an integer, found 'x'"),
    (["--epoch_size", "0"], "epoch_size must be greater than 0, found 0"),
    (["--epoch_size"], "argument --epoch_size: expected one argument"),
    (["--config_path", "nowhere.yaml"], "--config_path nowhere.yaml is neither a file nor a preset. Presets are demo"),
    (["--config_path", "my/offical_res18.yaml"], "a preset; did you mean official_res18? Presets are demo_cpu, mmdet"),
    (["--config_path"], "argument --config_path: expected one argument"),
    (["--dataset_config.mean", "[0.4,"], "dataset_config.mean must be a list of 3 numbers, found ['[0.4,']"),
    (["--dataset_config.input_res_train", "100", "100"], "must be positive multiples of 32"),
    (["--dataset_config.mean", "0.5"], "dataset_config.mean must be a list of 3 numbers"),
    (["--net_config.dense_hp", "true"], "dense_hp weighs a pose loss"),
    (["--net_config.dense_wh", "true", "--net_config.norm_wh", "true"], "exclude each other"),
    ([*LTRB, "--net_config.reg_offset", "true"], "reg_offset must be false with net_config.box_head ltrb, found true"),
    ([*LTRB, "--net_config.norm_wh", "true"], "norm_wh must be false with net_config.box_head ltrb"),
    ([*LTRB, "--net_config.reg_loss", "sl1"], "reg_loss must be l1 with net_config.box_head ltrb, found sl1"),
    ([MORE, "true"], "net_config.box_head must be ltrb with net_config.more_positives true, found wh_reg: only there"),
    ([*LTRB, MORE, "true", "--net_config.mse_loss", "true"], "net_config.mse_loss must be false with net_config.more_"),
    ([*LTRB, MORE, "true", "--train_config.accumulate", "2"], "train_config.accumulate must be 1 with net_config.more"),
    ([*HOURGLASS, *LTRB, MORE, "true"], "net_config.num_stacks must be 1 with net_config.more_positives true, found 2"),
    (["--net_config.iou_score", "true"], "box_head must be ltrb with net_config.iou_score true, found wh_reg: only"),
    (["--net_config.hm_gaussian", "ellipse", "--net_config.dense_wh", "true"], "needs net_config.hm_gaussian circle"),
    (["--net_config.num_stacks", "2"], "num_stacks must be 1"),
    ([*HOURGLASS, "--net_config.num_stacks", "1"], "num_stacks must be 2 for hourglass104"),
    ([*HOURGLASS, "--net_config.neck", "conv"], "neck must be none for hourglass104"),
    ([*HOURGLASS, "--eval_config.pad", "63"], "eval_config.pad must be at least 127 for hourglass104"),
    ([*HOURGLASS, "--dataset_config.input_res_test", "512", "576"], "must be positive multiples of 128 for hourglass"),
    ([*DLA, "--net_config.neck", "none"], "neck must be deform or conv or shortcut or shortcut_deform for dla34, found "
                                          "none: its nodes"),
    ([*HOURGLASS, "--net_config.neck", "shortcut"], "neck must be none for hourglass104"),
    (["--net_config.backbone", "dlav0_34", "--net_config.neck", "shortcut"], "neck must be conv for dlav0_34"),
    ([*DLA, "--net_config.neck", "shortcut", "--net_config.neck_filters", "8", "8"], "neck_filters must be 3 numbers"),
    (["--net_config.neck", "shortcut"], "input_res_test [680, 680] must be positive multiples of 32 for resnet50 with "
                                        "neck shortcut"),
    (["--net_config.neck", "shortcut_deform", "--eval_config.pad", "15"], "pad must be at least 31 for resnet50 with"),
    ([*DLA, "--net_config.neck_filters", "64", "64", "64"], "neck_filters must be [256, 128, 64] for dla34"),
    ([*DLA, "--net_config.block_class", "1", "1", "1", "1"], "block_class must be [] for dla34"),
    ([*DLA, "--dataset_config.input_res_test", "500", "512"], "must be positive multiples of 32 for dla34"),
    (["--net_config.block_class", "3", "4"], "block_class must be [] or 4 numbers"),
    (["--jit_level", "O3"], "jit_level must be one of auto, O0, O1, O2; found 'O3'"),
    (["--eval_config.pad", "30"], "power of two minus 1"),
    (["--eval_config.pad", "32767"], "power of two minus 1 (31, 127), at most 16383"),
    (["--resume", "true"], "resume needs a checkpoint"),
    (["--eval_config.multi_scales", "0.5,1"], "found ['0.5,1']. Separate several values by spaces, not by commas"),
    (["--eval_config.score_thresh", "0,3"], "must be a number, found '0,3'. Write decimals with a point"),
    (["--annotation_file", "a.json"], "annotation_file and image_dir go together"),
    (["--train_config.MultiDecay.multi_epochs", "30", "20"], "must be increasing numbers from 1 on"),
    (["--train_config.lr_scale", "double"], "lr_scale must be one of none, linear, sqrt; found 'double'"),
    (["--train_config.lr_scale", "linear", "--train_config.reference_batch", "0"], "need train_config.reference_batch"),
    (["--train_config.warmup_scale", "true", "--train_config.reference_batch", "0"], "need train_config.reference"),
    (["--train_config.reference_batch", "-1"], "reference_batch must be 0 or greater"),
    (["--train_config.optimizer", "Sdg"], "optimizer must be one of Adam, AdamW, SGD; found 'Sdg'"),
    ([*SGD, "--train_config.SGD.momentum", "1"], "SGD.momentum must be at least 0 and below 1, found 1.0"),
    ([*SGD, "--train_config.SGD.momentum", "0", "--train_config.SGD.nesterov", "true"],
     "nesterov needs train_config.SGD"),
    ([*SGD, "--train_config.SGD.weight_decay", "-1"], "SGD.weight_decay must be 0 or greater"),
])
def test_mistakes_are_explained(argv, words):
    with pytest.raises(UserError) as caught:
        load_config("train", argv, "")
    assert words in str(caught.value)


@pytest.mark.parametrize("entry, flag", [("eval", "load_checkpoint_path"), ("export", "export_load_ckpt"),
                                         ("infer", "model_path")])
@pytest.mark.parametrize("typed", ["--load_checkpoint_path", "--export_load_ckpt=a.ckpt", "--model_path"])
def test_another_entry_s_name_of_the_checkpoint_leads_to_this_one_s(entry, flag, typed):
    if not typed.startswith(f"--{flag}"):
        with pytest.raises(UserError, match=f"unknown argument .* did you mean --{flag}\\?"):
            load_config(entry, [typed], "")


@pytest.mark.parametrize("text, words", [
    ("seed: 1\ntrain_config: {batch_size: 4}\ntrain_config: {epoch_size: 2}", "bad.yaml is not valid YAML: the key "
     "'train_config' is on line 2 and again on line 3: keep one of the two"),
    ("train_config: {batch_size: 4}\ntrain_config.batch_size: 8", "'train_config.batch_size' is there twice"),
    ("train_config.batch_size: 8\ntrain_config: {batch_size: 4}", "'train_config.batch_size' is there twice"),
    ("epoch_sizes: 3", "unknown key 'epoch_sizes'; did you mean epoch_size?"),
    ("train_config: {batchsize: 3}", "unknown key 'train_config.batchsize'; did you mean batch_size?"),
    ("train_config: 3", "'train_config' is a section"),
    ("epoch_size: 1.5", "epoch_size must be an integer, found 1.5"),
    ("epoch_sizes: 3\ntrain_config: {batchsize: 3}\nnet_config: 4", "bad.yaml: 3 problems:\n  - unknown key "
     "'epoch_sizes'; did you mean epoch_size?\n  - unknown key 'train_config.batchsize'; did you mean batch_size?\n"
     "  - 'net_config' is a section and needs a mapping of keys, found 4"),
    ("a: [", "not valid YAML"),
    ("- 1", "one to three YAML mappings"),
    ("mean: !!python/object/apply:os.getcwd []", "not valid YAML"),
])
def test_mistakes_in_files_are_explained(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_config("train", ["--config_path", str(path)], "")
    assert words in str(caught.value)


def test_all_problems_are_reported_together():
    with pytest.raises(UserError) as caught:
        load_config("train", ["--seed", "x", "--epoch_size", "y", "--device_target", "TPU"], "")
    assert "3 problems" in str(caught.value)


def test_a_missing_key_is_reported():
    values = {name: declared.default for name, declared in SETTINGS.items() if name != "seed"}
    with pytest.raises(UserError, match="seed is missing"):
        build_config(values)


@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_help_shows_help_default_and_choices(entry, capsys):
    with pytest.raises(SystemExit) as caught:
        load_config(entry, ["--help"], "What it does")
    text = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0
    assert "device that the code runs on (default: Ascend; choices: Ascend, CPU)" in text
    assert f"example: {command(entry)} " in text
    assert "ModelArts: local folder" not in text and ".mean" not in text


@pytest.mark.parametrize("entry", sorted(ENTRIES))
def test_the_long_help_has_all_flags_and_the_example_is_valid(entry, capsys):
    with pytest.raises(SystemExit):
        load_config(entry, ["--help-all"], "What it does")
    words = set(capsys.readouterr().out.replace(",", " ").split())
    assert {f"--{declared.name}" for declared in flags_of(entry)} <= words
    load_config(entry, EXAMPLES[entry].split(), "")


def test_messages_name_the_command_that_was_started(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    for started, name in (("/usr/bin/centernet", "centernet convert-dataset"), ("src/dataset.py", "dataset.py"),
                          ("/lib/centernet/__main__.py", "centernet convert-dataset")):
        monkeypatch.setattr("sys.argv", [started])
        with pytest.raises(UserError, match=f"`{name} --help-all` lists all"):
            load_config("dataset", ["--nope"], "")


def test_each_default_can_be_given_as_a_flag():
    for declared in SETTINGS.values():
        words = flag_words(declared.default)
        assert convert(declared.kind, words if is_list(declared) else words[0]) == declared.default, declared.name


@pytest.mark.parametrize("value, text", [((), "[]"), ((64, 96), "64 96"), (True, "true"), ("PolyDecay", "PolyDecay"),
                                         (0.5, "0.5"), ("", "")])
def test_values_as_flags(value, text):
    assert as_flag(value) == text


def test_commas_between_formats_are_named():
    with pytest.raises(UserError, match="found .'csv,coco'.. Separate several values by spaces, not by commas"):
        load_config("infer", ["--result_formats", "csv,coco"], "")
