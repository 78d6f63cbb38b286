import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from centernet.config.load import load_config
from centernet.errors import UserError
from centernet.weights.checkpoint import (
    CRC_TAIL,
    ModelRecord,
    load_parameters,
    model_record,
    network_config,
    read_checkpoint,
    require_preset,
    save_checkpoint,
)
from tests.tiny_training import CATEGORIES, settings, tiny_step, values

PROGRESS = {"step": 7, "seed": 317, "do_shuffle": True, "AP": 0.25}


@pytest.fixture
def saved(tmp_path):
    """A step whose every value is its own, and its checkpoint."""
    step = tiny_step()
    random = np.random.default_rng(0)
    for parameter in step.get_parameters():
        value = random.uniform(1, 1000, parameter.shape)
        parameter.set_data(ms.Tensor(value.astype(ms.dtype_to_nptype(parameter.dtype))))
    path = tmp_path / "centernet-1_7.ckpt"
    save_checkpoint(path, step, record(), PROGRESS)
    return step, path


def record(*flags):
    return model_record(replace(settings(*flags), preset="tiny"), CATEGORIES)


def test_a_checkpoint_holds_everything(saved):
    step, path = saved
    checkpoint = read_checkpoint(path)
    assert {name: value.asnumpy().tobytes() for name, value in checkpoint.parameters.items()} == {
        name: value.tobytes() for name, value in values(step).items()}
    assert {"global_step", "beta1_power", "moment2.backbone.0.weight", "backbone.1.moving_variance", "loss_scale",
            "good_steps"} <= set(checkpoint.parameters)
    assert checkpoint.progress == PROGRESS
    assert checkpoint.record == record()
    assert sorted(path.parent.iterdir()) == [path]


def test_a_record_rebuilds_its_network(saved):
    base = settings("--net_config.backbone", "resnet50", "--net_config.wh_weight", "0.5").net_config
    rebuilt = network_config(read_checkpoint(saved[1]).record, base)
    assert rebuilt == replace(settings().net_config, wh_weight=0.5)


def test_the_network_of_a_training_loads_by_its_own_names(saved):
    step, path = saved
    network = tiny_step().loss_network
    load_parameters(network, read_checkpoint(path).parameters, path)
    for name, value in values(network).items():
        assert value.tobytes() == values(step)[name].tobytes()


@pytest.mark.parametrize("position", [3, 1000, -CRC_TAIL - 1, -CRC_TAIL + 2, -1])
def test_a_changed_bit_is_noticed(saved, position):
    content = bytearray(saved[1].read_bytes())
    content[position] ^= 4
    saved[1].write_bytes(content)
    with pytest.raises(UserError, match=r"centernet-1_7.ckpt is (damaged|cut off)"):
        read_checkpoint(saved[1])


@pytest.mark.parametrize("kept", [0, 5, 400, 2000, -1, -CRC_TAIL])
def test_a_cut_file_is_refused(saved, kept):
    content = saved[1].read_bytes()
    saved[1].write_bytes(content[:kept])
    with pytest.raises(UserError, match="is cut off"):
        read_checkpoint(saved[1])


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"PK\x03\x04" + bytes(range(256)) * 9)
    with pytest.raises(UserError, match="not a MindSpore checkpoint"):
        read_checkpoint(tmp_path / "a.ckpt")
    for name, words in (("a.pth", "has the weights of another program"), ("a.bin", "ends in .ckpt")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UserError, match=words):
            read_checkpoint(tmp_path / name)
    with pytest.raises(UserError, match=r"no such file; .* has a.ckpt"):
        read_checkpoint(tmp_path / "b.ckpt")


def test_a_checkpoint_of_others_is_taken_with_a_warning(tmp_path, caplog):
    dense = nn.Dense(2, 2)
    ms.save_checkpoint(dense, str(tmp_path / "zoo.ckpt"))
    checkpoint = read_checkpoint(tmp_path / "zoo.ckpt")
    assert checkpoint.record is None and checkpoint.progress == {}
    assert set(checkpoint.parameters) == {"weight", "bias"}
    assert "no checksum" in caplog.text


def test_a_backbone_alone_is_ours_too(tmp_path, caplog):
    path = tmp_path / "backbone.ckpt"
    save_checkpoint(path, tiny_step().loss_network.network, None, {})
    assert read_checkpoint(path).record is None and not caplog.records
    path.write_bytes(path.read_bytes()[:-CRC_TAIL])
    with pytest.raises(UserError, match="cut off: its end with the checksum is missing"):
        read_checkpoint(path)


def test_a_wrong_network_is_named_with_its_preset():
    with pytest.raises(UserError, match=r"net_config.backbone 'resnet18' \(configured: 'resnet34'\).*Use "
                                        r"--net_config.backbone resnet18 \(it was trained with tiny.yaml, which is no"):
        require_preset(record(), settings("--net_config.backbone", "resnet34").net_config, "x.ckpt")
    flags = ("--net_config.cat_spec_wh", "true", "--net_config.block_class", "[]")
    with pytest.raises(UserError, match=r"--net_config.block_class 1 1 1 1 --net_config.cat_spec_wh false"):
        require_preset(record(), settings(*flags).net_config, "x.ckpt")
    # Loss weights may differ.
    require_preset(record(), settings("--net_config.hm_weight", "2").net_config, "x.ckpt")


@pytest.mark.parametrize("wanted, recorded", [("demo_cpu", "official_res18"), ("plus_res18", "official_hourglass")])
def test_every_advice_of_a_wrong_network_works(wanted, recorded):
    def network(*flags):
        return load_config("train", ["--config_path", wanted, *flags], "").net_config

    made = model_record(load_config("train", ["--config_path", recorded], ""), CATEGORIES)
    # The preset of today has the network; a preset changed since then; a file of the user's own.
    for number, name in enumerate((recorded, wanted, "own")):
        with pytest.raises(UserError) as caught:
            require_preset(replace(made, preset=name), network(), "x.ckpt")
        advice = re.search(r"Use --config_path (\w+), or (--net_config.*?)( \(.*\))?\.$", str(caught.value))
        require_preset(made, load_config("train", ["--config_path", advice[1]], "").net_config, "x.ckpt")
        require_preset(made, network(*advice[2].split()), "x.ckpt")
        assert ["", "of this version has another network", "own.yaml, which is no preset"][number] in (advice[3] or "")
    assert recorded not in str(pytest.raises(UserError, require_preset, replace(
        made, preset=recorded, network={**made.network, "head_conv": 8}), network(), "x.ckpt").value).split(" (the")[0]


def test_a_training_is_told_of_fine_tuning():
    old, plus = (load_config("train", ["--config_path", name], "") for name in ("official_res18", "plus_res18"))
    for fine_tune, offered in ((False, True), (None, False)):
        with pytest.raises(UserError) as caught:
            require_preset(model_record(old, CATEGORIES), plus.net_config, "x.ckpt", fine_tune)
        assert ("add --fine_tune true" in str(caught.value)) == offered
    require_preset(model_record(old, CATEGORIES), plus.net_config, "x.ckpt", fine_tune=True)


def test_an_older_record_has_the_box_head_of_sizes_and_offsets():
    fields = record().to_json()
    assert fields["network"].pop("box_head") == "wh_reg"
    older = ModelRecord.from_json(fields, "x.ckpt")
    require_preset(older, settings().net_config, "x.ckpt")
    other = settings("--net_config.box_head", "ltrb").net_config
    with pytest.raises(UserError, match="--net_config.reg_offset true --net_config.box_head wh_reg"):
        require_preset(older, other, "x.ckpt")
    require_preset(older, other, "x.ckpt", fine_tune=True)
    with pytest.raises(UserError, match="net_config.head_conv"):
        require_preset(older, replace(other, head_conv=4), "x.ckpt", fine_tune=True)
    with pytest.raises(UserError, match="net_config.reg_offset"):
        require_preset(older, settings("--net_config.reg_offset", "false").net_config, "x.ckpt", fine_tune=True)


def test_an_older_record_has_no_iou_score():
    ltrb = settings("--net_config.box_head", "ltrb")
    fields = model_record(ltrb, CATEGORIES).to_json()
    assert fields["network"].pop("iou_score") is False
    older = ModelRecord.from_json(fields, "x.ckpt")
    require_preset(older, ltrb.net_config, "x.ckpt")
    other = replace(ltrb.net_config, iou_score=True)
    with pytest.raises(UserError, match=r"Use --net_config.iou_score false\. Or add --fine_tune true"):
        require_preset(older, other, "x.ckpt", fine_tune=False)
    newer = model_record(replace(ltrb, net_config=other), CATEGORIES)
    for made, net in ((older, other), (newer, ltrb.net_config), (newer, settings().net_config), (record(), other)):
        require_preset(made, net, "x.ckpt", fine_tune=True)
        with pytest.raises(UserError, match="net_config.head_conv"):
            require_preset(made, replace(net, head_conv=4), "x.ckpt", fine_tune=True)


def test_loading_lists_what_does_not_fit_and_loads_nothing(saved):
    network = nn.SequentialCell(nn.Conv2d(3, 5, 3), nn.Dense(2, 2))
    network.update_parameters_name("backbone.")
    before = values(network)
    with pytest.raises(UserError, match=r"3 of 3 parameters differ(.|\n)*backbone.1.weight \(2, 2\) is missing"):
        load_parameters(network, read_checkpoint(saved[1]).parameters, saved[1])
    assert all(np.array_equal(before[name], value) for name, value in values(network).items())


def test_a_backbone_instead_of_a_detector_is_told_where_it_belongs(tmp_path):
    path = tmp_path / "backbone.ckpt"
    save_checkpoint(path, tiny_step().loss_network.network, None, {})
    detector = nn.SequentialCell(nn.Conv2d(3, 4, 3))
    detector.update_parameters_name("hm.")
    with pytest.raises(UserError, match=r"It contains only a backbone: .*train.py --backbone_checkpoint\.$"):
        load_parameters(detector, read_checkpoint(path).parameters, path)


def test_a_failed_save_leaves_the_old_file(saved, monkeypatch):
    step, path = saved
    before = path.read_bytes()

    def full(content, name, **_):
        Path(name).with_suffix(".tmp").write_bytes(b"half of it")
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(ms, "save_checkpoint", full)
    with pytest.raises(UserError, match="could not be written.*No space left"):
        save_checkpoint(path, step, record(), {"step": 8})
    assert path.read_bytes() == before and not list(path.parent.glob(".unfinished*"))


@pytest.mark.fault("two programs that write checkpoints into one folder", "unfinished files of another name",
                   "a save removes those of its own name only, also if it fails")
@pytest.mark.parametrize("error", [None, OSError(28, "No space left on device")])
def test_a_save_leaves_the_unfinished_files_of_others(saved, monkeypatch, error):
    step, path = saved
    others = [path.with_name(f".unfinished.other.{suffix}") for suffix in ("ckpt", "tmp", "ckpt.tmp")]
    own = [path.with_name(f".unfinished.{name}") for name in (path.name, f"{path.stem}.tmp", f"{path.name}.tmp")]
    for file in others + own:
        file.write_bytes(b"half of it")
    if error:
        monkeypatch.setattr(ms, "save_checkpoint", lambda *_, **__: (_ for _ in ()).throw(error))
    with pytest.raises(UserError, match="No space left") if error else contextlib.nullcontext():
        save_checkpoint(path, step, record(), {"step": 8})
    assert sorted(path.parent.glob(".unfinished.*")) == sorted(others)


def test_a_save_that_reads_back_otherwise_leaves_the_old_file(saved, monkeypatch):
    step, path = saved
    before, real = path.read_bytes(), ms.save_checkpoint

    def faulty(content, name, **options):
        real(content, name, **options)
        written = Path(name)
        written.chmod(0o644)
        written.write_bytes(b"\0" + written.read_bytes()[1:])
    monkeypatch.setattr(ms, "save_checkpoint", faulty)
    with pytest.raises(UserError, match="has a wrong checksum"):
        save_checkpoint(path, step, record(), {"step": 8})
    assert path.read_bytes() == before


WRITER = """
import sys
from pathlib import Path
import numpy as np
from tests import conftest
from mindspore import Parameter, Tensor, nn
from centernet.weights.checkpoint import save_checkpoint
from tests.weights.test_checkpoint import record

class Big(nn.Cell):
    def __init__(self):
        super().__init__()
        self.weight = Parameter(Tensor(np.zeros(30_000_000, np.float32)), name="weight")

cell, step = Big(), 0
while True:
    save_checkpoint(Path(sys.argv[1]), cell, record(), {"step": step})
    step += 1
"""


def test_kill_while_writing_leaves_a_whole_file(tmp_path):
    path, unfinished = tmp_path / "centernet-1_1.ckpt", tmp_path / ".unfinished.centernet-1_1.tmp"
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=root,
                               env=os.environ)
    try:
        deadline = time.monotonic() + 120
        while not (path.exists() and unfinished.exists() and unfinished.stat().st_size > 1_000_000):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert unfinished.exists(), "killed too late to tell"
    assert read_checkpoint(path).parameters["weight"].shape == (30_000_000,)
    # The next save to this folder clears the remains.
    save_checkpoint(path, tiny_step(), record(), {"step": 9})
    assert sorted(other.name for other in tmp_path.iterdir()) == [path.name]
