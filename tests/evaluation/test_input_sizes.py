"""Own resolution: images of one padded size form batches, and each size is compiled once in a whole training."""
from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from mindspore.nn.cell import _cell_graph_executor

from centernet.config.load import load_config
from centernet.data.coco import locate, read_coco
from centernet.data.image_file import read_image
from centernet.detection.detector import Detector
from centernet.evaluation.dataset import NetworkEvaluation, detect_dataset
from centernet.runtimes.maps import MapsBackend
from centernet.spec import configured_spec
from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.loop import Plan, train
from centernet.training.optimization.optimizer import build_optimizer
from centernet.training.optimization.schedule import MultiDecay
from centernet.training.optimization.step import TrainStep
from centernet.training.train_log import TrainLog
from centernet.weights.checkpoint import model_record
from tests.tiny_coco import make_mixed_coco
from tests.tiny_training import CATEGORIES, changed, settings, values

HEIGHTS = (60, 90, 63, 60, 90, 130, 61)  # with pad 31: 64, 96, 64, 64, 96, 160, 64
KEPT = replace(load_config("eval", [], "").eval_config, keep_res=True, pad=31, K=10)


def mixed(folder):
    """A data set whose neighbours have different sizes."""
    return read_coco(make_mixed_coco(folder, HEIGHTS), folder / "val2017")


class Maps:
    """Maps of a network that need no compilation. It records the shapes of its batches."""

    def __init__(self):
        self.shapes = []

    def __call__(self, images):
        batch, _, height, width = images.shape
        self.shapes.append(images.shape)
        light = images.reshape(batch, 3, height // 4, 4, width // 4, 4).mean((3, 5))
        return light * 3, np.abs(light[:, :2]) * 9 + 2, light[:, 1:]


def detector_of(maps, dataset, settings):
    config = load_config("eval", [], "")
    spec = configured_spec(config.dataset_config, config.net_config, dataset.categories)
    return Detector(MapsBackend(maps, config.net_config, spec, settings.K), settings)


@pytest.mark.parametrize("size, expected", [
    (1, [(1, 160), *[(1, 96)] * 2, *[(1, 64)] * 4]), (2, [(2, 160), (2, 96), (2, 64), (2, 64)])])
def test_batches_of_one_size_give_what_each_image_gives_alone(tmp_path, size, expected):
    dataset, maps = mixed(tmp_path), Maps()
    found = detect_dataset(detector_of(maps, dataset, replace(KEPT, batch_size=size)), dataset)
    assert [(shape[0], shape[2]) for shape in maps.shapes] == expected
    alone = detector_of(Maps(), dataset, KEPT)
    assert list(found) == [image.id for image in dataset.images]
    for image in dataset.images:
        boxes = alone.rows(read_image(image.path))
        assert len(boxes) == 10 and found[image.id].tobytes() == boxes.tobytes()


@pytest.mark.fault("an image is so small that it has fewer output cells than K", "20 x 64 pixels among larger ones",
                   "it gives as many boxes as it has cells, and the evaluation goes on")
@pytest.mark.parametrize("scales", [(1.0,), (0.25, 1.0)])
def test_an_image_with_fewer_cells_than_K(tmp_path, scales):
    dataset = read_coco(make_mixed_coco(tmp_path, (20, 90)), tmp_path / "val2017")
    settings = replace(KEPT, K=200, multi_scales=scales, SOFT_NMS=False)
    counts = [len(boxes) for boxes in detect_dataset(detector_of(Maps(), dataset, settings), dataset).values()]
    if len(scales) == 1:
        assert counts == [8 * 24, 200]
    assert all(0 < count <= 200 for count in counts)  # several scales: soft-NMS removes some


def test_a_wrong_size_in_the_annotations_does_not_mix_batches(tmp_path, caplog):
    dataset, maps = mixed(tmp_path), Maps()
    wrong = replace(dataset.images[0], height=130)
    dataset = replace(dataset, images=(wrong, *dataset.images[1:]))
    found = detect_dataset(detector_of(maps, dataset, replace(KEPT, batch_size=2)), dataset)
    assert "the annotation file says 64 x 130" in caplog.text
    assert found[wrong.id].tobytes() == detector_of(Maps(), dataset, KEPT).rows(read_image(wrong.path)).tobytes()


class TinyDetector(nn.Cell):
    """A convolution with batch norm, and its loss."""

    def __init__(self):
        super().__init__(auto_prefix=False)
        self.layers = nn.SequentialCell(nn.Conv2d(3, 7, 3, stride=4, weight_init="HeNormal"), nn.BatchNorm2d(7))
        self.layers.update_parameters_name("backbone.")

    def construct(self, x):
        maps = self.layers(x)
        return maps[:, :3], maps[:, 3:5], maps[:, 5:]


class TinyLoss(nn.Cell):
    def __init__(self, network):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, image):
        hm, wh, reg = self.network(image)
        loss = ops.abs(hm).mean() + ops.abs(wh - 3).mean() + ops.abs(reg).mean()
        return loss, loss * 0.5, loss * 2.0, loss * 0.0


class Batches:
    def epoch(self, epoch, skip=0):
        random = np.random.default_rng(epoch)
        yield (random.standard_normal((2, 3, 32, 32)).astype(np.float32),)


@pytest.fixture
def compiled(monkeypatch):
    """Names of the cells that MindSpore compiles from now on."""
    executor, names = type(_cell_graph_executor), []
    original = executor.compile

    def compile_(self, cell, *arguments, **options):
        phase, new = original(self, cell, *arguments, **options)
        if new:
            names.append(type(cell).__name__)
        return phase, new
    monkeypatch.setattr(executor, "compile", compile_)
    return names


def train_tiny(folder, start, epochs, evaluate=None):
    """Train TinyDetector from the weights `start` (arrays), one step an epoch; returns the step's cell."""
    train_config, loss = settings().train_config, TinyLoss(TinyDetector())
    for parameter in loss.get_parameters():
        parameter.set_data(Tensor(start[parameter.name]))
    step = TrainStep(loss, build_optimizer(loss, train_config, MultiDecay(0.01, 0, (), 10.0)), train_config)
    keeper = CheckpointKeeper(None, step, model_record(settings(), CATEGORIES), every=9, keep=1, start_step=0,
                              steps_per_epoch=1)
    train(step, Batches(), Plan(0, epochs, 1, 1 if evaluate else 0, 1, {}), TrainLog(None, 1, epochs, 2), keeper,
          evaluate=(lambda: evaluate(loss.network)) if evaluate else None)
    return step


def test_a_training_compiles_each_size_once_and_evaluates_its_current_weights(tmp_path, compiled, caplog):
    dataset = mixed(tmp_path)
    dataset = replace(dataset, images=dataset.images[:4])
    config = replace(settings(), eval_config=KEPT)
    start = values(TinyDetector())
    counts, evaluations = [], []

    def evaluate(network):
        evaluations[:] = evaluations or [NetworkEvaluation(network, dataset, config)]
        before, state = len(compiled), values(network)
        with caplog.at_level("INFO", "centernet"):
            assert evaluations[0]().images == 4
        counts.append(compiled[before:])
        assert network.training and not changed(state, values(network))
        return 0.5

    step = train_tiny(tmp_path, start, 3, evaluate)
    assert counts == [["Detect"] * 2, [], []] and compiled.count("TrainStep") == 1
    lines = [record.getMessage() for record in caplog.records]
    assert "4 images at their own resolution: 2 input sizes, one compilation for each size" in lines
    assert any(line.startswith("input sizes compiled: 2, with their first runs") for line in lines)
    assert "4 images at their own resolution: 2 input sizes, 0 of them to compile" in lines
    assert "input sizes compiled: 0, with their first runs 0.0 s; compiled before: 2" in lines
    # The evaluations have changed nothing, and the old graphs run with the new weights.
    assert not changed(values(step), values(train_tiny(tmp_path, start, 3)))
    found = [detect_dataset(NetworkEvaluation(step.loss_network.network, dataset, config).detector, dataset),
             detect_dataset(evaluations[0].detector, dataset)]
    assert [boxes.tobytes() for boxes in found[0].values()] == [boxes.tobytes() for boxes in found[1].values()]


@pytest.mark.slow
@pytest.mark.parametrize("pad, sizes", [(31, 17), (127, 9)])
def test_compilations_of_coco_images(coco_mini, compiled, pad, sizes):
    """One image of each padded size; all 79 have these sizes."""
    dataset = read_coco(*locate(str(coco_mini), "val"))
    config = replace(settings(), eval_config=replace(KEPT, pad=pad))
    evaluation = NetworkEvaluation(TinyDetector(), dataset, config)
    first = {evaluation.detector.input_sizes(image.height, image.width): image for image in reversed(dataset.images)}
    few = replace(dataset, images=tuple(first.values()))
    counts = []
    for _ in range(2):
        before = len(compiled)
        detect_dataset(evaluation.detector, few)
        counts.append(len(compiled) - before)
    assert len(dataset.images) == 79 and counts == [sizes, 0]
