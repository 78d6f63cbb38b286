"""The settings of a checkpoint's record are the default; what --config_path or flags name wins aloud, or is refused."""
from dataclasses import replace

import pytest
from tiny_model import CATEGORIES, read_config, tiny_config

from centernet.config.load import load_config
from centernet.errors import UserError
from centernet.weights.checkpoint import model_record
from centernet.weights.load import recorded_config


@pytest.fixture
def record(tmp_path):
    """The record of a checkpoint of tiny.yaml: keep_res false, K 20, input 64 x 64."""
    return model_record(read_config(tiny_config(tmp_path)), CATEGORIES)


@pytest.mark.fault("infer, eval or export without the preset of the training", "no --config_path",
                   "the checkpoint's own network and test settings are used")
@pytest.mark.parametrize("entry", ["infer", "eval", "export"])
def test_without_a_preset_the_record_decides(record, caplog, entry):
    found = recorded_config(load_config(entry, ["--device_target", "CPU"], ""), record, "x.ckpt")
    assert found.net_config.backbone == "resnet18" and found.net_config.neck_filters == (16, 16, 16)
    assert (found.eval_config.keep_res, found.eval_config.K) == (False, 20)
    assert found.dataset_config.input_res_test == (64, 64) and not caplog.records


@pytest.mark.fault("infer with the settings of another preset", "flags, or a preset of the same network",
                   "the given settings are used, and a note says what the training had")
def test_other_test_settings_are_said_aloud(record, tmp_path, caplog):
    flags = ["--eval_config.keep_res", "true", "--eval_config.score_thresh", "0.1"]
    found = recorded_config(load_config("infer", flags, ""), record, "x.ckpt")
    assert found.eval_config.keep_res and found.eval_config.score_thresh == 0.1 and found.eval_config.K == 20
    assert "x.ckpt runs with other settings" in caplog.text and "keep_res true (its record: false)" in caplog.text
    assert "score_thresh" not in caplog.text
    caplog.clear()
    path = tmp_path / "other.yaml"
    path.write_text("dataset_config: {input_res_test: [96, 64]}")
    assert recorded_config(load_config("eval", ["--config_path", str(path)], ""), record,
                           "x.ckpt").dataset_config.input_res_test == (96, 64)
    assert "input_res_test 96 64 (its record: 64 64)" in caplog.text


@pytest.mark.parametrize("entry", ["infer", "eval", "export"])
def test_a_preset_of_another_network_is_refused(record, entry):
    with pytest.raises(UserError, match="x.ckpt holds another network .* Use .*tiny.yaml, which is no preset"):
        recorded_config(load_config(entry, ["--config_path", "official_res18"], ""), record, "x.ckpt")


def test_rules_between_settings_hold_for_the_result_too(record):
    shortcuts = replace(record, network={**record.network, "neck": "shortcut"})
    config = load_config("eval", ["--eval_config.keep_res", "true", "--eval_config.pad", "7"], "")
    with pytest.raises(UserError, match="eval_config.pad must be at least 31"):
        recorded_config(config, shortcuts, "x.ckpt")
