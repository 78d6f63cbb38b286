"""Keys that nobody can choose: what is accepted, what follows from what, and what is an error."""
import pytest

from centernet.config.declared import SETTINGS
from centernet.config.documented import DOCUMENTED
from centernet.config.load import load_config
from centernet.errors import UserError

SIZE, MAPS = "--dataset_config.input_res_train", "--dataset_config.output_res"


def test_each_is_a_setting_with_a_reason():
    assert {item.key for item in DOCUMENTED} == {
        "data_sink_steps", "dataset_config.output_res", "dataset_config.num_classes", "net_config.num_stacks",
        "net_config.down_ratio", "net_config.dense_hp", "net_config.reg_offset"}
    for item in DOCUMENTED:
        assert item.key in SETTINGS and item.reason
        assert bool(item.rule) == (item.of in SETTINGS)


def test_the_documented_values_are_accepted():
    load_config("train", ["--enable_data_sink", "true", "--data_sink_steps", "100", MAPS, "128", "128",
                          "--net_config.num_stacks", "1", "--net_config.down_ratio", "4",
                          "--net_config.dense_hp", "false", "--dataset_config.num_classes", "80"], "")


@pytest.mark.parametrize("argv, words", [
    (["--net_config.dense_hp", "true"],
     "net_config.dense_hp weighs a pose loss, which a detector does not have: set it to false"),
    (["--net_config.down_ratio", "8"],
     "net_config.down_ratio must be 4, found 8: all networks here end at a quarter of the resolution"),
    (["--net_config.down_ratio", "0"], "net_config.down_ratio must be 4, found 0"),
    ([SIZE, "256", "256", MAPS, "128", "128"],
     "dataset_config.output_res [128, 128] must be input_res_train / down_ratio: set it to [64, 64]"),
    ([MAPS, "64", "64"], "set it to [128, 128]"),
    (["--net_config.num_stacks", "2"], "net_config.num_stacks must be 1 for resnet50, found 2"),
    (["--data_sink_steps", "0"], "data_sink_steps must be greater than 0, found 0")])
def test_values_without_a_meaning(argv, words):
    with pytest.raises(UserError) as caught:
        load_config("train", argv, "")
    assert words in str(caught.value) and "1 problem:" in str(caught.value)


def test_what_is_not_given_follows(tmp_path):
    assert load_config("train", [SIZE, "256", "384"], "").dataset_config.output_res == (64, 96)
    assert load_config("train", [f"{SIZE}=[256,384]"], "").dataset_config.output_res == (64, 96)
    assert load_config("train", [SIZE, "256", "384", MAPS, "64", "96"], "").dataset_config.output_res == (64, 96)
    demo = ["--config_path", "demo_cpu", SIZE, "64", "64"]
    assert load_config("train", demo, "").dataset_config.output_res == (16, 16)
    data = load_config("train", ["--dataset_config.coco_classes", "a", "b"], "").dataset_config
    assert (data.coco_classes, data.num_classes) == (("a", "b"), 2)
    flags = ["--net_config.backbone", "hourglass104", "--net_config.neck", "none", "--net_config.neck_filters", "[]",
             "--dataset_config.input_res_test", "512", "512"]
    assert load_config("train", flags, "").net_config.num_stacks == 2
    assert not load_config("train", ["--net_config.box_head", "ltrb"], "").net_config.reg_offset
    path = tmp_path / "small.yaml"
    path.write_text("net_config: {box_head: ltrb}")
    for flags, offset in (([], False), (["--net_config.box_head", "wh_reg"], True)):
        assert load_config("train", ["--config_path", str(path), *flags], "").net_config.reg_offset == offset
    path.write_text("dataset_config: {input_res_train: [64, 128]}")
    assert load_config("train", ["--config_path", str(path)], "").dataset_config.output_res == (16, 32)


def test_a_file_that_contradicts_itself_stays_an_error_when_a_flag_changes_the_size(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("dataset_config: {input_res_train: [256, 256], output_res: [128, 128]}")
    with pytest.raises(UserError, match="set it to \\[16, 16\\]"):
        load_config("train", ["--config_path", str(path), SIZE, "64", "64"], "")


def test_a_wrong_value_of_what_decides_is_reported_once():
    with pytest.raises(UserError, match="has 1 problem:\n  - dataset_config.input_res_train must be a list of 2 integ"):
        load_config("train", [SIZE, "wide", "64"], "")
