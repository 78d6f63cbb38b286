"""Both backends keep their contract: batches, sizes, K, evaluation mode, damaged files."""
import json
from contextlib import nullcontext
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from tiny_model import CATEGORIES, read_config, tiny_config, tiny_network

from centernet.device import eager
from centernet.errors import UserError
from centernet.export.describe import describe
from centernet.export.publish import export_model
from centernet.files import sha256
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.runtimes.exported import ExportedBackend
from centernet.runtimes.manifest import manifest_path
from centernet.runtimes.sizes import map_size, require_cells, require_size, speed
from centernet.spec import configured_spec
from centernet.weights.checkpoint import model_record


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network, its configuration, and its export with batch 2 at 64 x 96."""
    folder = tmp_path_factory.mktemp("backends")
    config = read_config(tiny_config(folder), "--export_batch_size", "2", "--input_res", "64", "96")
    network = tiny_network(config)
    with eager():
        export_model(network, describe(config, model_record(config, CATEGORIES)), folder / "model.mindir")
    return network, config, folder / "model.mindir"


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(3).standard_normal((5, 3, 64, 96)).astype(np.float32)


def checkpoint_backend(network, config, **change):
    net, data = config.net_config, replace(config.dataset_config, **change)
    return CheckpointBackend(network, net, configured_spec(data, net, CATEGORIES), config.eval_config.K)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_images_goes_through_a_fixed_batch(exported, images, count):
    network, config, path = exported
    found = ExportedBackend(path)(images[:count])
    assert found.shape == (count, 20, 6) and found.dtype == np.float32
    with nullcontext() if count == 5 else eager():
        np.testing.assert_allclose(found, checkpoint_backend(network, config)(images[:count]), atol=1e-3)


def test_each_row_belongs_to_its_own_image(exported, images):
    backend = ExportedBackend(exported[2])
    np.testing.assert_allclose(backend(images)[::-1], backend(images[::-1]), atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 3, 96, 64), (1, 3, 64, 64), (1, 1, 64, 96)])
def test_another_input_size_is_refused_by_an_exported_model(exported, shape):
    with pytest.raises(UserError, match=r"takes images of shape \(3, 64, 96\), found .*--input_res"):
        ExportedBackend(exported[2])(np.zeros(shape, np.float32))


def test_a_checkpoint_takes_any_size_with_enough_cells(exported, layer_by_layer):
    backend = checkpoint_backend(*exported[:2])
    assert backend.fixed_shape is None
    assert backend(np.zeros((1, 3, 32, 96), np.float32)).shape == (1, 20, 6)
    assert map_size(680, 33) == (176, 16)
    require_cells(32, 96, 192)
    with pytest.raises(UserError, match="eval_config.K is 193.*32 x 96 pixels has only 8 x 24 = 192 output cells"):
        require_cells(32, 96, 193)


@pytest.mark.parametrize(("backbone", "neck", "good", "bad"), [
    ("hourglass104", "none", 256, 192), ("dla34", "conv", 96, 80), ("resnet18", "none", 68, 66),
    ("resnet18", "shortcut", 96, 68)])
def test_sizes_that_a_network_cannot_take_are_refused(exported, backbone, neck, good, bad):
    network, config, _ = exported
    net = replace(config.net_config, backbone=backbone, neck=neck)
    require_size(good, good, net)
    with pytest.raises(UserError, match=f"{net.title} takes inputs .* multiples of .*, found {bad} x {good}"):
        checkpoint_backend(network, replace(config, net_config=net))(np.zeros((1, 3, bad, good), np.float32))


def test_preparation_follows_the_training(exported):
    network, config, path = exported
    backend = checkpoint_backend(network, config, to_rgb=True, mean=(0.1, 0.2, 0.3))
    assert backend.spec.to_rgb and backend.spec.mean == (0.1, 0.2, 0.3) and backend.spec.down_ratio == 4
    spec = ExportedBackend(path).spec
    assert not spec.to_rgb and spec.mean == config.dataset_config.mean and spec.input_size == (64, 96)


def test_a_network_in_training_is_evaluated_with_its_moving_statistics(exported, images, layer_by_layer):
    network, config, path = exported
    network.set_train(True)
    found = checkpoint_backend(network, config)(images[:2])
    np.testing.assert_allclose(found, ExportedBackend(path)(images[:2]), atol=1e-3)
    statistics = [p.asnumpy() for p in network.get_parameters() if p.name.endswith("moving_mean")]
    assert not any(value.any() for value in statistics), "evaluation must not move batch norm's statistics"


class Maps(nn.Cell):
    """Gives one peak of class 1 at x 5, y 3 with size 4 x 2, whatever comes in."""

    def __init__(self):
        super().__init__()
        hm = np.full((1, 3, 16, 16), -9, np.float32)
        hm[0, 1, 3, 5] = 2
        self.hm = ms.Tensor(hm)
        self.wh = ms.Tensor(np.tile(np.float32([4, 2])[None, :, None, None], (1, 1, 16, 16)))
        self.reg = ms.Tensor(np.full((1, 2, 16, 16), 0.25, np.float32))

    def construct(self, x):
        return self.hm + 0 * x[:, :1, :16, :16], self.wh, self.reg


def test_boxes_are_in_cells_with_score_and_class(exported):
    found = checkpoint_backend(Maps(), exported[1])(np.zeros((1, 3, 64, 64), np.float32))
    np.testing.assert_allclose(found[0, 0], [3.25, 2.25, 7.25, 4.25, 1 / (1 + np.exp(-2)), 1], rtol=1e-5)


def copy_of(path, folder, change):
    """The exported files in another folder, the model's bytes changed."""
    copy = folder / path.name
    copy.write_bytes(change(path.read_bytes()))
    manifest_path(copy).write_bytes(manifest_path(path).read_bytes())
    return copy


@pytest.mark.parametrize("change", [
    lambda data: data[:len(data) // 2], lambda data: data[:-1], lambda data: b"", lambda data: data + b"\0",
    lambda data: data[:1000] + bytes([data[1000] ^ 1]) + data[1001:],
], ids=["half", "one byte short", "empty", "one byte more", "one bit"])
def test_a_damaged_model_is_not_run(exported, tmp_path, change):
    with pytest.raises(UserError, match=r"model\.mindir is not the file that was exported"):
        ExportedBackend(copy_of(exported[2], tmp_path, change))


def test_a_model_that_the_framework_cannot_load_is_an_error_with_its_version(exported, tmp_path):
    path = copy_of(exported[2], tmp_path, lambda data: b"something else")
    values = json.loads(manifest_path(path).read_text())
    manifest_path(path).write_text(json.dumps({**values, "sha256": sha256(path)}))
    with pytest.raises(UserError, match=r"is not damaged, but MindSpore .* cannot run it.*export the checkpoint again"):
        ExportedBackend(path)


def test_a_file_for_lite_2_0_is_told_to_be_one(exported, tmp_path):
    path = copy_of(exported[2], tmp_path, lambda data: b"something else")
    values = json.loads(manifest_path(path).read_text())
    changed = {**values, "sha256": sha256(path), "versions": {"mindspore": "2.0.0"}}
    manifest_path(path).write_text(json.dumps(changed))
    with pytest.raises(UserError, match=r"it is for MindSpore Lite 2\.0 and .* for Python use export\.py"):
        ExportedBackend(path)


def test_only_an_exported_model_is_taken(tmp_path):
    with pytest.raises(UserError, match=r"ends in \.mindir or \.onnx"):
        ExportedBackend(tmp_path / "model.ckpt")


def test_speed_tells_the_compilation_apart():
    assert speed([2.0, 0.1, 0.3], 2) == "100.0 ms an image, 10.0 images/s; first run: 2.00 s"
    assert speed([2.0], 1) == "first run: 2.00 s"
