"""A damaged record that a training meets: counted, named, replaced by another image of its batch; too many end it."""
import dataclasses

import numpy as np
import pytest

from centernet.config.load import load_config
from centernet.data import pipeline
from centernet.data.coco import locate, read_coco
from centernet.data.convert import convert
from centernet.data.pipeline import open_training_data
from centernet.data.unreadable import UnreadableImages
from centernet.errors import UserError
from centernet.group import Group
from tests.tiny_coco import make_coco


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight images, two batches of four, as shards; without shuffling they come in the order of their ids from 100."""
    folder = tmp_path_factory.mktemp("shards")
    make_coco(folder / "coco", num_images=8)
    convert(read_coco(*locate(str(folder / "coco"), "train")), folder, "tiny", 2)
    return folder


@pytest.fixture
def opened(folder, monkeypatch):
    """A function that opens the shards, with these images (from 0) damaged."""
    decode = pipeline.decode

    def open_damaged(*damaged, **options):
        files = {(folder / f"coco/train2017/{number:06d}.jpg").read_bytes() for number in damaged}
        monkeypatch.setattr(pipeline, "decode", lambda file: None if bytes(file) in files else decode(file))
        config = load_config("train", [], "").dataset_config
        data = dataclasses.replace(config, input_res_train=(64, 96), output_res=(16, 24), max_objs=5)
        return open_training_data(str(folder), "tiny", data, 4, **{"seed": 5, "shuffle": False, "verify": False,
                                                                   **options})
    return open_damaged


def samples(batches):
    """One value for each sample: its columns' bytes."""
    return [[hash(b"".join(column[row].tobytes() for column in batch)) for row in range(len(batch[0]))]
            for batch in batches]


@pytest.mark.fault("an unreadable image in the middle of a training", "a record that cannot be decoded",
                   "counted, named, and replaced by the next image of its batch")
@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_replaced_by_the_next_of_its_batch(opened, caplog, workers):
    good = samples(opened().epoch(0))
    data = opened(3, num_workers=workers)
    found = [samples(data.epoch(epoch)) for epoch in (0, 0)]
    assert found[0] == found[1] == [[*good[0][:3], good[0][0]], good[1]]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and "image id 103 in " in warnings[0] and "cannot be decoded" in warnings[0]
    assert samples(data.epoch(0, skip=1)) == good[1:]  # as in a resumed run


def test_neighbours_that_are_damaged_too_are_passed(opened, monkeypatch):
    monkeypatch.setattr("centernet.data.unreadable.LARGEST_SHARE", 0.5)
    good = samples(opened().epoch(0))
    assert samples(opened(0, 1, 3).epoch(0)) == [[good[0][2]] * 4, good[1]]


def test_a_batch_without_any_image_is_black(opened):
    (image, *_, mask), _ = opened(0, group=Group(0, 1)).epoch(0)
    assert image.any() and mask.min() == 0
    batch = next(iter(dataclasses.replace(opened(0), batch_size=1).epoch(0)))
    assert not batch[0].any() and not batch[-1].any() and batch[-1].dtype == np.int32


@pytest.mark.fault("many unreadable images", "more than 1 % of the images",
                   "the training ends; with --strict true at the first one")
def test_too_many_end_the_training(opened):
    with pytest.raises(UserError, match="2 of 8 images cannot be decoded, more than 1 are too many; the last one: i"):
        samples(opened(3, 6).epoch(0))
    with pytest.raises(UserError, match="^image id 103 in .*cannot be decoded; run `"):
        samples(opened(3, strict=True).epoch(0))
    count = UnreadableImages(1000)
    for number in [*range(10), 9]:
        count.add(number, f"image id {number}")
    count.report()
    count.add(10, "image id 10")
    with pytest.raises(UserError, match="11 of 1000"):
        count.report()


def test_heatmaps_on_the_host_are_those_of_the_replacement(opened):
    data = opened(3)
    data = dataclasses.replace(data, data=dataclasses.replace(data.data, heatmap_on_device=False))
    first = next(iter(data.epoch(0)))
    assert np.array_equal(first[-1][3], first[-1][0]) and first[-1][3].max() == 1
