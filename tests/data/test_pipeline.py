import dataclasses

import cv2
import numpy as np
import pytest
from mindspore.mindrecord import FileWriter
from tiny_coco import edit, make_coco

from centernet.config.load import load_config
from centernet.config.schema import NetConfig
from centernet.data import pipeline, verify
from centernet.data.coco import locate, read_coco
from centernet.data.convert import convert
from centernet.data.mindrecord import shard_files
from centernet.data.pipeline import COLUMNS, make_sample, open_training_data
from centernet.data.targets import draw_heatmap
from centernet.errors import UserError
from centernet.group import Group
from tests.threads_as_ranks import together


@pytest.fixture(scope="module")
def data():
    config = load_config("train", [], "").dataset_config
    return dataclasses.replace(config, input_res_train=(64, 96), output_res=(16, 24), max_objs=5)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    make_coco(folder / "coco", num_images=23, empty=(3,))
    convert(read_coco(*locate(str(folder / "coco"), "train")), folder, "tiny", 4, keep_empty=True)
    return folder


def opened(shards, data, batch_size=4, **options):
    alone = "group" not in options  # ranks of a test are no processes that could verify together
    return open_training_data(str(shards), "tiny", data, batch_size, **{"seed": 5, "verify": alone, **options})


def batches(shards, data, epoch=0, skip=0, **options):
    return list(opened(shards, data, **options).epoch(epoch, skip))


def equal(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for x, y in zip(one, other) for a, b in zip(x, y))


def digests(found):
    """One value for each image of the batches; the images of the fixture differ."""
    return [hash(image.tobytes()) for batch in found for image in batch[0]]


def plain(data):
    return dataclasses.replace(data, rand_crop=False, shift=0.0, scale=0.0, flip_prop=0.0, color_aug=False)


def test_shapes_and_types(shards, data):
    found = batches(shards, data)
    assert len(found) == opened(shards, data).steps_per_epoch() == 5
    shapes = {"image": (4, 64, 96, 3), "colors": (4, 3, 4), "cls": (4, 5), "radius": (4, 5), "ind": (4, 5),
              "wh": (4, 5, 2), "reg": (4, 5, 2), "reg_mask": (4, 5)}
    for name, array in zip(COLUMNS, found[0], strict=True):
        assert array.shape == shapes[name], name
        assert array.dtype == {"image": np.uint8, "colors": np.float32, "wh": np.float32, "reg": np.float32}.get(
            name, np.int32), name
    assert opened(shards, data).categories.ids == (1, 7, 90)
    assert opened(shards, data).num_images == 23


@pytest.mark.parametrize("on_device", [True, False])
def test_one_and_two_workers_give_identical_batches(shards, data, on_device):
    data = dataclasses.replace(data, heatmap_on_device=on_device, aug_rot=0.5, rotate=10.0)
    one, two = (batches(shards, data, epoch=3, num_workers=workers) for workers in (1, 2))
    assert len(one) == 5
    assert equal(one, two)


def test_host_heatmaps_come_last(shards, data):
    device = batches(shards, data)
    host = batches(shards, dataclasses.replace(data, heatmap_on_device=False))
    assert equal([batch[:-1] for batch in host], device)
    assert host[0][-1].shape == (4, 3, 16, 24)
    assert host[0][-1].dtype == np.float32
    columns = dict(zip(COLUMNS, host[1]))
    drawn = [draw_heatmap(*(columns[name][k] for name in ("cls", "radius", "ind", "reg_mask")), 3, 16, 24)
             for k in range(4)]
    np.testing.assert_array_equal(host[1][-1], np.stack(drawn))


def test_host_heatmaps_belong_to_their_batches_whenever_they_are_read(shards, data):
    host = dataclasses.replace(data, heatmap_on_device=False)
    whole = batches(shards, host, epoch=2)
    assert equal(batches(shards, host, epoch=2, skip=3), whole[3:])
    first = next(opened(shards, host).epoch(2))  # left while the next one is being drawn
    assert equal([first], whole[:1])
    peaks = (batch[COLUMNS.index("reg_mask")].sum() for batch in whole)
    assert [bool((batch[-1] == 1).any()) for batch in whole] == [count > 0 for count in peaks]


def test_epochs_and_seeds_differ_and_repeat(shards, data):
    data = plain(data)
    runs = {(seed, epoch): digests(batches(shards, data, seed=seed, epoch=epoch))
            for seed in (5, 6) for epoch in (0, 1)}
    assert len({tuple(run) for run in runs.values()}) == 4
    assert all(len(set(run)) == 20 for run in runs.values())
    assert digests(batches(shards, data, seed=6, epoch=1)) == runs[6, 1]


def test_augmentation_differs_from_epoch_to_epoch(shards, data):
    one, two = (batches(shards, data, epoch=epoch, shuffle=False) for epoch in (0, 1))
    assert not set(digests(one)) & set(digests(two))


def test_a_sample_depends_on_seed_epoch_and_image_id_alone(shards, data):
    images = read_coco(*locate(str(shards / "coco"), "train")).images
    found = batches(shards, data, epoch=7, shuffle=False)
    for k, image in enumerate(images[:20]):
        expected = make_sample(image.path.read_bytes(), image.boxes, image.classes, data, 3,
                               np.random.default_rng((5, 7, image.id)))
        assert equal([expected], [[column[k % 4] for column in found[k // 4]]])


def test_the_number_of_shards_does_not_matter(shards, data, tmp_path):
    convert(read_coco(*locate(str(shards / "coco"), "train")), tmp_path, "tiny", 7, keep_empty=True)
    assert equal(batches(tmp_path, data, epoch=1), batches(shards, data, epoch=1))


@pytest.mark.parametrize("skip", [0, 2, 5])
def test_resume_gives_exactly_the_tail(shards, data, skip):
    whole = batches(shards, data, epoch=2)
    assert equal(batches(shards, data, epoch=2, skip=skip), whole[skip:])


def test_ranks_are_disjoint_and_make_up_the_batches_of_one_device(shards, data):
    alone = batches(shards, plain(data), batch_size=6)
    ranks = [batches(shards, plain(data), batch_size=2, group=Group(rank, 3)) for rank in range(3)]
    together = [tuple(np.concatenate(parts) for parts in zip(*step)) for step in zip(*ranks)]
    assert equal(together, alone)
    assert len(set(digests(alone))) == 18


def test_all_images_are_seen_over_epochs(shards, data):
    seen = {value for epoch in range(6) for value in digests(batches(shards, plain(data), epoch=epoch))}
    assert len(seen) == 23


def test_an_epoch_left_early_does_not_disturb_the_next(shards, data):
    training = opened(shards, data)
    for _ in training.epoch(0):
        break
    assert equal(list(training.epoch(1)), batches(shards, data, epoch=1))


def test_fewer_images_than_a_step_is_an_error(shards, data):
    with pytest.raises(UserError, match="23 images, fewer .*accumulate is 24. Lower it to at most 23"):
        opened(shards, data, batch_size=24).steps_per_epoch()
    with pytest.raises(UserError, match="accumulate is 12 on each of 2 devices.*11"):
        next(opened(shards, data, batch_size=12, group=Group(0, 2)).epoch(0))


def test_the_ranks_verify_the_shards_together(shards, data, monkeypatch):
    def work(group):
        return opened(shards, data, group=group, verify=True).num_images
    read, sha256 = [], verify.sha256
    monkeypatch.setattr(verify, "sha256", lambda path: read.append(path.name) or sha256(path))
    found, _ = together(monkeypatch, 2, work)
    assert found == [23, 23] and sorted(read) == sorted(f"tiny{number}{end}" for number in range(4)
                                                        for end in ("", ".db"))


def test_prefetch_is_restored(shards, data):
    before = pipeline.ds.config.get_prefetch_size()
    batches(shards, data)
    assert pipeline.ds.config.get_prefetch_size() == before


def test_a_damaged_image_in_a_shard_is_named(tmp_path, data):
    make_coco(tmp_path / "coco", num_images=4)
    convert(read_coco(*locate(str(tmp_path / "coco"), "train")), tmp_path, "tiny", 1)
    (tmp_path / "tiny.info.json").unlink()
    path = shard_files(tmp_path, "tiny")[0]
    content = path.read_bytes()
    third = (tmp_path / "coco/train2017/000002.jpg").read_bytes()
    path.write_bytes(content.replace(third, bytes(len(third))))
    three = dataclasses.replace(data, num_classes=3, coco_classes=("a", "b", "c"))
    with pytest.raises(UserError, match="image id 102 in .*tiny0.*cannot be decoded"):
        batches(tmp_path, three, num_workers=2)
    two = dataclasses.replace(data, num_classes=2, coco_classes=("a", "b"))
    path.write_bytes(content)
    with pytest.raises(UserError, match="image id 10. .*only 1..2 are allowed: set dataset_config.num_classes"):
        batches(tmp_path, two)


def test_other_mindrecord_files_are_refused(tmp_path, data):
    other = FileWriter(str(tmp_path / "tiny0"))
    other.add_schema({"label": {"type": "int32"}}, "other")
    other.write_raw_data([{"label": k} for k in range(8)])
    other.commit()
    with pytest.raises(UserError, match="reading .*tiny0.* failed: .*img_id"):
        batches(tmp_path, dataclasses.replace(data, num_classes=3, coco_classes=("a", "b", "c")))


def test_targets_point_at_the_objects(data):
    """The pixels under each target's centre are the object's, whatever the augmentation."""
    data = dataclasses.replace(data, color_aug=False, aug_rot=0.5, rotate=20.0)
    image = np.zeros((96, 128, 3), np.uint8)
    boxes = np.array([[10, 10, 40, 40], [60, 50, 110, 80]], np.float32)
    for value, (x1, y1, x2, y2) in zip((100, 200), boxes.astype(int)):
        image[y1:y2, x1:x2] = value
    file = cv2.imencode(".png", image)[1].tobytes()
    seen = 0
    for seed in range(60):
        pixels, _, _, _, ind, wh, _, mask = make_sample(file, boxes, np.array([0, 1], np.int32), data, 2,
                                                     np.random.default_rng(seed))
        for k in np.flatnonzero(mask & (wh.min(1) > 2)):
            y, x = divmod(int(ind[k]), 24)
            assert pixels[4 * y:4 * y + 5, 4 * x:4 * x + 5].max() == (100, 200)[k], (seed, k)
            seen += 1
    assert seen > 60


def test_boxes_reach_the_border_with_the_head_of_distances(data):
    """The head wh_reg keeps the paper's border, a cell before the end of the map."""
    plain = dataclasses.replace(data, rand_crop=False, flip_prop=0.0, shift=0.0, scale=0.0, color_aug=False)
    file = cv2.imencode(".png", np.zeros((64, 96, 3), np.uint8))[1].tobytes()
    found = [make_sample(file, np.array([[8, 8, 96, 64]], np.float32), np.zeros(1, np.int32), plain, 1,
                         np.random.default_rng(0), (), NetConfig(box_head=head).margin)[5][0].tolist()
             for head in ("wh_reg", "ltrb")]
    assert found == [pytest.approx([21, 13]), pytest.approx([22, 14])]


def test_boxes_outside_a_crop_leave_an_image_without_targets(data):
    file = cv2.imencode(".png", np.zeros((400, 600, 3), np.uint8))[1].tobytes()
    box = np.array([[0, 0, 3, 3]], np.float32)
    masks = [make_sample(file, box, np.zeros(1, np.int32), data, 1, np.random.default_rng(seed))[-1].sum()
             for seed in range(30)]
    assert 0 in masks
    assert 1 in masks


def test_sparse_ids_and_real_images(coco_mini, tmp_path, data):
    dataset = read_coco(*locate(str(coco_mini), "train"))
    dataset = dataclasses.replace(dataset, images=dataset.images[:8])
    convert(dataset, tmp_path, "tiny", 2)
    [batch] = batches(tmp_path, data, batch_size=8)
    columns = dict(zip(COLUMNS, batch))
    assert columns["reg_mask"].sum() > 8
    assert columns["cls"].max() < 80


def test_images_without_boxes_train(tmp_path, data):
    path = make_coco(tmp_path / "coco", num_images=4, empty=(0, 1, 2))
    edit(path, lambda d: d["annotations"].__delitem__(slice(1, None)))
    convert(read_coco(*locate(str(tmp_path / "coco"), "train")), tmp_path, "tiny", 2, keep_empty=True)
    [batch] = batches(tmp_path, plain(data))
    assert batch[-1].sum() == 1
