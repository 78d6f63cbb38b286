"""The chain from images to AP: a perfect detector, the geometry of scales and flip, batches, odd files."""
import json
from contextlib import nullcontext
from dataclasses import replace

import cv2
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from tiny_coco import CATEGORIES, edit, make_coco

from centernet.categories import Categories
from centernet.config.load import load_config
from centernet.data.annotations import read_annotations
from centernet.data.coco import locate, read_coco
from centernet.data.image_file import read_image
from centernet.data.targets import draw_heatmap, encode, to_output_boxes
from centernet.detection.detector import Detector
from centernet.detection.postprocess import to_coco_results
from centernet.device import eager
from centernet.errors import UserError
from centernet.evaluation.dataset import NetworkEvaluation, detect_dataset, detect_images
from centernet.evaluation.metrics import evaluate_results
from centernet.evaluation.report import draw_detections
from centernet.geometry import affine_matrix
from centernet.models.decode import Decode
from centernet.runtimes.checkpoint import CheckpointBackend
from centernet.spec import ModelSpec

CONFIG = load_config("eval", [], "")
FIXED = replace(CONFIG.eval_config, keep_res=False, SOFT_NMS=False)


def plain_spec(categories, size):
    return ModelSpec(categories, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "BGR", 4, size)


def perfect_maps(image, size, num_classes):
    """What a perfect network would answer for one image at fixed resolution (height, width)."""
    rows, columns = size[0] // 4, size[1] // 4
    center = np.array([image.width / 2, image.height / 2])
    matrix = affine_matrix(center, max(image.width, image.height), 0, (columns, rows))
    targets = encode(to_output_boxes(image.boxes, matrix, 0, (rows, columns)), image.classes, (rows, columns), 256)
    hm = draw_heatmap(targets.cls, targets.radius, targets.ind, targets.reg_mask, num_classes, rows, columns)
    hm = np.clip(hm, 1e-4, 1 - 1e-4)
    wh, reg = np.zeros((2, 2, rows * columns), np.float32)
    kept = targets.reg_mask > 0
    wh[:, targets.ind[kept]], reg[:, targets.ind[kept]] = targets.wh[kept].T, targets.reg[kept].T
    return np.log(hm / (1 - hm)), wh.reshape(2, rows, columns), reg.reshape(2, rows, columns)


class PerfectBackend:
    """Answers from the annotations; knows the images by the order in which they come."""

    first_runs = None

    def __init__(self, dataset, size, K=100, fixed_shape=None):
        self.spec = plain_spec(dataset.categories, size)
        self.K, self.fixed_shape = K, fixed_shape
        self._left, self._size, self._decode = list(dataset.images), size, Decode(K)
        self.batch_sizes = []

    def __call__(self, images):
        self.batch_sizes.append(len(images))
        assert images.shape[1:] == (3, *self._size) and images.dtype == np.float32
        chosen, self._left = self._left[:len(images)], self._left[len(images):]
        maps = [perfect_maps(image, self._size, len(self.spec.categories)) for image in chosen]
        maps += [maps[-1]] * (len(images) - len(maps))
        return self._decode(*(Tensor(np.stack(part)) for part in zip(*maps))).asnumpy()


def without_crowds(annotation_file, target):
    document = json.loads(annotation_file.read_text())
    document["annotations"] = [row for row in document["annotations"] if not row["iscrowd"]]
    target.write_text(json.dumps(document))
    return target


def test_a_perfect_detector_loses_almost_nothing(coco_mini, tmp_path):
    annotation_file, image_dir = locate(str(coco_mini), "val")
    dataset = read_coco(without_crowds(annotation_file, tmp_path / "val.json"), image_dir)
    evaluation = replace(FIXED, batch_size=4)
    detections = detect_dataset(Detector(PerfectBackend(dataset, (512, 512)), evaluation), dataset)
    results = [row for key, boxes in detections.items() for row in to_coco_results(key, boxes, dataset.categories)]
    metrics = evaluate_results(read_annotations(annotation_file), results, dataset.categories, detections)
    print(metrics.summary)
    assert len(detections) == 79
    assert metrics.AP >= 0.95


def tiny(folder, **options):
    return read_coco(make_coco(folder, split="val", **options), folder / "val2017")


@pytest.mark.parametrize("fixed_shape, batch_size, expected", [(None, 4, [4, 4]), (None, 1, [1] * 7),
                                                              ((3, 128, 160), 1, [3, 3, 3])])
def test_the_last_batch_is_filled_up(tmp_path, fixed_shape, batch_size, expected, layer_by_layer):
    dataset = tiny(tmp_path, num_images=7, empty=(6,))
    backend = PerfectBackend(dataset, (128, 160), K=20, fixed_shape=fixed_shape)
    # A model of a fixed size is run at that size, whatever the settings say.
    evaluation = replace(FIXED, batch_size=batch_size, K=20, keep_res=fixed_shape is not None)
    found = list(detect_images(Detector(backend, evaluation), dataset.images))
    assert backend.batch_sizes == expected
    assert [image.id for image, _ in found] == [image.id for image in dataset.images]
    for image, boxes in found:
        strong = boxes[boxes[:, 4] > 0.9]
        np.testing.assert_allclose(np.sort(strong[:, :4], 0), np.sort(image.boxes, 0), atol=1.5)
        assert sorted(strong[:, 5]) == sorted(image.classes)


class BrightSpots(nn.Cell):
    """A network whose only class is brightness; its boxes are 8 cells wide and 6 high."""

    def construct(self, x):
        light = ops.avg_pool2d(ops.mean(x, 1, True), 4, 4)
        size = ops.concat((ops.ones_like(light) * 8, ops.ones_like(light) * 6), 1)
        return light * 20 - 10, size, ops.ones_like(size) * 0.5


def spots(settings, size=(64, 64)):
    """A detector of bright spots."""
    spec = plain_spec(Categories(("spot",), (5,)), size)
    return Detector(CheckpointBackend(BrightSpots(), CONFIG.net_config, spec, 10, settings.flip_test), settings)


@pytest.mark.parametrize("keep_res", [True, False])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5,), (1.5,), (0.75, 1.0, 1.25)])
def test_every_scale_and_the_mirror_image_lead_back_to_the_image(keep_res, flip, scales):
    image = np.zeros((90, 150, 3), np.uint8)
    x, y = 95, 28
    image[y - 8:y + 8, x - 8:x + 8] = 255
    evaluation = replace(FIXED, keep_res=keep_res, pad=31, multi_scales=scales, flip_test=flip, K=10)
    with nullcontext() if scales == (0.5,) else eager():
        boxes = spots(evaluation, (160, 192)).rows(image)
    assert boxes.shape[1] == 6 and len(boxes) <= 10 and (np.diff(boxes[:, 4]) <= 0).all()
    x1, y1, x2, y2, score, cls = boxes[0]
    assert score > 0.99 and cls == 0
    assert abs((x1 + x2) / 2 - x) < 8 and abs((y1 + y2) / 2 - y) < 8
    if len(scales) == 1:
        pixel = scales[0] * (1 if keep_res else 192 / 150)  # input pixels of one image pixel
        np.testing.assert_allclose([x2 - x1, y2 - y1], [32 / pixel, 24 / pixel], rtol=1e-4)


def test_several_scales_are_merged_by_soft_nms(layer_by_layer):
    image = np.zeros((64, 64, 3), np.uint8)
    image[24:40, 24:40] = 255
    one, two = (spots(replace(FIXED, multi_scales=scales, K=10)).rows(image)
                for scales in ((1.0,), (1.0, 1.0)))
    assert len(two) <= 10
    # Neighbouring peaks of the spot overlap: without soft-NMS they all keep their scores.
    assert (one[:, 4] > 0.9).sum() > 2 and (two[:, 4] > 0.9).sum() == 1 and two[0, 4] == one[0, 4]


def test_grey_and_single_pixel_images(tmp_path, layer_by_layer):
    for size in ((1, 1), (40, 60)):
        path = tmp_path / f"{size[0]}.png"
        cv2.imwrite(str(path), np.full(size, 80, np.uint8))
        image = read_image(path)
        assert image.shape == (*size, 3)
        for keep_res in (True, False):
            boxes = spots(replace(FIXED, keep_res=keep_res, pad=31)).rows(image)
            assert np.isfinite(boxes).all()


def test_the_plan_says_that_an_exported_model_fixes_the_resolution(tmp_path, caplog, layer_by_layer):
    dataset = tiny(tmp_path, num_images=1)
    backend = PerfectBackend(dataset, (128, 160), K=20, fixed_shape=(1, 128, 160))
    with caplog.at_level("INFO", logger="centernet"):
        detect_dataset(Detector(backend, replace(FIXED, K=20)), dataset)
    assert "1 images at fixed resolution 128 x 160 of the exported model" in caplog.text


def test_unreadable_images_are_named(tmp_path, layer_by_layer):
    dataset = tiny(tmp_path, num_images=3)
    path = dataset.images[1].path
    whole = path.read_bytes()
    for data, message in ((whole[:-200], "cut off after"), (b"text", "is not an image file")):
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"{path.name}.*{message}.*check-data --data DATA` lists all such files"):
            detect_dataset(spots(replace(FIXED, K=10)), dataset)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name}: No such file"):
        detect_dataset(spots(replace(FIXED, K=10)), dataset)


class ConstantBackend:
    spec, fixed_shape = plain_spec(CATEGORIES, (64, 64)), None

    def __init__(self, value):
        self.value = value

    def __call__(self, images):
        return np.full((len(images), 5, 6), self.value, np.float32)


def test_weights_that_diverged_are_an_error():
    with pytest.raises(UserError, match="NaN or infinite"):
        Detector(ConstantBackend(np.nan), FIXED).rows(np.zeros((9, 9, 3), np.uint8))


def test_a_size_that_contradicts_the_annotations_is_warned_of(tmp_path, caplog, layer_by_layer):
    path = make_coco(tmp_path, num_images=2, split="val")
    edit(path, lambda document: document["images"][0].update(width=96, height=128))
    dataset = read_coco(path, tmp_path / "val2017")
    with caplog.at_level("WARNING", "centernet"):
        detect_dataset(spots(replace(FIXED, K=10)), dataset)
    assert sum("the annotation file says 96 x 128" in record.message for record in caplog.records) == 1


def test_a_network_in_training_is_evaluated_and_trains_on(tmp_path):
    dataset = tiny(tmp_path, num_images=3, categories=CATEGORIES[:1])
    network = BrightSpots().set_train()
    config = replace(CONFIG, eval_config=replace(FIXED, K=10, batch_size=2),
                     dataset_config=replace(CONFIG.dataset_config, input_res_test=(64, 96)))
    metrics = NetworkEvaluation(network, dataset, config)()
    assert metrics.images == 3 and metrics.annotated == 9 and metrics.detected == 30
    assert network.training


def test_pictures_stay_in_their_folder(tmp_path):
    path = make_coco(tmp_path, num_images=2, split="val")
    original = tmp_path / "val2017" / "000000.jpg"
    before = original.read_bytes()
    edit(path, lambda document: document["images"][0].update(file_name=str(original)))
    edit(path, lambda document: document["images"][1].update(file_name="../val2017/000001.jpg"))
    dataset = read_coco(path, tmp_path / "val2017")
    boxes = {image.id: np.array([[5, 5, 20, 20, 0.9, 0]], np.float32) for image in dataset.images}
    draw_detections(tmp_path / "out", dataset, boxes, 0.3)
    assert original.read_bytes() == before
    assert len(list((tmp_path / "out" / "pred_image").rglob("*.jpg"))) == 2
    assert len(list((tmp_path / "out" / "gt_image").rglob("*.jpg"))) == 2


def test_each_image_of_a_data_set_has_its_own_picture(tmp_path):
    path = make_coco(tmp_path, num_images=4, split="val")
    folder = tmp_path / "val2017"
    names = ("a.jpg", "../a.jpg", "b.bmp", "b.bmp.jpg")
    for number, name in enumerate(names):
        (folder / f"{number:06}.jpg").rename(folder / name)
    edit(path, lambda document: [row.update(file_name=name) for row, name in zip(document["images"], names)])
    dataset = read_coco(path, folder)
    nothing = {image.id: np.zeros((0, 6), np.float32) for image in dataset.images}
    draw_detections(tmp_path / "out", dataset, nothing, 0.3)
    for kind in ("pred_image", "gt_image"):
        assert len(list((tmp_path / "out" / kind).iterdir())) == 4
