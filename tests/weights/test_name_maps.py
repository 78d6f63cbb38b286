"""Names of other programs: all of them, in both directions, for every preset."""
import json
from pathlib import Path

import numpy as np
import pytest

from centernet.config.load import PRESETS, load_config
from centernet.errors import UserError
from centernet.weights.conversion import part_for, skeleton
from centernet.weights.name_maps import (
    ABSENT,
    SOURCES,
    is_ignored,
    objection,
    rules_for,
    source_names,
    to_our_layout,
    to_their_layout,
)
from tests.golden_weights import net_config
from tools.foreign_weights import BLOCKS, mmdet_dcn_shapes, modelzoo_shapes, resnet_shapes
from tools.golden_archive import GOLDEN, dla_classifier, source_of


def preset_net(name, *flags):
    return load_config("convert_weights", ["--config_path", str(PRESETS / f"{name}.yaml"), *flags], "").net_config


def their_shapes(source, net):
    """Name of theirs -> our parameter's shape, of all that a source has."""
    shapes = {parameter.name: parameter.shape for parameter in part_for(source, skeleton(net, 80)).get_parameters()}
    return {theirs: tuple(shapes[ours]) for ours, theirs in source_names(source, net, shapes).items()
            if theirs != ABSENT}


@pytest.mark.parametrize("arch", ["res_18", "res_50", "resdcn_18", "resdcn_50", "mmdet_r18", "dla_34", "dlav0_34",
                                  "hourglass"])
def test_names_and_shapes_are_those_of_the_golden_networks(arch):
    state = json.loads((GOLDEN / f"{arch}.json").read_text())["state"]
    source = source_of(arch)
    assert their_shapes(source, net_config(arch)) == {name: tuple(shape) for name, (shape, _) in state.items()
                                                      if not is_ignored(source, name)}


@pytest.mark.parametrize("depth", BLOCKS)
def test_names_and_shapes_are_those_of_torchvision(depth):
    net = preset_net("official_res18", "--net_config.backbone", depth)
    assert their_shapes("torchvision", net) == dict(resnet_shapes(depth))
    assert is_ignored("torchvision", "fc.weight") and is_ignored("torchvision", "bn1.num_batches_tracked")


@pytest.mark.parametrize("preset", ["official_dla34", "official_dlav0_34"])
def test_names_and_shapes_are_those_of_the_dla_repository(preset):
    theirs = {name: value.shape for name, value in dla_classifier().items()}
    needed = {name: shape for name, shape in theirs.items() if not is_ignored("dla", name)}
    assert their_shapes("dla", preset_net(preset)) == needed
    # In its trees of two levels the projection is computed, but its result is not handed on.
    assert sorted({name.rpartition(".")[0] for name in theirs.keys() - needed.keys()}) == [
        "fc", "level3.project.0", "level3.project.1", "level4.project.0", "level4.project.1"]


@pytest.mark.parametrize("source", sorted(SOURCES.keys() - {"modelzoo"}))
def test_counters_of_pytorch_are_not_needed(source):
    assert all(is_ignored(source, name) for name in ("bn1.num_batches_tracked", "n_averaged", "steps"))
    assert not is_ignored(source, "hm.n_averaged") and not is_ignored(source, "base.level5.project.0.weight")


def test_names_of_extremenet_and_cornernet():
    state = json.loads((GOLDEN / "hourglass.json").read_text())["state"]
    stacks = {name: tuple(shape) for name, (shape, _) in state.items() if name.split(".")[0] not in ("hm", "wh", "reg")}
    assert their_shapes("extremenet", preset_net("official_hourglass")) == stacks and len(stacks) == 800
    heads = [f"{side}_{kind}" for side in "tlbr" for kind in ("heats", "regrs")] + ["ct_heats"]  # ExtremeNet's
    heads += [f"{kind}_{side}" for side in "tlbr" for kind in ("hm", "reg")] + ["hm_c"]  # as the paper's code renames
    heads += [f"{corner}_{kind}" for corner in ("tl", "br") for kind in ("cnvs", "heats", "tags", "regrs")]
    assert all(is_ignored("extremenet", f"{head}.0.1.weight") for head in heads)
    assert not [name for name in stacks if is_ignored("extremenet", name)]


def test_names_and_shapes_are_those_of_the_model_zoo():
    assert their_shapes("modelzoo", preset_net("modelzoo_res50")) == dict(modelzoo_shapes())
    assert all(is_ignored("modelzoo", name) for name in (
        "moment1.network.resnet50.conv1.weight", "moment2.network.hm_fn.0.bias", "beta1_power", "global_step",
        "learning_rate"))


def test_mmdetections_deformable_layers_have_no_bias():
    net = preset_net("mmdet_resdcn18")
    assert their_shapes("mmdet", net) == dict(mmdet_dcn_shapes())
    names = source_names("mmdet", net, (parameter.name for parameter in skeleton(net, 80).get_parameters()))
    assert [ours for ours, theirs in names.items() if theirs == ABSENT] == [
        f"neck.{stage}.before.0.bias" for stage in range(3)]


def test_every_preset_has_a_source_with_different_names():
    found = set()
    for path in sorted(Path(PRESETS).glob("*.yaml")):
        net = preset_net(path.stem)
        parameters = [parameter.name for parameter in skeleton(net, 3).get_parameters()]
        fitting = [source for source in SOURCES if not objection(source, net)]
        for source in fitting:
            theirs = [name for name in source_names(source, net, parameters).values() if name != ABSENT]
            assert len(theirs) == len(set(theirs)) >= 100
        assert fitting, path
        found |= set(fitting)
    assert found == set(SOURCES)


def test_rules_that_are_not_one_to_one_are_found(monkeypatch):
    monkeypatch.setitem(SOURCES["official"].networks, ("resnet", "none"), ((r"\d", ""),))
    with pytest.raises(ValueError, match="not one to one"):
        source_names("official", preset_net("official_res18"), ["layer1", "layer2"])


def test_a_network_that_a_source_has_not_got_is_refused():
    with pytest.raises(UserError, match="has no network with net_config.backbone resnet18 and net_config.neck none"):
        rules_for("mmdet", preset_net("official_res18"))


def test_offset_channels_are_sorted_as_mmcv_does_on_ascend():
    # mmcv feeds the device's operator the odd channels, x, then the even ones, y, then the masks.
    value = np.arange(27)
    ours = to_our_layout("neck.0.before.0.offset.bias", value)
    assert ours.tolist() == [*value[:18][1::2], *value[:18][::2], *value[18:]]
    assert to_their_layout("neck.0.before.0.offset.bias", ours).tolist() == value.tolist()
    assert to_our_layout("neck.0.before.0.bias", value).tolist() == value.tolist()
