"""Conversion of arrays: nothing is lost on the way and back, and what does not fit is explained."""
from dataclasses import replace
from functools import cache
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from centernet.config.load import PRESETS, load_config
from centernet.errors import UserError
from centernet.weights import conversion
from centernet.weights.checkpoint import Checkpoint, model_record
from centernet.weights.conversion import convert, convert_back, part_for, skeleton
from tests.tiny_model import CATEGORIES
from tests.tiny_training import values
from tools.foreign_weights import mmdet_dcn_shapes, modelzoo_shapes, random_tensors, resnet_shapes
from tools.golden_archive import dla_classifier, formula_weights

FILE = Path("theirs.pth")
LEFT_OUT = {"num_batches_tracked": np.array(7)}


def config_of(preset, *flags):
    return load_config("convert_weights", ["--config_path", str(PRESETS / f"{preset}.yaml"), *flags], "")


def converted(tensors, source, preset, *flags, classes=80):
    """The converted network (or backbone) and the report."""
    config = config_of(preset, *flags)
    cell = part_for(source, skeleton(config.net_config, classes))
    return cell, convert(tensors, source, config, cell, FILE)


def checkpoint_of(cell):
    return Checkpoint({name: Parameter(Tensor(value), name=name) for name, value in values(cell).items()}, None, {})


def identical(found, expected):
    return found.keys() == expected.keys() and all(
        found[name].tobytes() == value.tobytes() and found[name].shape == value.shape
        for name, value in expected.items())


CASES = {
    "official res": ("official", "official_res18", lambda: formula_weights("res_18")),
    "official resdcn": ("official", "official_resdcn18", lambda: formula_weights("resdcn_18")),
    "official dla": ("official", "official_dla34", lambda: formula_weights("dla_34")),
    "official dlav0": ("official", "official_dlav0_34", lambda: formula_weights("dlav0_34")),
    "mmdet": ("mmdet", "mmdet_res18", lambda: formula_weights("mmdet_r18")),
    "mmdet dcn": ("mmdet", "mmdet_resdcn18", lambda: random_tensors(mmdet_dcn_shapes())),
    "dla": ("dla", "official_dla34", dla_classifier),
    "torchvision": ("torchvision", "official_res18", lambda: random_tensors(resnet_shapes("resnet18"))),
    "modelzoo": ("modelzoo", "modelzoo_res50", lambda: random_tensors(modelzoo_shapes())),
}


# Slow: tests/cli/test_convert_weights.py goes there and back with them or with their other forms.
@pytest.mark.parametrize("case", [pytest.param(name, marks=pytest.mark.slow) if name in ("dla", "official dlav0")
                                  else name for name in CASES])
def test_there_and_back_is_bit_identical(case):
    source, preset, make = CASES[case]
    theirs = make()
    cell, found = converted(theirs, source, preset)
    back = convert_back(checkpoint_of(cell), source, config_of(preset), FILE)
    assert identical(back, {name: value for name, value in theirs.items() if name not in found.ignored})
    assert len(found.ignored) == {"official dla": 10, "official dlav0": 12, "dla": 12}.get(case, 0)


@pytest.mark.slow
def test_hourglass_there_and_back_is_bit_identical():
    theirs = formula_weights("hourglass")
    cell, _ = converted(theirs, "official", "official_hourglass")
    assert identical(convert_back(checkpoint_of(cell), "official", config_of("official_hourglass"), FILE), theirs)


def test_what_a_detector_does_not_need_is_listed():
    theirs = {**formula_weights("res_18"), "fc.weight": np.ones((1000, 512)), "bn1.num_batches_tracked": np.array(7)}
    _, found = converted(theirs, "official", "official_res18")
    assert found.ignored == ("fc.weight", "bn1.num_batches_tracked")
    assert found.lines() == [
        "   127 tensors converted (conv1.weight, bn1.running_mean, bn1.running_var, ...)",
        "     2 tensors not needed and left out (fc.weight, bn1.num_batches_tracked)"]


def test_a_bias_that_mmdetection_has_no_place_for_moves_into_the_mean():
    cell, found = converted(random_tensors(mmdet_dcn_shapes()), "mmdet", "mmdet_resdcn18")
    assert "     3 parameters that the source does not have, set to zero (neck.0.before.0.bias, " in found.lines()[1]
    trained = checkpoint_of(cell)
    assert not trained.parameters["neck.0.before.0.bias"].asnumpy().any()
    bias = np.arange(256, dtype=np.float32)
    trained.parameters["neck.0.before.0.bias"].set_data(Tensor(bias))
    mean = trained.parameters["neck.0.before.1.moving_mean"].asnumpy()
    back = convert_back(trained, "mmdet", config_of("mmdet_resdcn18"), FILE)
    assert back["neck.deconv_layers.0.bn.running_mean"].tolist() == (mean - bias).tolist()


def test_averaged_weights_are_used_when_there_are_no_others():
    theirs = formula_weights("mmdet_r18")
    averaged = {"ema_" + name.replace(".", "_"): value for name, value in theirs.items()}
    alone, _ = converted(averaged, "mmdet", "mmdet_res18")
    both, found = converted({**theirs, **{name: value + 1 for name, value in averaged.items()}}, "mmdet", "mmdet_res18")
    expected, _ = converted(theirs, "mmdet", "mmdet_res18")
    assert identical(values(alone), values(expected)) and identical(values(both), values(expected))
    assert len(found.ignored) == len(theirs)


def test_other_precisions_become_float32():
    theirs = formula_weights("res_18")
    halves, _ = converted({name: value.astype(np.float16) for name, value in theirs.items()}, "official",
                          "official_res18")
    assert {value.dtype for value in values(halves).values()} == {np.dtype(np.float32)}
    assert np.array_equal(values(halves)["backbone.conv1.weight"],
                          theirs["conv1.weight"].astype(np.float16).astype(np.float32))


def test_an_optimizers_state_is_left_behind():
    theirs = random_tensors(modelzoo_shapes())
    state = {**{f"{moment}.{name}": value for name, value in theirs.items() for moment in ("moment1", "moment2")},
             "global_step": np.zeros(1, np.int32), "learning_rate": np.ones(1, np.float32)}
    cell, found = converted({**theirs, **state}, "modelzoo", "modelzoo_res50")
    assert len(found.ignored) == len(state)
    own = checkpoint_of(cell)
    own.parameters["moment1.backbone.conv1.weight"] = Parameter(Tensor(np.ones(3, np.float32)), name="m")
    assert identical(convert_back(own, "modelzoo", config_of("modelzoo_res50"), FILE), theirs)


@pytest.fixture(scope="module")
def kept_skeletons():
    """Keeps the networks of all presets, in whose shapes the advice looks for the right one."""
    return cache(conversion.skeleton)


@pytest.fixture
def quick_advice(kept_skeletons, monkeypatch):
    monkeypatch.setattr(conversion, "skeleton", kept_skeletons)


@pytest.mark.usefixtures("quick_advice")
@pytest.mark.parametrize("source, preset, make, words", [
    ("mmdet", "mmdet_res18", lambda: formula_weights("res_18"),
     " fits --source official --config_path configs/official_res18.yaml"),
    ("official", "official_res18", lambda: formula_weights("resdcn_18"),
     "24 in the file that the network does not have: deconv_layers.0.bias; deconv_layers.0.conv_offset_mask.weight; "
     "deconv_layers.0.conv_offset_mask.bias; ...\ntheirs.pth fits --source official --config_path "
     "configs/official_resdcn18.yaml"),
    pytest.param("official", "official_res101", lambda: random_tensors(resnet_shapes("resnet101")),
                 " fits --source torchvision --config_path configs/official_res101.yaml", marks=pytest.mark.slow),
    ("official", "demo_cpu", lambda: random_tensors(resnet_shapes("resnet18")),
     " fits --source torchvision --config_path configs/demo_cpu.yaml"),
    ("official", "official_res18", lambda: random_tensors(resnet_shapes("resnet18")),
     " fits --source torchvision --config_path configs/official_res18.yaml"),
    ("official", "official_dla34", dla_classifier, " fits --source dla --config_path configs/official_dla34.yaml"),
    ("official", "official_res50", lambda: random_tensors(modelzoo_shapes()),
     " fits --source modelzoo --config_path configs/modelzoo_res50.yaml"),
    ("official", "official_res18", lambda: {"features.0.weight": np.ones(3)},
     "127 missing: conv1.weight; bn1.running_mean; bn1.running_var; ...\n  - 1 in the file that the network does "
     "not have: features.0.weight\nNo source and preset in configs/ fits theirs.pth")])
def test_a_wrong_source_or_preset_is_told_the_right_one(source, preset, make, words):
    with pytest.raises(UserError) as caught:
        converted(make(), source, preset)
    assert words in str(caught.value)


@pytest.mark.usefixtures("quick_advice")
def test_a_deeper_network_is_not_taken_for_a_shallow_one():
    # All that ResNet-50 has is in ResNet-101 too, in the same shapes.
    with pytest.raises(UserError, match="255 in the file that the network does not have: layer3.6.conv1.weight"
                                        "(.|\n)*theirs.pth fits --source torchvision --config_path configs/.*101.yaml"):
        converted(random_tensors(resnet_shapes("resnet101")), "torchvision", "official_res50")


def test_another_number_of_categories_asks_for_their_names():
    with pytest.raises(UserError, match="detects 80 categories, .* --category_file FILE"):
        converted(formula_weights("res_18"), "official", "official_res18", classes=3)


def test_a_tensor_that_is_not_finite_is_refused():
    theirs = formula_weights("res_18")
    theirs["hm.0.weight"][0, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="1 tensors contain NaN or infinity, for example hm.0.weight"):
        converted(theirs, "official", "official_res18")


@pytest.mark.usefixtures("quick_advice")
def test_a_network_that_the_source_has_not_got_is_refused():
    with pytest.raises(UserError) as caught:
        converted(random_tensors(modelzoo_shapes()), "modelzoo", "resnet50_plain")
    assert ("trains with net_config.stem_pool same, the configuration has pad. Add --net_config.stem_pool same.\n"
            "theirs.pth fits --source modelzoo --config_path configs/modelzoo_res50.yaml") in str(caught.value)
    cell = skeleton(config_of("official_res18").net_config, 80)
    with pytest.raises(UserError, match="mmdetection has no network with net_config.backbone resnet18"):
        convert_back(checkpoint_of(cell), "mmdet", config_of("official_res18"), FILE)


def test_a_record_of_another_network_is_refused_on_the_way_back():
    cell, _ = converted(formula_weights("res_18"), "official", "official_res18")
    record = model_record(config_of("official_res18"), CATEGORIES)
    with pytest.raises(UserError, match="Use --config_path official_res18, or"):
        convert_back(replace(checkpoint_of(cell), record=record), "official", config_of("official_resdcn18"), FILE)


def test_a_backbone_alone_cannot_be_a_detector():
    cell, _ = converted(random_tensors(resnet_shapes("resnet18")), "torchvision", "official_res18")
    with pytest.raises(UserError, match="only a backbone, .* the source that the backbone came from, torchvision"):
        convert_back(checkpoint_of(cell), "official", config_of("official_res18"), FILE)


def test_a_skeleton_computes_once_it_is_loaded():
    cell, _ = converted(formula_weights("res_18"), "official", "official_res18")
    cell.set_train(False)
    assert cell(ms.ops.zeros((1, 3, 32, 32)))[0].shape == (1, 80, 8, 8)
