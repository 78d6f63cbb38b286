"""Flags as people type them: bare booleans, choices in any case, --lr, --epochs, --input_size, --resume PATH, ~."""
import pytest

from centernet import program
from centernet.config.load import load_config
from centernet.config.values import canonical
from centernet.errors import UserError
from centernet.training.command import how_to_go_on


def train(*words):
    return load_config("train", list(words), "")


def mistake(*words, entry="train"):
    with pytest.raises(UserError) as caught:
        load_config(entry, list(words), "")
    return str(caught.value)


@pytest.mark.parametrize("words, expected", [(["--visual_image"], True), (["--visual_image", "--seed", "1"], True),
                                             (["--visual_image=false"], False), (["--visual_image", "TRUE"], True)])
def test_a_bare_boolean_flag_means_true(words, expected):
    assert load_config("eval", words, "").visual_image is expected


@pytest.mark.parametrize("words, read, expected", [
    (["--device_target", "cpu"], lambda config: config.device_target, "CPU"),
    (["--jit_level=o2"], lambda config: config.jit_level, "O2"),
    (["--train_config.optimizer", "sgd"], lambda config: config.train_config.optimizer, "SGD"),
    (["--net_config.backbone", "DLA34", "--net_config.neck", "Conv", "--net_config.neck_filters", "256", "128", "64",
      "--dataset_config.input_res_test", "512", "512"], lambda config: config.net_config.backbone, "dla34"),
    (["--net_config.box_head", "LTRB"], lambda config: (config.net_config.box_head, config.net_config.reg_offset),
     ("ltrb", False))])
def test_choices_in_any_case(words, read, expected, tmp_path):
    assert read(train(*words)) == expected
    assert canonical("device_target", "gpu") == "gpu" and canonical("seed", 3) == 3


def test_choices_of_a_file_in_any_case(tmp_path):
    (tmp_path / "mine.yaml").write_text("device_target: cpu\n")
    assert train("--config_path", str(tmp_path / "mine.yaml")).device_target == "CPU"


@pytest.mark.parametrize("flag", ["--lr", "--learning_rate"])
def test_the_rate_is_that_of_the_active_schedule(flag):
    assert train(flag, "0.01").train_config.MultiDecay.learning_rate == 0.01
    assert train(flag, "0.01", "--train_config.lr_schedule", "polydecay").train_config.PolyDecay.learning_rate == 0.01
    demo = train("--config_path", "demo_cpu", flag, "0.01")
    assert demo.train_config.CosineDecay.learning_rate == 0.01 and demo.train_config.MultiDecay.learning_rate == 0.00048
    assert "train_config.CosineDecay.learning_rate" in demo.given


def test_epochs_and_input_size():
    assert train("--epochs", "7").epoch_size == 7
    for words, size in ((["256"], (256, 256)), (["256", "320"], (256, 320)), (["[256, 320]"], (256, 320))):
        data = train("--input_size", *words).dataset_config
        assert (data.input_res_train, data.input_res_test, data.output_res) == (
            size, size, (size[0] // 4, size[1] // 4))
    for entry in ("eval", "export"):  # they have no input of a training, whose sides are multiples of 32
        data = load_config(entry, ["--input_size", "680"], "").dataset_config
        assert (data.input_res_test, data.input_res_train) == ((680, 680), (512, 512))


@pytest.mark.parametrize("words, message", [
    (["--train_config.PolyDecay.learning_rate", "0.1"],
     "--train_config.PolyDecay.learning_rate has no effect, because train_config.lr_schedule is MultiDecay. Set "
     "--train_config.MultiDecay.learning_rate, or choose --train_config.lr_schedule PolyDecay"),
    (["--train_config.PolyDecay.power", "2", "--config_path", "demo_cpu"],
     "train_config.lr_schedule is CosineDecay. CosineDecay has no such setting: leave it out, or choose"),
    (["--train_config.SGD.momentum", "0.8"], "has no effect, because train_config.optimizer is Adam. Adam has no such"),
    (["--train_config.Adam.weight_decay", "0.1", "--train_config.optimizer", "adamw"],
     "Set --train_config.AdamW.weight_decay, or"),
    (["--epochs", "3", "--epoch_size", "4"], "--epochs and --epoch_size are both given"),
    (["--lr", "1", "--learning_rate", "2"], "--learning_rate and --lr are both given"),
    (["--lr", "1", "--train_config.MultiDecay.learning_rate", "2"],
     "--lr and --train_config.MultiDecay.learning_rate are both given"),
    (["--lr", "1", "--train_config.lr_schedule", "Cosine"], "lr_schedule must be one of MultiDecay, PolyDecay"),
    (["--input_size", "100"], "dataset_config.input_res_train) [100, 100] must be positive multiples of 32"),
    (["--input_size", "a"], "--input_size 'a': give one number of pixels, or height and width, such as"),
    (["--input_sise", "256"], "did you mean --input_size?"),
    (["--warmup_steps", "9", "--config_path", "demo_cpu"], "did you mean --train_config.CosineDecay.warmup_steps?"),
    (["--resume", "nowhere.ckpt"], "--resume must be true, false, a checkpoint, or the folder of a run; found "
                                   "'nowhere.ckpt': there is no such file or folder"),
    (["--resume", ""], "--resume is empty: give true, false, a checkpoint, or the folder of a run, or leave the flag"),
    (["--resume"], "resume needs a checkpoint: --resume FOLDER (of the run), or --load_checkpoint_path")])
def test_mistakes(words, message):
    assert message in mistake(*words)


@pytest.mark.parametrize("entry, words, message", [
    ("train", ["--epochs", "0"], "problem:\n  - --epochs (epoch_size) must be greater than 0, found 0"),
    ("train", ["--epochs", "x"], "--epochs (epoch_size) must be an integer, found 'x'"),
    ("train", ["--lr", "-1"], "--lr (train_config.MultiDecay.learning_rate) must be greater than 0"),
    ("train", ["--learning_rate", "x"], "--learning_rate (train_config.MultiDecay.learning_rate) must be a number"),
    ("train", ["--input_size", "100"], "--input_size (dataset_config.input_res_train) [100, 100] must be positive"),
    ("eval", ["--input_size", "3"], "--input_size (dataset_config.input_res_test) [3, 3] must be positive multiples"),
    ("infer", ["--score_thresh", "2"], "--score_thresh (eval_config.score_thresh) must be between 0 and 1, found 2.0"),
    ("infer", ["--max_det", "0"], "--max_det (eval_config.K) must be greater than 0, found 0"),
    ("infer", ["--predict_dir", "p", "--out", "r"], "--out (save_result_dir) has no effect, because --predict_dir"),
    ("infer", ["--model=" + "x" * 300], "--model (model_path) must be a string, found"),
    ("train", ["--epoch_size", "0"], "problem:\n  - epoch_size must be greater than 0, found 0")])
@pytest.mark.fault("a wrong value of a flag's short form", "--epochs 0, --lr -1, --max_det 0, ...",
                   "the message names the flag as it was typed, and the setting")
def test_messages_name_what_was_typed(entry, words, message):
    assert message in mistake(*words, entry=entry)


ROTATE, SHIFT = ["--dataset_config.rotate", "30"], ["--dataset_config.shift", "0.3"]
PREPARED = ["--predict_dir", "p", "--model", "m.onnx", "--result_path", "r"]


@pytest.mark.parametrize("entry, words, message", [
    ("train", ROTATE, "--dataset_config.rotate has no effect, because dataset_config.aug_rot, the probability of a "
                      "rotation, is 0. Set both, or leave it out"),
    ("train", ["--dataset_config.aug_rot", "0.5"], "because dataset_config.rotate, the largest rotation, is 0"),
    ("train", ["--dataset_config.hue", "18", "--dataset_config.color_aug", "false"],
     "dataset_config.color_aug is false"),
    ("check_data", ["--dataset_config.contrast", "0.2", "--dataset_config.color_aug", "false"], "color_aug is false"),
    ("train", SHIFT, "--dataset_config.shift has no effect, because dataset_config.rand_crop or scale_range is used"),
    ("train", ["--dataset_config.scale", "0.2", "--dataset_config.rand_crop", "false", "--dataset_config.scale_range",
               "0.1", "2"], "--dataset_config.scale has no effect"),
    ("train", ["--partial_backbone"], "--partial_backbone has no effect, because there is no backbone_checkpoint"),
    ("infer", ["--image", "a.jpg", "--overlap", "0.5"], "--overlap has no effect, because tile is 0. Set --tile 640"),
    ("infer", [*PREPARED, "--tile", "640", "--classes", "a", "--nms", "hard", "--result_formats", "csv"],
     "4 problems:\n  - --tile has no effect, because --predict_dir only runs the model"),
    ("infer", [*PREPARED, "--score_thresh", "0.5"], "--score_thresh (eval_config.score_thresh) has no effect, because "
                                                    "--predict_dir only runs the model")])
def test_flags_without_effect(entry, words, message):
    assert message in mistake(*words, entry=entry)


@pytest.mark.parametrize("entry, words", [
    ("train", [*ROTATE, "--dataset_config.aug_rot", "0.5"]), ("train", ["--dataset_config.rotate", "0"]),
    ("train", ["--dataset_config.hue", "18"]), ("train", [*SHIFT, "--dataset_config.rand_crop", "false"]),
    ("train", [*SHIFT, "--dataset_config.rand_crop", "false", "--dataset_config.scale_range", "0.1", "2",
               "--dataset_config.plain_epochs", "3"]),  # the last epochs shift
    ("train", ["--dataset_config.color_aug", "false", "--dataset_config.shift", "0"]), ("infer", PREPARED),
    ("train", ["--data_dir", "coco"]), ("eval", ["--data_dir", "coco"]),
    ("dataset", ["--annotation_file", "a", "--image_dir", "b"]), ("infer", ["--tile", "64", "--overlap", "0.5"])])
def test_flags_with_effect_or_that_switch_off(entry, words):
    load_config(entry, words, "")


def test_values_of_files_may_be_without_effect(tmp_path):
    (tmp_path / "mine.yaml").write_text("data_dir: coco\noverlap: 0.4\ndataset_config: {rotate: 30, shift: 0.3}\n")
    assert train("--config_path", str(tmp_path / "mine.yaml")).data_dir == "coco"


def test_a_run_or_its_checkpoint_is_resumed(tmp_path):
    message = mistake("--resume", str(tmp_path))
    assert "this folder has no last.ckpt. Name the folder of --save_checkpoint_path" in message
    checkpoint = tmp_path / "ckpt_0" / "last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    for word in (checkpoint, checkpoint.parent, tmp_path):
        config = train("--resume", str(word))
        assert (config.resume, config.load_checkpoint_path) == (True, str(checkpoint))
    assert "leave one of them out" in mistake("--resume", str(tmp_path), "--model", "x.ckpt")
    config = train("--resume", "--load_checkpoint_path", "x.ckpt")
    assert config.resume and config.load_checkpoint_path == "x.ckpt"


@pytest.mark.parametrize("entry, flag", [
    ("eval", "--data_dir"), ("eval", "--data"), ("train", "--data_dir"), ("export", "--data_dir"),
    ("check_data", "--data"), ("dataset", "--coco_data_dir"), ("preprocess", "--val_data_dir")])
def test_a_folder_as_a_flag_wins_over_the_files_of_a_configuration(tmp_path, entry, flag):
    (tmp_path / "mine.yaml").write_text("annotation_file: old.json\nimage_dir: old\neval_interval: 1\n" + (
        "max_ap_drop: 0.1\nprecision: fp16\nexport_format: ONNX\n" if entry == "export" else ""))
    words = ["--config_path", str(tmp_path / "mine.yaml")]
    config = load_config(entry, words, "")
    assert (config.annotation_file, config.image_dir) == ("old.json", "old")
    config = load_config(entry, [*words, flag, "new"], "")
    assert (config.annotation_file, config.image_dir) == ("", "")
    assert "new" in (config.data_dir, config.coco_data_dir, config.val_data_dir)
    message = mistake(*words, flag, "new", "--annotation_file", "a.json", "--image_dir", "b", entry=entry)
    assert "data_dir and --annotation_file and --image_dir are both given" in message.replace("coco_", "")


def test_home_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("log_file: ~/x.log\n")
    config = train("--config_path", "~/mine.yaml", "--mindrecord_dir=~/shards", "--data_dir", "a/~/b")
    assert (config.log_file, config.mindrecord_dir, config.data_dir) == (
        str(tmp_path / "x.log"), str(tmp_path / "shards"), "a/~/b")


@pytest.mark.parametrize("command, environment, expected", [
    (["/here/train.py", "--config_path", "demo_cpu", "--model", "old.ckpt", "--fine_tune", "--seed", "1"], {},
     "To go on:\n  python /here/train.py --config_path demo_cpu --seed 1 --resume true --load_checkpoint_path "
     "'my run/last.ckpt'"),
    (["/bin/centernet", "train", "--resume", "true", "--load_checkpoint_path=a.ckpt", "--out", "my run"], {},
     "To go on:\n  centernet train --out 'my run' --resume true --load_checkpoint_path 'my run/last.ckpt'"),
    (["/lib/centernet/__main__.py", "train", "--seed", "1"], {},  # python -m centernet, without an installation
     "To go on:\n  python train.py --seed 1 --resume true --load_checkpoint_path 'my run/last.ckpt'"),
    (["/here/train.py"], {"RANK_SIZE": "2"},
     "To go on, start the same command with --resume true --load_checkpoint_path 'my run/last.ckpt'"),
    (["/here/train.py", "--data_url", "https://me:secret@host/coco"], {},
     "To go on, start the same command with --resume true --load_checkpoint_path 'my run/last.ckpt'"),
    (["/lib/pytest/__main__.py"], {},
     "To go on, start the same command with --resume true --load_checkpoint_path 'my run/last.ckpt'")])
def test_an_interrupted_run_says_how_to_go_on(tmp_path, monkeypatch, command, environment, expected):
    monkeypatch.chdir(program.ROOT)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.argv", command)
    assert how_to_go_on(command, environment, "my run/last.ckpt") == expected
