"""Counts equal hand-made ones and the published figures."""
import mindspore as ms
import pytest
from mindspore import nn

from centernet.config.load import PRESETS, load_config
from centernet.device import eager
from centernet.models.centernet import StackedCenterNet
from centernet.models.deform_conv import DeformConv
from centernet.models.heads import Heads
from centernet.models.resnet import BasicBlock, batch_norm
from centernet.weights.conversion import skeleton
from tools.complexity import measure, observe
from tools.model_table import main


@pytest.fixture(autouse=True)
def layer_by_layer(cpu_device):
    with eager():
        yield


def network_of(preset):
    net = load_config("export", ["--config_path", str(PRESETS / f"{preset}.yaml")], "").net_config
    network = skeleton(net, 80)
    for parameter in network.get_parameters():
        parameter.set_data(ms.ops.zeros(parameter.shape, parameter.dtype))
    return network


# Millions of parameters, as the relatives of this program publish them.
@pytest.mark.parametrize(("preset", "kind", "published"), [
    ("official_res18", "parameters", 15.820), ("mmdet_res18", "parameters", 14.22),
    pytest.param("official_dlav0_34", "folded", 17.911, marks=pytest.mark.slow)])  # fast: the table below
def test_published_parameters(preset, kind, published):
    decimals = len(str(published).split(".")[1])
    assert round(getattr(measure(network_of(preset), 128, 128), kind) / 1e6, decimals) == published


def test_published_operations_of_openvino_s_model_analyzer():
    assert measure(network_of("official_dlav0_34"), 384, 384).flops / 1e9 == pytest.approx(34.994, abs=0.001)


def elements(calls, *kinds):
    return sum(call.elements_out for call in calls if isinstance(call.cell, kinds))


def test_published_operations_of_mmdetection_s_counter():
    """It adds to the multiply-accumulates two operations for each element of a batch norm, and one of a ReLU, a bias
    and what is pooled."""
    network = network_of("mmdet_res18")
    calls, _ = observe(network, 128, 128)
    biases = sum(call.elements_out for call in calls if getattr(call.cell, "has_bias", False))
    pooled = 64 * 64 * 64
    rest = 2 * elements(calls, nn.BatchNorm2d) + elements(calls, nn.ReLU) + biases + pooled
    assert round((measure(network, 512, 512).macs + 16 * rest) / 1e9, 2) == 13.14


class Maps(nn.Cell):
    """The tuple that networks give."""

    def construct(self, x):
        return (x,)


def test_operations_of_layers_by_hand():
    network = nn.SequentialCell(nn.Conv2d(3, 8, 3, 2, pad_mode="pad", padding=1), batch_norm(8), nn.ReLU(),
                                nn.MaxPool2d(2, 2), BasicBlock(8, 8, 1),
                                nn.Conv2dTranspose(8, 4, 4, 2, pad_mode="pad", padding=1, has_bias=True),
                                DeformConv(4, 5), batch_norm(5), Maps())
    found = measure(network, 32, 64)
    conv, block, up = 16 * 32 * 8 * 27, 2 * 8 * 16 * 8 * 72, 8 * 16 * 8 * 4 * 16
    offset, deform = 16 * 32 * 27 * 36, 16 * 32 * 5 * 36
    assert found.macs == conv + block + up + offset + deform
    relu, pool, add, biases = 2 * (16 * 32 * 8 + 2 * 8 * 16 * 8), 4 * 8 * 16 * 8, 8 * 16 * 8, 16 * 32 * (4 + 27 + 5)
    assert found.flops == 2 * found.macs + relu + pool + add + biases
    kernels = 8 * 27 + 2 * 8 * 72 + 8 * 4 * 16 + 27 * 36 + 5 * 36
    assert found.folded == kernels + 8 + 2 * 8 + 4 + 27 + 5
    assert found.parameters == found.folded + 8 + 2 * 8 + 5 + 5  # gammas, and the bias before a batch norm
    assert found.outputs == ((1, 5, 16, 32),)


@pytest.mark.parametrize("preset", ["demo_cpu", pytest.param("official_dlav0_34", marks=pytest.mark.slow)])
def test_large_images_are_stood_for_by_small_ones(preset):
    network = network_of(preset)
    found = measure(network, 128, 256)
    twice = measure(network, 256, 512)
    assert (twice.macs, twice.flops) == (4 * found.macs, 4 * found.flops)
    calls, shapes = observe(network, 256, 512)
    assert twice.outputs == tuple(shapes) and (twice.parameters, twice.folded) == (found.parameters, found.folded)
    assert elements(calls, nn.ReLU) == 4 * elements(observe(network, 128, 256)[0], nn.ReLU)


def test_only_what_detection_uses_is_folded():
    class Backbone(nn.Cell):
        def construct(self, x):
            return x, x

    heads = [Heads(3, 2, 0, False, False) for _ in range(2)]
    found = measure(StackedCenterNet(Backbone(), heads), 8, 8)
    assert found.parameters == 2 * found.folded == 2 * (3 * 4 + 4)


def test_table_of_chosen_presets(capsys):
    preset = str(PRESETS / "official_dlav0_34.yaml")
    assert main([preset, "--input_res", "384", "512"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:4] == ["official_dlav0_34", "384x512", "17.920", "17.911"]
    assert lines[1].endswith("80x96x128, 2x96x128, 2x96x128")
    assert main([preset, "--input_res", "384", "500"]) == 2
    assert "input_res must be positive multiples of 32 for dlav0_34" in capsys.readouterr().err
    assert main(["nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


@pytest.mark.slow
def test_every_preset_is_in_the_table(capsys):
    assert main([]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert names[:len(list(PRESETS.glob("*.yaml")))] == sorted(path.stem for path in PRESETS.glob("*.yaml"))
