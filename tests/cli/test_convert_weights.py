"""convert_weights.py from file to file, and what its checkpoints are good for."""
import json

import numpy as np
import pytest
from mindspore import Tensor

from centernet.cli import convert_weights
from centernet.config.load import PRESETS, load_config
from centernet.device import eager
from centernet.models.centernet import build_centernet
from centernet.weights.checkpoint import read_checkpoint
from centernet.weights.conversion import skeleton
from centernet.weights.foreign_files import write_weights
from centernet.weights.load import load_model
from centernet.weights.transfer import load_backbone
from tests.golden_weights import golden_network
from tools.foreign_weights import mmdet_dcn_shapes, modelzoo_shapes, random_tensors, resnet_shapes
from tools.golden_archive import (
    MAPS,
    PRESET_OF,
    TOLERANCE,
    dla_classifier,
    errors,
    extremenet,
    formula_weights,
    source_of,
)


def run(capsys, source, preset, given, output, *flags):
    """Exit status and what was printed."""
    status = convert_weights.main(["--source", source, "--config_path", str(PRESETS / f"{preset}.yaml"), "--input",
                                   str(given), "--output", str(output), *flags])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed (requirements-convert.txt)")


def save_as_trained(torch, path, tensors):
    """A file as the paper's code and mmdetection write it in a training on several devices."""
    state = {f"module.{name}": torch.from_numpy(value) for name, value in tensors.items()}
    state["module.bn1.num_batches_tracked"] = torch.tensor(7)
    torch.save({"epoch": 140, "state_dict": state, "optimizer": {"param_groups": [{"lr": 1e-4}]}}, path)


# tools/check_parity.py checks all
@pytest.mark.parametrize("arch", ["resdcn_18", pytest.param("mmdet_r18", marks=pytest.mark.slow)])
def test_a_pth_becomes_the_network_that_it_was(torch, capsys, tmp_path, golden, arch):
    source, preset = source_of(arch), PRESET_OF[arch]
    save_as_trained(torch, tmp_path / "theirs.pth", formula_weights(arch))
    status, printed = run(capsys, source, preset, tmp_path / "theirs.pth", tmp_path / "ours.ckpt")
    assert status == 0, printed
    config = load_config("eval", ["--config_path", str(PRESETS / f"{preset}.yaml")], "")
    network = load_model(tmp_path / "ours.ckpt", config).network
    with eager():
        found = errors([ours.asnumpy() for ours in network(Tensor(golden(arch)["x"]))], golden(arch))
    assert [name for name in MAPS if not found[name] <= TOLERANCE[arch]] == [], found


def test_the_record_and_the_report(capsys, tmp_path):
    write_weights(tmp_path / "theirs.safetensors", formula_weights("mmdet_r18"), wrapped=False)
    status, printed = run(capsys, "mmdet", "mmdet_res18", tmp_path / "theirs.safetensors", tmp_path / "ours.ckpt")
    record = read_checkpoint(tmp_path / "ours.ckpt").record
    assert status == 0 and record.preset == "mmdet_res18" and record.spec.to_rgb and record.spec.mean[0] == 0.485
    assert record.spec.input_size == (512, 512) and record.spec.categories.ids[79] == 90
    assert "   142 tensors converted (backbone.conv1.weight" in printed
    assert "ours.ckpt: detector of 80 categories, preset mmdet_res18, for RGB images, mean [0.485" in printed


OFFICIAL = "official", "official_resdcn18", lambda: formula_weights("resdcn_18")
MMDET = "mmdet", "mmdet_resdcn18", lambda: random_tensors(mmdet_dcn_shapes())
TORCHVISION = "torchvision", "official_res18", lambda: random_tensors(resnet_shapes("resnet18"))


# Fast: each kind of file once; tests/weights/test_conversion.py takes all sources there and back.
@pytest.mark.parametrize("suffix, source, preset, make", [
    (".pth", *OFFICIAL), (".safetensors", *MMDET),
    *(pytest.param(suffix, *kind, marks=pytest.mark.slow) for suffix, kind in (
        (".safetensors", OFFICIAL), (".pth", MMDET), (".pth", TORCHVISION), (".safetensors", TORCHVISION)))])
def test_files_there_and_back_are_bit_identical(request, capsys, tmp_path, suffix, source, preset, make):
    theirs = make()
    if suffix == ".pth":
        save_as_trained(request.getfixturevalue("torch"), tmp_path / "theirs.pth", theirs)
    else:
        write_weights(tmp_path / "theirs.safetensors", theirs, wrapped=False)
    back = tmp_path / f"back{suffix}"
    assert run(capsys, source, preset, tmp_path / f"theirs{suffix}", tmp_path / "ours.ckpt")[0] == 0
    assert run(capsys, source, preset, tmp_path / "ours.ckpt", back, "--reverse", "true")[0] == 0
    assert identical(read_back(back), theirs)


def read_back(path):
    """Tensors as the source's own program reads them."""
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file
        return load_file(path)
    import torch
    content = torch.load(path, weights_only=True)
    return {name: value.numpy() for name, value in content.get("state_dict", content).items()}


def identical(found, expected):
    return found.keys() == expected.keys() and all(
        found[name].tobytes() == value.tobytes() and found[name].shape == value.shape
        for name, value in expected.items())


def test_the_model_zoos_checkpoint_there_and_back(capsys, tmp_path):
    theirs = random_tensors(modelzoo_shapes())
    write_weights(tmp_path / "zoo.ckpt", {**theirs, "moment1.network.hm_fn.0.bias": np.ones(64, np.float32)}, False)
    status, printed = run(capsys, "modelzoo", "modelzoo_res50", tmp_path / "zoo.ckpt", tmp_path / "ours.ckpt")
    assert status == 0 and "     1 tensors not needed and left out (moment1.network.hm_fn.0.bias)" in printed
    assert read_checkpoint(tmp_path / "ours.ckpt").record.network["stem_pool"] == "same"
    assert run(capsys, "modelzoo", "modelzoo_res50", tmp_path / "ours.ckpt", tmp_path / "b.ckpt", "--reverse",
               "true")[0] == 0
    back = {name: value.asnumpy() for name, value in read_checkpoint(tmp_path / "b.ckpt").parameters.items()}
    assert identical(back, theirs)


@pytest.mark.parametrize("source, preset, make, left_out, knows, arch", [
    ("dla", "official_dla34", dla_classifier, 12, "RGB images with ImageNet's mean", "dla_34"),
    pytest.param("dla", "official_dlav0_34", dla_classifier, 12, "RGB images with ImageNet's mean", "dla_34",
                 marks=pytest.mark.slow),
    pytest.param("extremenet", "official_hourglass", extremenet, 24, "BGR images with COCO's mean", "hourglass",
                 marks=pytest.mark.slow)])
def test_other_backbones_are_those_of_the_papers_detectors(capsys, tmp_path, source, preset, make, left_out, knows,
                                                           arch):
    theirs = make()
    # DataParallel's prefix, and a suffix that other programs use for PyTorch's files.
    write_weights(tmp_path / "theirs.safetensors", {f"module.{name}": value for name, value in theirs.items()}, False)
    (tmp_path / "theirs.safetensors").rename(tmp_path / "theirs.pkl")
    status, printed = run(capsys, source, preset, tmp_path / "theirs.pkl", tmp_path / "backbone.ckpt")
    assert status == 0 and f"{left_out:>6} tensors not needed" in printed and knows in printed
    network = skeleton(load_config("train", ["--config_path", str(PRESETS / f"{preset}.yaml")], "").net_config, 3)
    transfer = load_backbone(network, read_checkpoint(tmp_path / "backbone.ckpt"), "backbone.ckpt")
    assert transfer.missing == transfer.unused == () and len(transfer.loaded) == len(theirs) - left_out
    official = {parameter.name: parameter for parameter in golden_network(arch).backbone.get_parameters()}
    assert all(np.array_equal(parameter.asnumpy(), official[parameter.name].asnumpy())
               for parameter in network.backbone.get_parameters())


@pytest.mark.parametrize("depth", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_imagenet_weights_become_a_backbone_for_training(capsys, tmp_path, depth):
    theirs = {**random_tensors(resnet_shapes(depth)), "fc.weight": np.ones((1000, 8), np.float32)}
    write_weights(tmp_path / "imagenet.safetensors", theirs, wrapped=False)
    status, printed = run(capsys, "torchvision", "official_res18", tmp_path / "imagenet.safetensors",
                          tmp_path / "backbone.ckpt", "--net_config.backbone", depth)
    assert status == 0 and f"backbone.ckpt: {depth} for train.py" in printed and "left out (fc.weight)" in printed
    net = load_config("train", ["--net_config.backbone", depth, "--net_config.neck", "none"], "").net_config
    network = build_centernet(net, 3)
    transfer = load_backbone(network, read_checkpoint(tmp_path / "backbone.ckpt"), "backbone.ckpt")
    assert transfer.missing == transfer.unused == () and len(transfer.loaded) == len(resnet_shapes(depth))
    assert np.array_equal(network.backbone.layer4[1].conv1.weight.asnumpy(), theirs["layer4.1.conv1.weight"])
    assert np.array_equal(network.backbone.bn1.moving_variance.asnumpy(), theirs["bn1.running_var"])


def test_categories_come_from_a_file_or_by_name(capsys, tmp_path):
    theirs = formula_weights("res_18")
    theirs.update({"hm.2.weight": theirs["hm.2.weight"][:3], "hm.2.bias": theirs["hm.2.bias"][:3]})
    write_weights(tmp_path / "three.safetensors", theirs, wrapped=False)
    (tmp_path / "train.json").write_text(json.dumps({
        "images": [{"id": 1}], "categories": [{"id": 9, "name": "cross"}, {"id": 1, "name": "disc"},
                                              {"id": 4, "name": "ring"}]}))
    given = tmp_path / "three.safetensors"
    for flags, names, ids in ((["--category_file", str(tmp_path / "train.json")], ("disc", "ring", "cross"), (1, 4, 9)),
                              (["--dataset_config.coco_classes", "a", "b", "c"], ("a", "b", "c"), (1, 2, 3))):
        assert run(capsys, "official", "official_res18", given, tmp_path / "o.ckpt", *flags)[0] == 0
        categories = read_checkpoint(tmp_path / "o.ckpt").record.spec.categories
        assert categories.names == names and categories.ids == ids
    status, printed = run(capsys, "official", "official_res18", given, tmp_path / "new.ckpt")
    assert status == 2 and "detects 3 categories" in printed and not (tmp_path / "new.ckpt").exists()


@pytest.mark.parametrize("given, output, flags, words", [
    ("", "o.ckpt", [], "--input is empty"), ("w.pth", "", [], "--output is empty"),
    ("w.pth", "o.pth", [], "expected the name of a file that ends in .ckpt"),
    ("w.ckpt", "o.ckpt", ["--reverse", "true"], "ends in .pth or .pt or .safetensors"),
    ("o.ckpt", "o.ckpt", [], "is the input"), ("no.pth", "o.ckpt", [], "--input no.pth: there is no such file"),
    ("no.ckpt", "o.pth", ["--reverse", "true"], "checkpoint no.ckpt: there is no such file"),
    ("w.pth", "o.ckpt", ["--source", "caffe"], "source must be one of official, mmdet, torchvision, dla, "),
    ("w.pth", "o.ckpt", ["--category_file", "absent.json"], "--input w.pth")])
def test_mistakes_in_flags(capsys, tmp_path, monkeypatch, given, output, flags, words):
    monkeypatch.chdir(tmp_path)
    for name in ("w.pth", "w.ckpt", "o.ckpt"):
        (tmp_path / name).touch()
    status, printed = run(capsys, "official", "official_res18", given, output, *flags)
    assert status == 2 and words in printed and "Traceback" not in printed


def test_an_output_that_cannot_be_written_is_told_before_or_without_a_trace(capsys, tmp_path):
    write_weights(tmp_path / "w.safetensors", random_tensors(resnet_shapes("resnet18")), wrapped=False)
    (tmp_path / "folder.ckpt").mkdir()
    for output, words in (("folder.ckpt", "expected the name of a file"), ("w.safetensors/o.ckpt", "not be written")):
        status, printed = run(capsys, "torchvision", "official_res18", tmp_path / "w.safetensors", tmp_path / output)
        assert status == 2 and words in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.ckpt", "w.safetensors"]
