"""Settings from files, flags and the environment that nobody means: a configuration, or a UserError."""
import pytest
from hostile import FILES

from centernet.config.load import load_config, write_config
from centernet.errors import UserError
from centernet.group import launched_number

BIG = "1" + "0" * 400


def outcome(words):
    """The message of the UserError that a command line gives; "" without an error."""
    try:
        load_config("train", words, "")
    except UserError as error:
        message = str(error)
        message.encode()  # it can be printed
        assert len(message) < 3000
        return message
    return ""


@pytest.mark.parametrize("words, message", [
    (["--dataset_config.input_res_train", "[512,512"], "must be a list of 2 integers, found ['[512,512']"),
    (["--dataset_config.eig_vec", "[", ".", "-"], "must be a list of lists of numbers"),
    (["--dataset_config.eig_vec", "[" * 2000], "must be a list of lists of numbers"),
    (["--dataset_config.input_res_train", "[*a, 1]"], "must be a list of 2 integers"),
    (["--dataset_config.input_res_train", "[.inf, 1]"], "must be a list of 2 integers"),
    (["--dataset_config.mean", "nan", "0", "0"], "dataset_config.mean must be a list of 3 numbers, found ['nan'"),
    (["--train_config.MultiDecay.learning_rate", "inf"], "must be a number, found 'inf' (it is not finite)"),
    (["--train_config.MultiDecay.learning_rate", BIG], "learning_rate must be a number, found '1000"),
    (["--seed", BIG], "seed must be an integer, found '1000"),
    (["--seed", "9" * 5000], "seed must be an integer, found '9999"),
    (["--seed", "{'': None}"], "seed must be an integer"),
    (["--mindrecord_dir", "a" * 300], "mindrecord_dir must be a string, found 'aaa"),
    (["--mindrecord_dir", "a/" * 3000], "mindrecord_dir must be a string"),
    (["--mindrecord_dir", "a\0b"], "mindrecord_dir must be a string, found 'a\\x00b'"),
    (["--log_file", "\ud800"], "log_file must be a string, found '\\ud800'"),
    (["--device_target", "\udcff"], "device_target must be"),
    (["--config_path", "a" * 300], "--config_path "),
    (["--config_path", "\0"], "--config_path '\\x00' is neither a file nor a preset"),
    (["--config_path", "\ud800"], "--config_path '\\ud800' is neither a file nor a preset"),
    (["--config_path", "/dev/zero"], "/dev/zero is not a regular file"),
    (["--config_path", "/"], "neither a file nor a preset"),
    (["--\ud800", "x"], "unknown argument"),
])
@pytest.mark.fault("flags that no parser likes", "unclosed lists, 300 letters, lone surrogates",
                   "an error with the flag")
def test_flags(words, message):
    assert message in outcome(words)


@pytest.mark.parametrize("text, message", [
    ("dataset_config: {coco_classes: [cat, yes]}", "found ['cat', True] (True is no text in YAML: write it in quotes)"),
    ("dataset_config: {coco_classes: [1.0, cat]}", "found [1.0, 'cat'] (1.0 is no text in YAML: write it in quotes)"),
    ("seed: !!timestamp x", "not valid YAML"),
    ("seed: 2001-99-99", "seed must be an integer, found '2001-99-99'"),
    ("seed: " + "[" * 5000, "more than 64 lists"),
    ("seed: " + "[" * 60 + "]" * 60, "seed must be an integer, found [[[["),
    ("train_config: {MultiDecay: {learning_rate: " + BIG + "}}", "learning_rate must be a number of at most 64 bits"),
    ("train_config: {MultiDecay: {learning_rate: .inf}}", "learning_rate must be a finite number"),
    ("train_config: {MultiDecay: {learning_rate: 1e400}}", "learning_rate must be a"),
    ("seed: 0x" + "f" * 9000, "seed must be a number of at most 64 bits"),
    ("---\n---\n---\ndevice_target: 5", ""),
    ("---\n---\n---\n---\n", "one to three YAML mappings"),
    ("[]", "one to three YAML mappings"),
    ("0", "one to three YAML mappings"),
    ("dataset_config: 5", "'dataset_config' is a section and needs a mapping"),
    ("dataset_config: {[1]: 2}", "not valid YAML"),
    ("? 5\n: 6", "unknown key '5'"),
    ("? " + "x" * 5000 + "\n: 6", "unknown key 'xxxx"),
    ("seed: &a 5\ndevice_id: *a", ""),
    ("seed: &a [*a]", "the alias *a is inside"),
    ("\N{BYTE ORDER MARK}seed: 5", ""),
    ("mindrecord_dir: 'a\\0b'", ""),
    ('mindrecord_dir: "a\\0b"', "mindrecord_dir must be a string"),
])
def test_files(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    found = outcome(["--config_path", str(path)])
    assert message in found and bool(message) == bool(found)


@pytest.mark.parametrize("data", FILES, ids=range(len(FILES)))
def test_files_of_any_bytes(tmp_path, data):
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    outcome(["--config_path", str(path)])


@pytest.mark.fault("a YAML file of 530 bytes that grows to 5 GB", "aliases of aliases",
                   "refused by the number of its values")
def test_a_file_with_aliases_of_aliases_is_refused(tmp_path):
    """530 bytes took 5 GB: each message shows a value in full."""
    rows = ["seed: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(rows))
    assert "it has more than 100000 values; an alias" in outcome(["--config_path", str(path)])


def test_the_effective_configuration_can_be_read_again(tmp_path):
    config = load_config("train", ["--seed", "5"], "")
    write_config(config, tmp_path / "config.yaml")
    assert load_config("train", ["--config_path", str(tmp_path / "config.yaml")], "").seed == 5


@pytest.mark.fault("RANK_ID and others that are no numbers", "environment variables with text",
                   "an error with the name of the variable")
@pytest.mark.parametrize("text", ["x", "-1", "1.5", "1e3", " ", "9" * 5000, "1048576", "\u00b2", "0x1"])
@pytest.mark.parametrize("name", ["RANK_ID", "RANK_SIZE", "DEVICE_ID"])
def test_numbers_of_launchers(name, text):
    with pytest.raises(UserError, match=f"the environment variable {name} must be a number from 0 to 1048575, found "):
        launched_number({name: text}, name)


def test_numbers_of_launchers_that_are_read():
    assert launched_number({"RANK_ID": "7"}, "RANK_ID") == 7
    assert launched_number({"RANK_ID": ""}, "RANK_ID", 3) == launched_number({}, "RANK_ID", 3) == 3
    with pytest.raises(UserError, match="RANK_SIZE must be a number from 1 to"):
        launched_number({"RANK_SIZE": "0"}, "RANK_SIZE", 1, 1)
