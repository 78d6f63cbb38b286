"""Input pipeline of training: read MindRecord shards, decode, augment and encode in threads, form batches.

An epoch depends only on (seed, epoch). One permutation gives the order of the images, and a generator with the seed
(seed, epoch, image id) gives the augmentation of an image. A mosaic or mixup has partners: other images, which
(seed, epoch) gives for each image. They are read beside it. Therefore the training images do not depend on the number
of threads, on the number of devices, or on whether the run was resumed. Step k of an epoch uses images
k*G .. (k+1)*G - 1 of the permutation (G = global batch size), and rank r takes the r-th part of them. No two ranks use
the same image. The images after the last complete step are left out of that epoch.
"""
from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mindspore.dataset as ds
import numpy as np

from centernet.config.schema import DatasetConfig
from centernet.data.augment import draw_colors, draw_view, unchanged_colors, warp, without_strong
from centernet.data.image_file import decode
from centernet.data.mindrecord import SCHEMA, Shards, annotated_row, announce_boxes, first_message, open_shards
from centernet.data.mosaic import TILES, Labelled, draw_partners, mix, mosaic, most_images
from centernet.data.targets import draw_heatmap, encode, seen_boxes, to_output_boxes
from centernet.data.unreadable import UnreadableImage, UnreadableImages, marked_sample, replace_unreadable
from centernet.errors import UserError
from centernet.group import ALONE, Group
from centernet.program import convert_again

LOG = logging.getLogger("centernet")

# image uint8 (B,H,W,3) BGR; colors float32 (B,3,4), see augment.jitter_matrix; cls, radius, ind, reg_mask int32 (B,M);
# wh, reg float32 (B,M,2).
# With heatmap_on_device false, hm float32 (B,C,H/4,W/4) follows.
COLUMNS = ("image", "colors", "cls", "radius", "ind", "wh", "reg", "reg_mask")
MASK = COLUMNS.index("reg_mask")
PREFETCH = 2  # batches that wait at each stage; MindSpore's default of 16 takes gigabytes of memory


def open_training_data(mindrecord_dir: str, mindrecord_prefix: str, data: DatasetConfig, batch_size: int, seed: int,
                       *, group: Group = ALONE, num_workers: int = 1, shuffle: bool = True,
                       verify: bool = True, hm_gaussian: str = "circle", margin: int = 1,
                       strict: bool = False) -> TrainingData:
    """Open shards for training.

    Args:
        batch_size: batch size of one device.
        group: the processes that train together. With verify, all of them must call this function.
        num_workers: threads that decode and augment; at most one for each CPU core is used.
        verify: also compare the SHA-256 of every file; the processes of the group share the work.
        hm_gaussian: "circle" or "ellipse", see net_config; used with heatmap_on_device false.
        margin: cells that boxes do not reach, see targets.to_output_boxes.
        strict: the first image that cannot be decoded is an error, see unreadable.UnreadableImages.

    Raises:
        UserError: as in mindrecord.open_shards.
    """
    shards = open_shards(Path(mindrecord_dir), mindrecord_prefix, data.coco_classes, data.num_classes,
                         verify, group)
    if group.rank == 0:
        announce_boxes(shards, data.max_objs, data.ignored_regions, most_images(data))
    workers = min(num_workers, os.cpu_count() or 1)
    return TrainingData(shards, data, batch_size, seed, group, workers, shuffle, hm_gaussian, margin,
                        UnreadableImages(shards.num_images, strict))


@dataclass(frozen=True)
class TrainingData:
    """The images of a data set, epoch by epoch."""

    shards: Shards
    data: DatasetConfig
    batch_size: int
    seed: int
    group: Group
    num_workers: int
    shuffle: bool
    hm_gaussian: str
    margin: int
    unreadable: UnreadableImages
    plain_from: int = -1  # first epoch without strong augmentation, see until; -1: none

    @property
    def categories(self):
        """Return the data set's categories."""
        return self.shards.categories

    @property
    def num_images(self) -> int:
        """Return the number of images in the shards."""
        return self.shards.num_images

    @property
    def masks_regions(self) -> bool:
        """Return whether there are ignored regions, which are neither objects nor background."""
        return self.data.ignored_regions == "mask" and self.shards.regions > 0

    def steps_per_epoch(self) -> int:
        """Return the number of steps in an epoch. Raise UserError if there are fewer images than one step needs."""
        steps = self.num_images // (self.batch_size * self.group.size)
        if steps == 0:
            devices = f" on each of {self.group.size} devices" if self.group.size > 1 else ""
            raise UserError(f"the data set has {self.num_images} images, fewer than one step needs: "
                            f"train_config.batch_size x train_config.accumulate is {self.batch_size}{devices}. Lower "
                            f"it to at most {max(1, self.num_images // self.group.size)}, or take more images.")
        return steps

    def until(self, epochs: int) -> TrainingData:
        """Return the data of a training that ends after `epochs` epochs: the last plain_epochs of them are plain."""
        first = self.data.plain_from(epochs)
        if first >= 0:
            LOG.info("no strong augmentation from epoch %d on (the last %d of %d epochs)", first, epochs - first,
                     epochs)
        return dataclasses.replace(self, plain_from=first)

    def settings(self, epoch: int) -> DatasetConfig:
        """Return the settings of the augmentation in an epoch (from 0)."""
        return without_strong(self.data) if 0 <= self.plain_from <= epoch else self.data

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[tuple[np.ndarray, ...]]:
        """Return the batches of an epoch (from 0) in the order of COLUMNS, without the first `skip` steps."""
        batches = self._batches(epoch, skip)
        return batches if self.data.heatmap_on_device else self._with_heatmaps(batches)

    def _with_heatmaps(self, batches: Iterator[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
        """Draw the heatmaps of each batch while the caller works on the previous batch.

        This is not done in the dataset's map function: MindSpore would copy 5 MB for each image, which takes longer
        than the drawing.
        """
        with ThreadPoolExecutor(1) as pool:
            drawn = None
            for batch in batches:
                before, drawn = drawn, pool.submit(self._with_heatmap, batch)
                if before:
                    yield before.result()
            if drawn:
                yield drawn.result()

    def _with_heatmap(self, batch: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        named = dict(zip(COLUMNS, batch))
        return (*batch, draw_heatmap(named["cls"], named["radius"], named["ind"], named["reg_mask"],
                                     len(self.categories), *self.data.output_res,
                                     named["wh"] if self.hm_gaussian == "ellipse" else None,
                                     named["wh"] if self.masks_regions else None))

    def _batches(self, epoch: int, skip: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Return the batches without heatmaps."""
        streams = self._streams(epoch, skip)
        if not streams[0].size:
            return
        failures: list[UserError] = []
        dataset, columns = self._reader(streams)
        dataset = dataset.map(self._sample_function(epoch, failures), columns, list(COLUMNS),
                              num_parallel_workers=self.num_workers, python_multiprocessing=False)
        dataset = dataset.project(list(COLUMNS)).batch(self.batch_size, drop_remainder=True)
        try:
            with prefetch(PREFETCH):
                iterator = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
            for batch in iterator:
                self.unreadable.report()
                yield replace_unreadable(tuple(batch), MASK)
        except RuntimeError as error:
            if failures:
                raise failures[0] from error
            raise UserError(f"reading {self.shards.files[0]}, ... failed: {first_message(error)}; "
                            f"{convert_again()}") from error

    def _reader(self, streams: Sequence[np.ndarray]) -> tuple[ds.Dataset, list[str]]:
        """Return a dataset with the columns of SCHEMA for each stream of row numbers, side by side, and their names."""
        readers = [ds.MindDataset(list(self.shards.files), list(SCHEMA), num_parallel_workers=1,
                                  sampler=ds.SubsetSampler(rows.tolist())) for rows in streams]
        if len(readers) == 1:
            return readers[0], list(SCHEMA)
        names = [[f"{name}{k}" for name in SCHEMA] for k in range(len(readers))]
        renamed = [reader.rename(list(SCHEMA), columns) for reader, columns in zip(readers, names)]
        return ds.zip(tuple(renamed)), sum(names, [])

    def _streams(self, epoch: int, skip: int) -> list[np.ndarray]:
        """Return the row numbers of this rank in an epoch, batch after batch; then those of the partners, likewise."""
        steps = self.steps_per_epoch()
        order = np.arange(self.num_images)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        order = order[:steps * self.group.size * self.batch_size].reshape(steps, self.group.size, self.batch_size)
        chosen = order[skip:, self.group.rank].ravel()
        rows = np.array(self.shards.rows)
        rng = np.random.default_rng((self.seed, epoch, 0, 1))  # 4 numbers, as no other generator here
        partners = draw_partners(rng, self.num_images, self.settings(epoch))
        return [rows[chosen], *(rows[numbers[chosen]] for numbers in partners)]

    def _sample_function(self, epoch: int, failures: list[UserError]) -> Callable[..., tuple[np.ndarray, ...]]:
        """Return the dataset's map function, from a row of SCHEMA to one sample.

        MindSpore converts an exception in a thread to text. Therefore the function also appends its UserErrors to
        failures.
        """
        data, num_classes = self.settings(epoch), len(self.categories)

        def sample(*columns: np.ndarray) -> tuple[np.ndarray, ...]:
            number = read = int(columns[0].item())  # img_id is the first column
            rng = np.random.default_rng((self.seed, epoch, number & 0xffffffff))
            try:
                rows = [annotated_row(columns[k:k + len(SCHEMA)], self.masks_regions)
                        for k in range(0, len(columns), len(SCHEMA))]
                annotated = rows[0][1]
                partners: list[Labelled] = []
                for read, partner in rows[1:]:
                    if read != number:
                        partners.append(load_image(*partner, num_classes))
                read = number
                return make_sample(*annotated, data, num_classes, rng, partners, self.margin)
            except UnreadableImage as error:
                self.unreadable.add(read, f"image id {read} in {self.shards.files[0]}, ...: {error}")
                return _blank(data)
            except UserError as error:
                failures.append(UserError(f"image id {read} in {self.shards.files[0]}, ...: {error}"))
                raise failures[-1] from error
        return sample


def make_sample(file: bytes | np.ndarray, boxes: np.ndarray, classes: np.ndarray, data: DatasetConfig, num_classes: int,
                rng: np.random.Generator, partners: Sequence[Labelled] = (), margin: int = 1) -> tuple[np.ndarray, ...]:
    """Return one augmented image and its targets, in the order of COLUMNS.

    Args:
        file: the content of an image file, as bytes or a uint8 array.
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels.
        classes: (N,) int32, 0..C-1; ~c for an ignored region of class c.
        num_classes: C.
        rng: source of all random numbers.
        partners: stored images; three make a mosaic with this one, and one more (or one alone) is for mixup.
        margin: see targets.to_output_boxes.

    Raises:
        UserError: the file is not an image, or a class is not in 0..C-1.
    """
    stored = load_image(file, boxes, classes, num_classes)
    tiles = TILES - 1 if len(partners) >= TILES - 1 else 0
    found = (mosaic([stored, *partners[:tiles]], data, rng, margin) if tiles
             else _draw_one(stored, data, rng, margin))
    for other in partners[tiles:]:
        found = mix(found, _draw_one(other, data, rng, margin))
    # One colour matrix for all parts, because the graph applies one to an image.
    colors = draw_colors(rng, found.image, data) if data.color_aug else unchanged_colors()
    seen = seen_boxes(found.boxes, found.classes, data.max_objs)
    return (found.image, colors, *encode(*seen, data.output_res, data.max_objs))


def _blank(data: DatasetConfig) -> tuple[np.ndarray, ...]:
    """Return the sample of an image that cannot be decoded: black, without objects, marked to be replaced."""
    columns = encode(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), data.output_res, data.max_objs)
    return marked_sample((np.zeros((*data.input_res_train, 3), np.uint8), unchanged_colors(), *columns), MASK)


def load_image(file: bytes | np.ndarray, boxes: np.ndarray, classes: np.ndarray, num_classes: int) -> Labelled:
    """Decode an image file and check the classes of its boxes; arguments and errors as in make_sample."""
    image = decode(file)
    if image is None:
        raise UnreadableImage(f"its file cannot be decoded; {convert_again()}")
    numbers = np.where(classes < 0, ~classes, classes)
    if classes.size and numbers.max() >= num_classes:
        raise UserError(f"its categories are {numbers.min() + 1}..{numbers.max() + 1}, but only 1..{num_classes} are "
                        "allowed: set dataset_config.num_classes and coco_classes to the categories of the shards")
    return Labelled(image, boxes, classes)


def _draw_one(stored: Labelled, data: DatasetConfig, rng: np.random.Generator, margin: int) -> Labelled:
    """Return a random view of a stored image as training image, with its boxes in output cells."""
    height, width = stored.image.shape[:2]
    view = draw_view(rng, height, width, data)
    placed = to_output_boxes(stored.boxes, view.matrix(data.output_res), width if view.flip else 0, data.output_res,
                             np.where(stored.classes < 0, 0, data.min_visible), margin)
    return Labelled(warp(stored.image, view, data.input_res_train), placed, stored.classes)


@contextmanager
def prefetch(size: int) -> Iterator[None]:
    """Set the queue length of pipelines that are built in the block. MindSpore has no argument for it."""
    before = ds.config.get_prefetch_size()
    ds.config.set_prefetch_size(size)
    try:
        yield
    finally:
        ds.config.set_prefetch_size(before)
