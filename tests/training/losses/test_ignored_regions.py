"""Boxes marked ignore or iscrowd: neither objects nor background, from the annotation file to the loss."""
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from tiny_coco import edit, make_coco, make_shards

from centernet.config.load import load_config
from centernet.data.coco import read_coco
from centernet.data.convert import convert
from centernet.data.mindrecord import annotated_row, open_shards
from centernet.data.pipeline import COLUMNS, open_training_data
from centernet.data.targets import draw_heatmap, encode
from centernet.data_check.advice import advice
from centernet.data_check.statistics import statistics
from centernet.device import eager
from centernet.errors import UserError
from centernet.geometry import IGNORED
from centernet.training.losses.heatmap import DrawHeatmap
from centernet.training.losses.terms import DetectionLoss
from tests.golden_weights import PLAIN

SIZE = (24, 32)
BOXES = np.array([[2, 2, 12, 10], [4, 3, 9, 8], [14, 5, 30, 21], [0, 0, 0, 4]], np.float32)
CLASSES = np.array([~1, 1, ~0, ~0], np.int32)  # a region of each class, an object in the first one, an empty region


def batch():
    return encode(BOXES, CLASSES, SIZE, 5)


def test_regions_follow_the_objects_and_have_a_size_only():
    targets = batch()
    assert targets.reg_mask.tolist() == [1, 0, 0, 0, 0]
    assert targets.cls.tolist() == [1, 1, 0, 0, 0]
    assert targets.wh[:, 0].tolist() == [5, 10, 16, 0, 0]
    plain = encode(BOXES[1:2], CLASSES[1:2], SIZE, 5)
    assert all(ours[0].tolist() == other[0].tolist() for ours, other in zip(targets, plain))
    assert encode(BOXES, CLASSES, SIZE, 2).reg_mask.tolist() == [1, 0]  # with too few slots regions are lost first


def heatmaps():
    targets = batch()
    with eager():
        columns = [Tensor(array[None]) for array in (targets.ind, targets.cls, targets.radius, targets.reg_mask)]
        device = DrawHeatmap(2, regions=True)(*columns, SIZE, Tensor(targets.wh[None])).asnumpy()[0]
    host = draw_heatmap(targets.cls, targets.radius, targets.ind, targets.reg_mask, 2, *SIZE, None, targets.wh)
    return device, host


def test_the_device_and_the_host_draw_the_same_regions():
    device, host = heatmaps()
    np.testing.assert_allclose(device, host, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(device == IGNORED, host == np.float32(IGNORED))
    assert np.argwhere(host == 1).tolist() == [[1, 5, 6]]  # the object in the region stays one
    inside = host == np.float32(IGNORED)
    assert inside[1, 2:11, 2:13].sum() == 9 * 11 - 1 and inside[0, 5:22, 14:31].all()
    assert inside[1, 14:].sum() == inside[0, :4].sum() == 0


@pytest.mark.fault("boxes marked ignore or iscrowd", "regions in a batch", "neither objects nor background")
@pytest.mark.parametrize("changes", [{}, {"mse_loss": True}, {"dense_wh": True}], ids=["focal", "mse", "dense"])
def test_predictions_in_a_region_cost_nothing(changes):
    net, targets = replace(PLAIN, **changes), batch()
    hm = Tensor(heatmaps()[0][None])
    inside = (hm.asnumpy() == np.float32(IGNORED))
    rows = [Tensor(array[None]) for array in (targets.cls, targets.ind, targets.wh, targets.reg, targets.reg_mask)]
    logits = np.random.default_rng(0).normal(-1, 1, (1, 2, *SIZE)).astype(np.float32)
    wild = np.where(inside, np.float32(5), logits)
    pairs = Tensor(np.ones((1, 2, *SIZE), np.float32))
    with eager():
        loss = DetectionLoss(net, regions=True)

        def run(maps):
            return loss((maps, pairs, pairs), hm, *rows, Tensor(targets.radius[None]))[0]
        values = [float(run(Tensor(maps))) for maps in (logits, wild)]
        gradient = ms.grad(run)(Tensor(wild)).asnumpy()
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert np.abs(gradient[inside]).max() < 1e-9 < np.abs(gradient[~inside]).max()


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A converted data set of four images; the first box of each is a region of class frame."""
    folder = tmp_path_factory.mktemp("marked")
    path = make_coco(folder, num_images=4, size=(64, 64))
    marks = ({"iscrowd": 1}, {"ignore": 1}, {"ignore": "1"}, {"iscrowd": True})
    edit(path, lambda document: [row.update(mark, category_id=7) for row, mark in
                                 zip(document["annotations"][::3], marks)])
    return folder, make_shards(folder)


@pytest.mark.parametrize("choice, objects", [("mask", 8), ("objects", 12)])
def test_from_the_annotation_file_to_the_batch(marked, choice, objects):
    data = load_config("train", ["--dataset_config.input_res_train", "64", "64", "--dataset_config.output_res", "16",
                                 "16", "--dataset_config.ignored_regions", choice, "--dataset_config.rand_crop",
                                 "false", "--dataset_config.scale", "0", "--dataset_config.shift", "0",
                                 "--dataset_config.heatmap_on_device", "false"], "").dataset_config
    training = open_training_data(str(marked[1]), "coco_det.train.mind", data, 4, 1, shuffle=False)
    assert training.masks_regions == (choice == "mask")
    (columns,) = training.epoch(0)
    named = dict(zip((*COLUMNS, "hm"), columns))
    assert named["reg_mask"].sum() == objects
    assert (named["wh"][..., 0] > 0).sum() == 12
    ignored = named["hm"] == np.float32(IGNORED)
    assert ignored[:, 1].any() == (choice == "mask") and not ignored[:, [0, 2]].any()


def test_the_conversion_says_so_and_strict_accepts_it(marked, tmp_path):
    dataset = read_coco(marked[0] / "annotations/instances_train2017.json", marked[0] / "train2017")
    summary = convert(dataset, tmp_path, "again", 1, strict=True)
    assert summary.regions == 4 and summary.box_counts == {3: 4}
    assert sum(summary.boxes) == 8 and summary.lines()[2].startswith("       4  boxes marked ignore or iscrowd written")
    assert "       2  note: box marked ignore" in "\n".join(summary.lines())
    shards = open_shards(tmp_path, "again", (), 0)
    assert shards.regions == 4 and shards.box_counts == {3: 4}


@pytest.mark.fault("more boxes in an image than max_objs", "shards with such images",
                   "a warning with the numbers and the flag")
def test_boxes_above_max_objs_are_counted(marked, caplog):
    data = replace(load_config("train", [], "").dataset_config, max_objs=2)
    open_training_data(str(marked[1]), "coco_det.train.mind", data, 4, 1, verify=False)
    assert "4 images have more boxes than dataset_config.max_objs 2 (at most 3): up to 4 boxes are left out" \
        in caplog.text
    assert "--dataset_config.max_objs 3" in caplog.text


def advice_on_slots(folder, config):
    dataset = read_coco(folder / "annotations/instances_train2017.json", folder / "train2017")
    found = advice({"train": statistics(dataset, config.dataset_config, config.net_config.margin)}, [], [], {}, config)
    return [sentence for sentence in found if "--dataset_config.max_objs" in sentence]


@pytest.mark.fault("more boxes than max_objs in a mosaic or mixup", "four or five images with 3 boxes, and 11 slots",
                   "a warning at the start of the training, and advice of check-data, with the flag")
@pytest.mark.parametrize("strong, images", [({}, 1), ({"mixup": 0.1}, 2), ({"mosaic": 1.0}, 4),
                                            ({"mosaic": 0.5, "mixup": 0.5}, 5)])
def test_boxes_of_several_images_above_max_objs_are_said(marked, caplog, strong, images):
    config = load_config("check_data", [], "")
    data = replace(config.dataset_config, max_objs=11, **strong)
    open_training_data(str(marked[1]), "coco_det.train.mind", data, 4, 1, verify=False)
    sentences = advice_on_slots(marked[0], replace(config, dataset_config=data))
    assert (images > 2) == ("into one training image" in caplog.text) == bool(sentences)
    for said in [caplog.text, *sentences] if sentences else []:
        assert f"--dataset_config.max_objs {3 * images}" in said and f"up to {images} images" in said
    # With images that alone have too many boxes, one number is enough for both.
    caplog.clear()
    open_training_data(str(marked[1]), "coco_det.train.mind", replace(data, max_objs=2), 4, 1, verify=False)
    sentence, = advice_on_slots(marked[0], replace(config, dataset_config=replace(data, max_objs=2)))
    assert caplog.text.count(f"--dataset_config.max_objs {3 * images}") == 1 + bool(strong)
    assert f"--dataset_config.max_objs {3 * images}." in sentence


def test_the_conversion_counts_images_with_too_many_boxes(tmp_path):
    make_coco(tmp_path, num_images=2, boxes_per_image=129)
    dataset = read_coco(tmp_path / "annotations/instances_train2017.json", tmp_path / "train2017")
    lines = "\n".join(convert(dataset, tmp_path / "out", "many", 1, strict=True).lines())
    assert "       2  note: image with more than 128 boxes" in lines and "id 100: 129 boxes" in lines


@pytest.mark.parametrize("numbers, mask, classes", [([1, -2, 3], True, [0, ~1, 2]), ([1, -2, 3], False, [0, 1, 2])])
def test_a_row_of_a_shard(numbers, mask, classes):
    row = [np.array(value, np.int32) for value in ([7], [0], 3, np.zeros((3, 4)), numbers)]
    number, (_, boxes, found) = annotated_row(row, mask)
    assert number == 7 and boxes.shape == (3, 4) and found.tolist() == classes
    row[4][0] = 0
    with pytest.raises(UserError, match="one of its categories is 0"):
        annotated_row(row, mask)
