import pytest

from benchmarks import feed_rate
from benchmarks import scale as module
from benchmarks.scale import Inputs, main, markdown, sample_bytes, scale, state_bytes
from centernet.config.load import load_config

INPUTS = Inputs(images=1000, batch=10, rate=50.0, per_core=25.0, file_bytes=2e5, sample_bytes=800_000,
                heatmap_bytes=5_000_000, message_bytes=100_000_000, checkpoint_bytes=300_000_000, link=1e9)


def test_arithmetic():
    """Worked by hand: 4 devices take 40 images a step of 0.2 s; the ring sends 2 * 3/4 of 100 MB."""
    figures = scale(INPUTS, 4)
    assert figures["steps of an epoch"] == 25
    assert figures["images left out of an epoch"] == 0
    assert figures["step without AllReduce (s)"] == pytest.approx(0.2)
    assert figures["ring traffic of a device and step (MB)"] == pytest.approx(150)
    assert figures["AllReduce at the link's speed (s)"] == pytest.approx(0.15)
    assert figures["epoch, AllReduce not overlapped (min)"] == pytest.approx(25 * 0.35 / 60)
    assert (figures["host cores of a device"], figures["host cores of all devices"]) == (2, 8)
    assert figures["host to device, each (MB/s)"] == pytest.approx(40)
    assert figures["host to device with host heatmaps, each (MB/s)"] == pytest.approx(290)
    assert figures["shards (GB)"] == pytest.approx(0.2)


def test_one_device_sends_nothing():
    assert scale(INPUTS, 1)["ring traffic of a device and step (MB)"] == 0
    assert scale(INPUTS, 3)["images left out of an epoch"] == 10


def test_sizes_are_those_of_the_program():
    """512 x 512 x 3 bytes, and 128 slots of 4 int32 and 4 float32; 80 maps of 128 x 128 float32."""
    assert sample_bytes(load_config("train", [], "")) == (512 * 512 * 3 + 128 * 32, 80 * 128 * 128 * 4)


def test_state_of_a_small_network():
    config = load_config("train", ["--net_config.backbone", "resnet18", "--net_config.neck", "none",
                                   "--net_config.neck_filters", "16", "16", "16", "--net_config.head_conv", "16"], "")
    message, checkpoint, trainable = state_bytes(config)
    assert trainable * 4 < message < trainable * 4.1
    assert 3 * trainable * 4 < checkpoint < 3.1 * trainable * 4  # weights and Adam's two moments


def test_table_and_entry(monkeypatch, capsys):
    assert "| shards (GB) | 0.2 | 0.2 |" in markdown({2: scale(INPUTS, 2), 4: scale(INPUTS, 4)})
    monkeypatch.setattr(module, "state_bytes", lambda config: (131_000_000, 392_000_000, 32_700_000))
    assert main(["--per_core", "124", "--devices", "8"]) == 0
    printed = capsys.readouterr().out
    assert "| host cores of a device | 0.5 |" in printed
    assert "| ring traffic of a device and step (MB) | 229.2 |" in printed


@pytest.mark.parametrize("argv, words", [(["--per_core", "0"], "--per_core 0.0"),
                                         (["--per_core", "9", "--devices", "0"], "--devices 0"),
                                         (["--per_core", "9", "--data_dir", "/no/such"], "/no/such")])
def test_wrong_usage_of_scale(argv, words, capsys):
    assert main(argv) == 2
    assert words in capsys.readouterr().err


def test_rate_does_not_count_the_first_item():
    times = iter([0.0, 1.0, 2.0, 4.0])
    assert feed_rate.count_steps(iter([100, 8, 8, 8]), 3.0, lambda: next(times)) == 4.0


def test_verdict():
    fits, words = feed_rate.verdict(130.0, 2, 62.0, 2)
    assert fits and words.startswith("yes: 130 images/s from 2 cores; 2 device(s) take 124 (62 each)")
    fits, words = feed_rate.verdict(130.0, 8, 62.0, 2)
    assert not fits
    assert "It feeds 2 of them" in words and "about 8 such cores" in words
