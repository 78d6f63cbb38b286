import re
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from centernet.categories import Categories
from centernet.errors import UserError
from centernet.models.centernet import StackedCenterNet, build_centernet
from centernet.models.heads import Heads
from centernet.training.setup import load_weights
from centernet.weights.average import flat_values
from centernet.weights.checkpoint import Checkpoint, model_record, save_checkpoint
from centernet.weights.transfer import load_backbone, load_for_fine_tuning
from tests.tiny_training import CATEGORIES, changed, settings, values

COCO = Categories(tuple(f"c{index}" for index in range(80)), tuple(range(1, 81)))

LTRB, IOU = ("--net_config.box_head", "ltrb"), ("--net_config.iou_score", "true")
SHORTCUT = ("--net_config.neck", "shortcut", "--dataset_config.input_res_test", "64", "64")


def network_of(classes, *flags):
    return build_centernet(settings(*flags).net_config, classes)


def checkpoint_of(arrays):
    return Checkpoint({name: Parameter(Tensor(value), name=name) for name, value in arrays.items()}, None, {})


def test_fine_tuning_keeps_all_but_the_heatmap_head():
    source = {**values(network_of(80)), "global_step": np.zeros(1, np.int32)}
    ms.set_seed(99)
    network = network_of(3)
    before = values(network)
    transfer = load_for_fine_tuning(network, checkpoint_of(source), False, "x.ckpt")
    after = values(network)
    hm = {name for name in after if name.startswith("heads.hm.")}
    assert len(hm) == 4 and set(transfer.missing) == set(transfer.dropped) == hm
    assert not changed({name: before[name] for name in hm}, after)
    assert not changed({name: after[name] for name in after if name not in hm}, source)
    assert set(transfer.loaded) == set(after) - hm and transfer.unused == ("global_step",)
    table = transfer.table()
    assert "heads.hm           0        4        4" in table and "heads.wh           4        0        0" in table
    assert "dropped: heads.hm.0.weight" in table


def test_fine_tuning_drops_sizes_by_category():
    source = values(network_of(80, "--net_config.cat_spec_wh", "true"))
    transfer = load_for_fine_tuning(network_of(3, "--net_config.cat_spec_wh", "true"), checkpoint_of(source), True, "x")
    assert {name.rsplit(".", 2)[0] for name in transfer.dropped} == {"heads.hm", "heads.wh"}


def test_fine_tuning_drops_the_heatmap_head_of_each_stack():
    def stacked(classes):
        backbone = nn.SequentialCell(nn.Conv2d(3, 4, 1))
        return StackedCenterNet(backbone, [Heads(4, classes, 8, False, True) for _ in range(2)])

    transfer = load_for_fine_tuning(stacked(3), checkpoint_of(values(stacked(80))), False, "x")
    assert {name.rsplit(".", 2)[0] for name in transfer.dropped} == {"heads.0.hm", "heads.1.hm"}
    assert {name.rsplit(".", 2)[0] for name in transfer.loaded if name.startswith("heads")} == {
        "heads.0.wh", "heads.0.reg", "heads.1.wh", "heads.1.reg"}


def test_another_kind_of_neck_and_its_heads_are_new():
    source = {**values(network_of(80)), "moment1.neck.0.up.0.weight": np.zeros(1, np.float32)}
    network = network_of(3, *SHORTCUT)
    before = values(network)
    transfer = load_for_fine_tuning(network, checkpoint_of(source), False, "x.ckpt")
    after = values(network)
    backbone = {name for name in after if name.startswith("backbone.")}
    assert set(transfer.loaded) == backbone and set(transfer.missing) == set(after) - backbone
    assert not changed({name: after[name] for name in backbone}, source)
    assert not changed({name: before[name] for name in transfer.missing}, after)
    assert transfer.unused == ("moment1.neck.0.up.0.weight",)
    table = transfer.table()
    assert re.search("^neck +0 +15 +30$", table, re.MULTILINE) and "missing: neck.stages.0.mix.0.weight" in table


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_a_detector_with_another_kind_of_neck_is_only_fine_tuned(tmp_path, weights):
    theirs, path = settings("--net_config.head_conv", "16"), tmp_path / "theirs.ckpt"
    network = build_centernet(theirs.net_config, 80)
    network.ema = Parameter(Tensor(flat_values(list(network.get_parameters())) + 1), name="ema")
    save_checkpoint(path, network, model_record(theirs, COCO), {})
    config = settings(*SHORTCUT, "--load_checkpoint_path", str(path), "--weights", weights)
    own = build_centernet(config.net_config, 3)
    with pytest.raises(UserError, match="holds another network than the configuration: net_config.neck 'none'"):
        load_weights(config, own, CATEGORIES)
    load_weights(replace(config, fine_tune=True), own, CATEGORIES)
    name = "backbone.layer4.0.conv2.weight"
    expected = values(network)[name] + (weights == "ema")
    np.testing.assert_array_equal(values(own)[name], expected)
    other = settings(*SHORTCUT, "--net_config.stem_pool", "same", "--load_checkpoint_path",
                     str(path), "--fine_tune", "true")
    with pytest.raises(UserError, match="another network than the configuration: net_config.stem_pool 'pad'"):
        load_weights(other, own, CATEGORIES)


def test_fine_tuning_for_the_same_categories_is_remarked_upon(tmp_path, caplog):
    """Without --fine_tune the heatmap's head would be kept. That is no way if the network differs, too."""
    detector, path = settings(), tmp_path / "ours.ckpt"
    save_checkpoint(path, build_centernet(detector.net_config, 3), model_record(detector, CATEGORIES), {})
    other = Categories(("disc", "frame", "star"), (1, 7, 90))
    for flags, categories, remark in (((), CATEGORIES, True), ((), other, False), (SHORTCUT, CATEGORIES, False)):
        config = settings(*flags, "--load_checkpoint_path", str(path), "--fine_tune", "true")
        caplog.clear()
        load_weights(config, build_centernet(config.net_config, 3), categories)
        assert (f"note: {path} has the same categories as the training data: leave out --fine_tune" in
                caplog.text) == remark


@pytest.mark.parametrize("old, new, lost, made", [
    ((), IOU, (), {"heads.iou"}), (IOU, (), {"heads.iou"}, ()), (IOU, IOU, (), ())], ids=["new", "lost", "kept"])
def test_fine_tuning_with_a_head_of_the_iou_keeps_the_boxes(old, new, lost, made):
    source = values(network_of(80, *LTRB, *old))
    network = network_of(3, *LTRB, *new)
    transfer = load_for_fine_tuning(network, checkpoint_of(source), False, "x.ckpt")
    for names, others in ((transfer.dropped, lost), (transfer.missing, made)):
        assert {name.rsplit(".", 2)[0] for name in names} == {"heads.hm", *others}
    kept = {name.rsplit(".", 2)[0] for name in transfer.loaded if name.startswith("heads.")}
    assert kept == {"heads.ltrb", *(["heads.iou"] if old == new else [])} and not transfer.unused
    assert not changed({name: values(network)[name] for name in transfer.loaded}, source)


@pytest.mark.parametrize("old, new", [("wh_reg", "ltrb"),
                                      pytest.param("ltrb", "wh_reg", marks=pytest.mark.slow)])
def test_fine_tuning_for_another_box_head_lists_the_new_one(old, new):
    source = values(network_of(80, "--net_config.box_head", old))
    network = network_of(3, "--net_config.box_head", new)
    transfer = load_for_fine_tuning(network, checkpoint_of(source), False, "x.ckpt")
    heads = {"wh_reg": {"heads.hm", "heads.wh", "heads.reg"}, "ltrb": {"heads.hm", "heads.ltrb"}}
    for names, kind in ((transfer.dropped, old), (transfer.missing, new)):
        assert {name.rsplit(".", 2)[0] for name in names} == heads[kind]
    assert set(transfer.loaded) == {name for name in source if not name.startswith("heads.")}
    assert not changed({name: values(network)[name] for name in transfer.loaded}, source)
    assert "missing: heads.hm.0.weight" in transfer.table()
    missing_one = {name: value for name, value in source.items() if name != "heads.wh.0.weight"}
    if old == "wh_reg":
        with pytest.raises(UserError, match="lacks 1 parameters of the network, for example heads.wh.0.weight"):
            load_for_fine_tuning(network_of(3), checkpoint_of(missing_one), False, "x.ckpt")


def test_fine_tuning_from_another_network_is_refused():
    source = values(network_of(80))
    source["neck.0.up.0.weight"] = np.zeros((2, 2, 4, 4), np.float32)
    with pytest.raises(UserError, match=r"neck.0.up.0.weight: \(2, 2, 4, 4\) in the file"):
        load_for_fine_tuning(network_of(3), checkpoint_of(source), False, "x.ckpt")
    del source["neck.0.up.0.weight"]
    with pytest.raises(UserError, match="lacks 1 parameters of the network, for example neck.0.up.0.weight"):
        load_for_fine_tuning(network_of(3), checkpoint_of(source), False, "x.ckpt")


@pytest.mark.parametrize("rename", [lambda name: name, lambda name: name.removeprefix("backbone."),
                                    lambda name: name.removeprefix("backbone.").replace("downsample",
                                                                                        "down_sample_layer"),
                                    lambda name: name.removeprefix("backbone.").replace("downsample", "down_sample")])
def test_a_backbone_loads_under_its_usual_names(rename):
    source = {name: value + 1 for name, value in values(network_of(3)).items() if name.startswith("backbone.")}
    network = network_of(3)
    before = values(network)
    named = {rename(name): value for name, value in source.items()}
    transfer = load_backbone(network, checkpoint_of({**named, "end_point.weight": np.ones((2, 2), np.float32)}), "x")
    after = values(network)
    assert not changed({name: after[name] for name in source}, source)
    assert changed(before, after) == set(transfer.loaded) == set(source)
    assert transfer.missing == () and transfer.unused == ("end_point.weight",)


def test_a_backbone_that_is_none_is_refused():
    with pytest.raises(UserError, match="none of its 1 parameters .for example features.0.weight. belongs "
                                        "to the backbone"):
        load_backbone(network_of(3), checkpoint_of({"features.0.weight": np.ones(3, np.float32)}), "x.ckpt")
    with pytest.raises(UserError, match=r"backbone.bn1.gamma: \(3,\) in the file, \(64,\) in the network"):
        load_backbone(network_of(3), checkpoint_of({"bn1.gamma": np.ones(3, np.float32)}), "x.ckpt")
    network = network_of(3)
    other = {name: np.ones(7, np.float32) for name in values(network) if name.startswith("backbone.")}
    with pytest.raises(UserError, match=r"60 shapes differ:\n  - backbone(?s:.*)\n  - and 40 more\nUse"):
        load_backbone(network, checkpoint_of(other), "x.ckpt")


def test_missing_tensors_of_a_backbone_are_listed():
    network = network_of(3)
    transfer = load_backbone(network, checkpoint_of({"bn1.gamma": np.ones(64, np.float32)}), "x.ckpt", partial=True)
    assert len(transfer.loaded) == 1 and "backbone.bn1.beta" in transfer.missing
    assert "missing: backbone.conv1.weight" in transfer.table()


@pytest.mark.fault("a backbone of which a part is missing", "renamed parameters",
                   "refused, nothing is loaded; the message names --partial_backbone true")
def test_an_incomplete_backbone_is_refused_and_nothing_is_loaded():
    network = network_of(3)
    source = {name: value + 1 for name, value in values(network).items() if name.startswith("backbone.")}
    before = values(network)
    theirs = {name.replace("downsample", "shortcut"): value for name, value in source.items()}
    with pytest.raises(UserError, match="x.ckpt lacks 15 of the backbone's 60 parameters .backbone.layer2.0.downsample"
                                        ".*15 of its own have no place.*--partial_backbone true"):
        load_backbone(network, checkpoint_of(theirs), "x.ckpt")
    assert not changed(before, values(network))
