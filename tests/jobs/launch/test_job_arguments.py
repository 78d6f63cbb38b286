import pytest

from centernet.errors import UserError
from centernet.jobs.launch.arguments import read_arguments, read_hyper_parameters


def test_positions_flags_variables_and_configuration_in_this_order(tmp_path):
    (tmp_path / "mine.yaml").write_text("mindrecord_dir: from_file\ndevice_id: 6\n")
    config = ["--config_path", str(tmp_path / "mine.yaml")]
    environment = {"MINDRECORD_DIR": "from_variable", "DEVICE_TARGET": "CPU"}
    by_file = read_arguments("train", config, {}).config
    assert (by_file.device_id, by_file.mindrecord_dir, by_file.device_target) == (6, "from_file", "Ascend")
    by_variable = read_arguments("train", config, environment).config
    assert (by_variable.mindrecord_dir, by_variable.device_target) == ("from_variable", "CPU")
    by_flag = read_arguments("train", ["3", *config, "--mindrecord_dir=from_flag"], environment).config
    assert (by_flag.device_id, by_flag.mindrecord_dir) == (3, "from_flag")
    by_place = read_arguments("train", ["3", "my place", "a.ckpt", *config], environment)
    assert (by_place.config.mindrecord_dir, by_place.config.load_checkpoint_path) == ("my place", "a.ckpt")
    assert by_place.flags == ("--device_id", "3", "--mindrecord_dir", "my place", "--load_checkpoint_path", "a.ckpt",
                              "--device_target", "CPU", *config)


def test_the_short_form_of_evaluation():
    environment = {"DATA_DIR": "coco", "LOAD_CHECKPOINT_PATH": "m.ckpt", "DEVICE_ID": "5"}
    config = read_arguments("eval", ["test"], environment).config
    assert (config.run_mode, config.device_id, config.data_dir, config.load_checkpoint_path) == (
        "test", 5, "coco", "m.ckpt")
    assert read_arguments("eval", [], {**environment, "RUN_MODE": "test"}).config.run_mode == "test"
    assert read_arguments("eval", ["2", "val", "other"], environment).config.data_dir == "other"


def test_the_launchers_own_flags_are_not_passed_on():
    arguments = read_arguments("distribute", ["shards", "", "a.ckpt", "--device_num", "4", "--foreground",
                                              "--dataset_config.output_res", "128", "128"], {"MASTER_PORT": "9000"})
    assert arguments.options == {"device_num": 4, "master_port": 9000} and arguments.foreground
    assert arguments.flags == ("--mindrecord_dir", "shards", "--load_checkpoint_path", "a.ckpt",
                               "--dataset_config.output_res", "128", "128")
    assert arguments.variables == {"master_port"}
    by_variable = read_arguments("distribute", ["shards"], {"RANK_TABLE_FILE": "hccl.json"})
    assert by_variable.options == {"rank_table_file": "hccl.json"} and not by_variable.foreground
    by_place = read_arguments("distribute", ["shards", "a.json"], {"RANK_TABLE_FILE": "b.json"})
    assert (by_place.options, by_place.variables) == ({"rank_table_file": "a.json"}, set())
    assert read_arguments("distribute", ["shards", ""], {"DEVICE_NUM": "2", "SERVER_ID": ""}).options == {
        "device_num": 2}


def test_a_data_set_in_ones_own_layout_needs_no_folder():
    flags = ["--annotation_file", "a.json", "--image_dir", "images"]
    assert read_arguments("convert", [*flags, "--mindrecord_dir", "out"], {}).config.image_dir == "images"
    with pytest.raises(UserError, match="1 thing is missing:\n  - MINDRECORD_DATASET_DIR"):
        read_arguments("convert", flags, {})


@pytest.mark.parametrize("name, words, missing", [
    ("train", [], ["MINDRECORD_DIR"]),
    ("eval", ["val"], ["DATA_DIR", "LOAD_CHECKPOINT_PATH"]),
    ("convert", [], ["COCO_DATASET_DIR", "MINDRECORD_DATASET_DIR"]),
    ("distribute", [], ["MINDRECORD_DIR", "the number of devices"]),
    ("distribute", ["shards"], ["the number of devices"]),
    ("distribute", ["", "hccl.json"], ["MINDRECORD_DIR"])])
def test_exactly_what_is_missing_is_listed_with_the_ways_to_give_it(name, words, missing):
    with pytest.raises(UserError) as error:
        read_arguments(name, words, {})
    head, *rows = str(error.value).splitlines()
    assert head.startswith(f"{len(missing)} thing") and len(rows) == len(missing)
    for row, what in zip(rows, missing):
        assert row.startswith(f"  - {what}") and "environment variable" in row and "default_config.yaml" in row


@pytest.mark.parametrize("name, words, message", [
    ("train", ["/shards"], "DEVICE_ID must be a number, found '/shards'; the arguments are DEVICE_ID MINDRECORD_DIR"),
    ("eval", ["0", "training"], "RUN_MODE must be val or test, found 'training'"),
    ("eval", ["0", "val", "d", "c", "e"], "too many arguments: 'e'"),
    ("eval", ["val", "d", "c", "e"], "too many arguments: 'e'"),
    ("distribute", ["a", "b", "c", "d"], "too many arguments: 'd'"),
    ("train", ["0", "shards", "--epoch", "3"], "unknown argument '--epoch'"),
    ("train", ["0", "shards", "--mindrecord_dir", "x"], "MINDRECORD_DIR is given twice"),
    ("distribute", ["shards", "--device_num", "two"], "--device_num .*must be a number, found 'two'"),
    ("train", ["0", "shards", ""], "^LOAD_CHECKPOINT_PATH is empty: give a checkpoint to start from, or leave the arg"),
    ("distribute", ["shards", "", ""], "^LOAD_CHECKPOINT_PATH is empty"),
    ("train", ["0", "shards", "--model", ""], r"^--load_checkpoint_path is empty"),
    ("distribute", ["shards", "--rank_table_file", ""], "^--rank_table_file is empty: give a value, or leave the flag"),
    ("train", ["0", "shards", "--log_root", "''"], "^--log_root is empty: give a value, or leave the flag out"),
    ("distribute", ["shards", "--server_id"], "argument --server_id: expected one argument"),
    ("train", ["0", "shards", "--epoch_size", "0"], "epoch_size must be greater than 0")])
def test_wrong_arguments(name, words, message):
    with pytest.raises(UserError, match=message):
        read_arguments(name, words, {})


def test_hyper_parameters_become_flags_before_those_of_the_command_line(tmp_path):
    path = tmp_path / "h.ini"
    path.write_text("[config]\ndistribute=true\nepoch_size=330\nmindrecord_prefix='a'\nload_checkpoint_path=\"\"\n"
                    "train_config.Adam.weight_decay=0.1\ndataset_config.output_res=64 64\n"
                    "dataset_config.input_res_train=256 256\n")
    flags = ["--epoch_size", "330", "--mindrecord_prefix", "a", "--train_config.Adam.weight_decay", "0.1",
             "--dataset_config.output_res", "64", "64", "--dataset_config.input_res_train", "256", "256"]
    assert read_hyper_parameters(str(path)) == flags
    given = read_arguments("distribute", ["s", "--device_num", "2", "--hyper_parameter_config_dir", str(path),
                                          "--epoch_size", "2"], {})
    assert given.config.epoch_size == 2 and given.config.train_config.Adam.weight_decay == 0.1


@pytest.mark.parametrize("text, words, expected", [
    ("epoch_size=3", ["--epochs", "9"], {"epoch_size": 9}), ("epochs=3", ["--epoch_size=9"], {"epoch_size": 9}),
    ("train_config.MultiDecay.learning_rate=0.1", ["--lr", "0.2"], {"rate": 0.2}),
    ("lr=0.1", ["--learning_rate", "0.2"], {"rate": 0.2}),
    ("lr=0.1", ["--train_config.MultiDecay.learning_rate", "0.2"], {"rate": 0.2}),
    ("data=a\nout=b", ["--save_checkpoint_path", "c"], {"mindrecord_dir": "s", "save_checkpoint_path": "c"}),
    ("train_config.SGD.momentum=0.8", ["--train_config.optimizer", "SGD"], {"momentum": 0.8}),
    ("resume=true", ["--load_checkpoint_path", "a.ckpt"], {"resume": True})])
def test_the_command_line_wins_under_each_name(tmp_path, text, words, expected):
    (tmp_path / "h.ini").write_text(f"[config]\n{text}\n")
    config = read_arguments("distribute", ["s", "--device_num", "2", "--hyper_parameter_config_dir",
                                           str(tmp_path / "h.ini"), *words], {}).config
    found = {**vars(config), "rate": config.train_config.MultiDecay.learning_rate,
             "momentum": config.train_config.SGD.momentum}
    assert {name: found[name] for name in expected} == expected


def test_a_path_of_the_file_may_have_spaces(tmp_path):
    (tmp_path / "h.ini").write_text("[config]\nsave_result_dir=my results\nout = 'my run'\ninput_size=256 320\n")
    flags = ["--save_result_dir", "my results", "--save_checkpoint_path", "my run", "--input_size", "256", "320"]
    assert read_hyper_parameters(str(tmp_path / "h.ini")) == flags


def test_variables_yield_to_a_data_set_in_ones_own_layout_on_the_command_line():
    flags = ["--annotation_file", "a.json", "--image_dir", "images", "--load_checkpoint_path", "m.ckpt"]
    config = read_arguments("eval", ["0", "val", *flags], {"DATA_DIR": "coco"}).config
    assert (config.data_dir, config.annotation_file) == ("", "a.json")


@pytest.mark.parametrize("text, message", [
    ("epoch_size=3\n", "not an .ini file with a section \\[config\\]"),
    ("[other]\na=1\n", "not an .ini file with a section"),
    ("[config]\nepoch=3\n", "h.ini: .*unknown argument '--epoch'"),
    ("[config]\nepoch_size=x\n", "h.ini: [^$]*epoch_size must be an integer"),
    ("[config]\ndistribute=false\n", "distribute is set by the launcher"),
    ("[config]\ndevice_num=8\n", "device_num is set by the launcher")])
def test_broken_hyper_parameter_files(tmp_path, text, message):
    (tmp_path / "h.ini").write_text(text)
    with pytest.raises(UserError, match=message):
        read_hyper_parameters(str(tmp_path / "h.ini"))


def test_short_names_and_presets_as_in_the_commands(tmp_path):
    environment = {"LOAD_CHECKPOINT_PATH": "other.ckpt"}
    given = read_arguments("train", ["0", "--data", "shards", "--model=a.ckpt", "--config_path", "official_res18"],
                           environment)
    assert given.flags == ("--device_id", "0", "--mindrecord_dir", "shards", "--load_checkpoint_path=a.ckpt",
                           "--config_path", "official_res18")
    assert given.config.preset == "official_res18"
    with pytest.raises(UserError, match="MINDRECORD_DIR is given twice"):
        read_arguments("train", ["0", "shards", "--data", "x"], {})
    (tmp_path / "h.ini").write_text("[config]\nmodel=a.ckpt\n")
    assert read_hyper_parameters(str(tmp_path / "h.ini")) == ["--load_checkpoint_path", "a.ckpt"]
