"""Training images of several images, and how the pipeline finds and reads their parts."""
import dataclasses

import cv2
import numpy as np
import pytest
from tiny_coco import make_coco

from centernet.config.load import load_config
from centernet.data import pipeline
from centernet.data.coco import locate, read_coco
from centernet.data.convert import convert
from centernet.data.mosaic import Labelled, draw_partners, mix, mosaic
from centernet.data.pipeline import make_sample, open_training_data
from centernet.errors import UserError
from centernet.group import Group
from centernet.training.setup import make_plan
from tests.tiny_training import settings


@pytest.fixture(scope="module")
def data():
    config = load_config("train", [], "").dataset_config
    return dataclasses.replace(config, input_res_train=(64, 96), output_res=(16, 24), max_objs=12)


@pytest.fixture(scope="module")
def strong(data):
    return dataclasses.replace(data, scale_range=(0.3, 2.0), aspect=0.4, hue=10.0, mosaic=0.6, mixup=0.5,
                               min_visible=0.2)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    make_coco(folder / "coco", num_images=13, empty=(3,))
    for name, count in (("two", 2), ("three", 3)):
        convert(read_coco(*locate(str(folder / "coco"), "train")), folder, name, count, keep_empty=True)
    return folder


def opened(shards, data, batch_size=3, prefix="two", **options):
    return open_training_data(str(shards), prefix, data, batch_size, **{"seed": 5, "verify": False, **options})


def equal(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for x, y in zip(one, other) for a, b in zip(x, y))


def stored(value=0, box=(30, 20, 100, 60)):
    """A dark image with a rectangle of this value; corners of a box are positions of pixels."""
    image = np.zeros((96, 128, 3), np.uint8)
    image[box[1]:box[3] + 1, box[0]:box[2] + 1] = value
    return Labelled(image, np.array([box], np.float32), np.array([value % 7], np.int32))


def edges(image, value):
    bright = np.argwhere(image[..., 0] > value)[:, ::-1]
    return np.concatenate([bright.min(0), bright.max(0)]) if len(bright) else None


@pytest.mark.parametrize("change", [{}, {"scale_range": (0.5, 1.0)}, {"scale_range": (0.5, 1.0), "aspect": 0.4}])
def test_boxes_of_each_tile_follow_its_pixels(data, change):
    data, checked = dataclasses.replace(data, **change), 0
    for seed in range(30):
        for place in range(4):
            items = [stored(255 if k == place else 0) for k in range(4)]
            found = mosaic(items, data, np.random.default_rng(seed))
            assert found.image.shape == (64, 96, 3)
            bright, boxes = edges(found.image, 127), found.boxes[found.classes == 255 % 7]
            if bright is None or not len(boxes):
                continue
            last = 4 * np.array([23, 15, 23, 15])
            close = np.abs(4 * boxes[0] - bright) <= 1.6  # a pixel, and half of a stored pixel that is at most 1.2 wide
            assert (close | (bright >= last)).all(), (seed, place, 4 * boxes[0], bright)
            checked += 1
    assert checked > 60


def test_a_mosaic_has_no_gaps_and_its_centre_is_random(data, monkeypatch):
    monkeypatch.setattr("centernet.data.mosaic.warp",
                        lambda image, view, size: np.full((*size, 3), image[0, 0], np.uint8))
    values, corners = (50, 100, 150, 200), []
    items = [stored(value, (0, 0, 127, 95)) for value in values]
    for seed in range(200):
        image = mosaic(items, data, np.random.default_rng(seed)).image[..., 0]
        assert set(np.unique(image)) == set(values)
        y, x = (image[:, 0] == 50).sum(), (image[0] == 50).sum()
        assert [(part == value).all() for part, value in zip((image[:y, :x], image[:y, x:], image[y:, :x],
                                                              image[y:, x:]), values)] == [True] * 4
        corners.append((y, x))
    assert {y for y, _ in corners} == set(range(16, 49, 4)) and {x for _, x in corners} == set(range(24, 73, 4))


def test_boxes_of_a_mosaic_reach_the_border_where_the_head_wants_it(data):
    items = [stored(box=(-500, -500, 900, 900))] * 4
    ends = [mosaic(items, data, np.random.default_rng(1), margin).boxes.max(0)[2:].tolist() for margin in (0, 1)]
    assert ends == [[24, 16], [23, 15]]


def test_mosaic_drops_boxes_that_are_hardly_visible(data):
    data = dataclasses.replace(data, scale_range=(2.0, 2.0))
    items = [stored(box=(0, 0, 127, 95))] * 4
    counts = [len(mosaic(items, dataclasses.replace(data, min_visible=share), np.random.default_rng(1)).boxes)
              for share in (0, 0.2, 1)]
    assert counts == [4, 4, 0]  # at least a quarter of each image is visible


def test_mixup_is_the_average_with_the_boxes_of_both():
    one, other = stored(200), stored(100, (0, 0, 60, 50))
    dropped = one._replace(boxes=np.zeros((1, 4), np.float32))
    found = mix(one, other)
    assert set(np.unique(found.image)) == {0, 50, 100, 150}
    np.testing.assert_array_equal(found.boxes, np.concatenate([one.boxes, other.boxes]))
    assert found.classes.tolist() == [200 % 7, 100 % 7]
    assert mix(dropped, other).classes.tolist() == [100 % 7]


def test_the_numbers_of_partners_decide_what_a_sample_is(data, monkeypatch):
    calls = []
    monkeypatch.setattr(pipeline, "mosaic", lambda items, *_: calls.append(len(items)) or items[0])
    monkeypatch.setattr(pipeline, "mix", lambda one, other: calls.append("mix") or one)
    file = cv2.imencode(".png", stored(9).image)[1].tobytes()
    for count in (0, 1, 3, 4):
        make_sample(file, *stored(9)[1:], data, 7, np.random.default_rng(0), [stored(5)] * count)
    assert calls == ["mix", 4, 4, "mix"]


def test_partners_are_other_images_and_have_their_probabilities(data):
    data = dataclasses.replace(data, mosaic=0.7, mixup=0.2)
    partners = np.stack(draw_partners(np.random.default_rng(0), 2000, data))
    changed = partners != np.arange(2000)
    assert (changed[0] == changed[1]).all() and (changed[0] == changed[2]).all()
    assert changed[0].mean() == pytest.approx(0.7, abs=0.04) and changed[3].mean() == pytest.approx(0.2, abs=0.03)
    assert len(np.unique(partners[:, changed[0]])) > 1200
    assert [len(draw_partners(np.random.default_rng(0), 9, dataclasses.replace(data, **off)))
            for off in ({"mosaic": 0.0}, {"mixup": 0.0}, {"mosaic": 0.0, "mixup": 0.0})] == [1, 3, 0]
    assert [numbers.tolist() for numbers in draw_partners(np.random.default_rng(0), 1, data)] == [[0]] * 4


def test_threads_ranks_shards_and_a_resumed_run_give_the_same_samples(shards, strong):
    whole = list(opened(shards, strong, batch_size=4).epoch(2))
    assert len(whole) == 3 and not equal(whole, list(opened(shards, strong, batch_size=4).epoch(3)))
    assert equal(whole, list(opened(shards, strong, batch_size=4, num_workers=2).epoch(2)))
    assert equal(whole[1:], list(opened(shards, strong, batch_size=4).epoch(2, skip=1)))
    assert equal(whole, list(opened(shards, strong, batch_size=4, prefix="three").epoch(2)))
    ranks = [list(opened(shards, strong, batch_size=2, group=Group(rank, 2)).epoch(2)) for rank in range(2)]
    assert equal(whole, [tuple(map(np.concatenate, zip(*step))) for step in zip(*ranks)])


def test_a_sample_is_that_of_its_image_and_its_partners(shards, strong):
    images = sorted(read_coco(*locate(str(shards / "coco"), "train")).images, key=lambda image: image.id)
    found = [sample for batch in opened(shards, strong, shuffle=False).epoch(1) for sample in zip(*batch)]
    partners = draw_partners(np.random.default_rng((5, 1, 0, 1)), len(images), strong)
    kinds = set()
    for number, sample in enumerate(found):
        chosen = [images[row[number]] for row in partners if row[number] != number]
        loaded = [pipeline.load_image(image.path.read_bytes(), image.boxes, image.classes, 3) for image in chosen]
        image = images[number]
        expected = make_sample(image.path.read_bytes(), image.boxes, image.classes, strong, 3,
                               np.random.default_rng((5, 1, image.id)), loaded)
        assert equal([expected], [sample])
        kinds.add(len(chosen))
    assert kinds == {0, 1, 3, 4}


def test_the_last_epochs_are_those_of_the_paper(shards, data, strong):
    training = opened(shards, dataclasses.replace(strong, min_visible=0.0, plain_epochs=2)).until(5)
    for epoch in (2, 3, 4):
        paper = list(opened(shards, data).epoch(epoch))
        assert equal(list(training.epoch(epoch)), paper) == (epoch > 2)
    assert not equal(list(opened(shards, training.data).epoch(4)), paper)  # the end of the training is not known


def test_the_first_plain_epoch_is_a_condition_of_a_resumed_run():
    flags = [("0", "-1"), ("2", "-1"), ("2", "10"), ("9", "3")]
    configs = [settings("--dataset_config.plain_epochs", plain, "--epoch_size", "6", "--train_steps", steps)
               for plain, steps in flags]
    found = [make_plan(config, 3, 7, 1).conditions["plain_from"] for config in configs]
    assert found == [-1, 4, 2, 0]


def test_a_partner_that_cannot_be_decoded_is_named(shards, strong, monkeypatch):
    images = sorted(read_coco(*locate(str(shards / "coco"), "train")).images, key=lambda image: image.id)
    data = dataclasses.replace(strong, mosaic=1.0, mixup=0.0)
    partner = images[draw_partners(np.random.default_rng((5, 0, 0, 1)), len(images), data)[1][0]]
    decode = pipeline.decode
    monkeypatch.setattr(pipeline, "decode", lambda file: None if bytes(file) == partner.path.read_bytes()
                        else decode(file))
    with pytest.raises(UserError, match=f"image id {partner.id} in .* cannot be decoded"):
        next(opened(shards, data, shuffle=False).epoch(0))
