"""Input pipeline of training: read MindRecord shards, decode, augment and encode in threads, form batches.

An epoch depends only on (seed, epoch). One permutation gives the order of the images, and a generator with the seed
(seed, epoch, image id) gives the augmentation of an image. Therefore the training images do not depend on the number
of threads, on the number of devices, or on whether the run was resumed. Step k of an epoch uses images
k*G .. (k+1)*G - 1 of the permutation (G = global batch size), and rank r takes the r-th part of them. No two ranks use
the same image. The images after the last complete step are left out of that epoch.
"""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mindspore.dataset as ds
import numpy as np

from centernet.config.schema import DatasetConfig
from centernet.data.augment import draw_colors, draw_view, unchanged_colors, warp
from centernet.data.image_file import decode
from centernet.data.mindrecord import CONVERT, SCHEMA, Shards, first_message, open_shards
from centernet.data.targets import draw_heatmap, encode, to_output_boxes
from centernet.errors import UserError
from centernet.group import ALONE, Group

LOG = logging.getLogger("centernet")

# image uint8 (B,H,W,3) BGR; colors float32 (B,3,4), see augment.jitter_matrix; cls, radius, ind, reg_mask int32 (B,M);
# wh, reg float32 (B,M,2).
# With heatmap_on_device false, hm float32 (B,C,H/4,W/4) follows.
COLUMNS = ("image", "colors", "cls", "radius", "ind", "wh", "reg", "reg_mask")
PREFETCH = 2  # batches that wait at each stage; MindSpore's default of 16 takes gigabytes of memory


def open_training_data(mindrecord_dir: str, mindrecord_prefix: str, data: DatasetConfig, batch_size: int, seed: int,
                       *, group: Group = ALONE, num_workers: int = 1, shuffle: bool = True,
                       verify: bool = True, hm_gaussian: str = "circle") -> TrainingData:
    """Open shards for training.

    Args:
        batch_size: batch size of one device.
        group: the processes that train together. With verify, all of them must call this function.
        num_workers: threads that decode and augment; at most one for each CPU core is used.
        verify: also compare the SHA-256 of every file; the processes of the group share the work.
        hm_gaussian: "circle" or "ellipse", see net_config; used with heatmap_on_device false.

    Raises:
        UserError: as in mindrecord.open_shards.
    """
    shards = open_shards(Path(mindrecord_dir), mindrecord_prefix, data.coco_classes, data.num_classes,
                         verify, group)
    workers = min(num_workers, os.cpu_count() or 1)
    return TrainingData(shards, data, batch_size, seed, group, workers, shuffle, hm_gaussian)


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

    @property
    def categories(self):
        """Return the data set's categories."""
        return self.shards.categories

    @property
    def num_images(self) -> int:
        """Return the number of images in the shards."""
        return self.shards.num_images

    def steps_per_epoch(self) -> int:
        """Return the number of steps in an epoch. Raise UserError if there are fewer images than one step needs."""
        steps = self.num_images // (self.batch_size * self.group.size)
        if steps == 0:
            devices = f" on each of {self.group.size} devices" if self.group.size > 1 else ""
            raise UserError(f"the data set has {self.num_images} images, fewer than one step needs: "
                            f"train_config.batch_size x train_config.accumulate is {self.batch_size}{devices}. Lower "
                            f"it to at most {max(1, self.num_images // self.group.size)}, or take more images.")
        return steps

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
                                     named["wh"] if self.hm_gaussian == "ellipse" else None))

    def _batches(self, epoch: int, skip: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Return the batches without heatmaps."""
        rows = self._rows(epoch, skip)
        if not rows:
            return
        failures: list[UserError] = []
        dataset = ds.MindDataset(list(self.shards.files), list(SCHEMA), num_parallel_workers=1,
                                 sampler=ds.SubsetSampler(rows))
        dataset = dataset.map(self._sample_function(epoch, failures), list(SCHEMA), list(COLUMNS),
                              num_parallel_workers=self.num_workers, python_multiprocessing=False)
        dataset = dataset.project(list(COLUMNS)).batch(self.batch_size, drop_remainder=True)
        try:
            with prefetch(PREFETCH):
                iterator = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
            for batch in iterator:
                yield tuple(batch)
        except RuntimeError as error:
            if failures:
                raise failures[0] from error
            raise UserError(f"reading {self.shards.files[0]}, ... failed: {first_message(error)}; {CONVERT}") from error

    def _rows(self, epoch: int, skip: int) -> list[int]:
        """Return the row numbers of this rank in an epoch, batch after batch."""
        steps = self.steps_per_epoch()
        order = np.array(self.shards.rows)
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(order)
        order = order[:steps * self.group.size * self.batch_size].reshape(steps, self.group.size, self.batch_size)
        return order[skip:, self.group.rank].ravel().tolist()

    def _sample_function(self, epoch: int, failures: list[UserError]) -> Callable[..., tuple[np.ndarray, ...]]:
        """Return the dataset's map function, from a row of SCHEMA to one sample.

        MindSpore converts an exception in a thread to text. Therefore the function also appends its UserErrors to
        failures.
        """
        def sample(img_id: np.ndarray, image: np.ndarray, num_objects: np.ndarray, bboxes: np.ndarray,
                   category_id: np.ndarray) -> tuple[np.ndarray, ...]:
            number, count = int(img_id.item()), int(num_objects.item())
            boxes = bboxes.reshape(-1, 4)[:count] if count else np.zeros((0, 4), np.float32)
            classes = category_id.reshape(-1)[:count] - 1 if count else np.zeros(0, np.int32)
            rng = np.random.default_rng((self.seed, epoch, number & 0xffffffff))
            try:
                return make_sample(image, boxes, classes, self.data, len(self.categories), rng)
            except UserError as error:
                failures.append(UserError(f"image id {number} in {self.shards.files[0]}, ...: {error}"))
                raise failures[-1] from error
        return sample


def make_sample(file: bytes | np.ndarray, boxes: np.ndarray, classes: np.ndarray, data: DatasetConfig, num_classes: int,
                rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return one augmented image and its targets, in the order of COLUMNS.

    Args:
        file: the content of an image file, as bytes or a uint8 array.
        boxes: (N, 4) float32 x1, y1, x2, y2 in pixels.
        classes: (N,) int32, 0..C-1.
        num_classes: C.
        rng: source of all random numbers.

    Raises:
        UserError: the file is not an image, or a class is not in 0..C-1.
    """
    image = decode(file)
    if image is None:
        raise UserError(f"its file cannot be decoded; {CONVERT}")
    if classes.size and not 0 <= classes.min() <= classes.max() < num_classes:
        raise UserError(f"its categories are {classes.min() + 1}..{classes.max() + 1}, but only 1..{num_classes} are "
                        "allowed: set dataset_config.num_classes and coco_classes to the categories of the shards")
    height, width = image.shape[:2]
    view = draw_view(rng, height, width, data)
    pixels = warp(image, view, data.input_res_train)
    colors = draw_colors(rng, pixels, data) if data.color_aug else unchanged_colors()
    placed = to_output_boxes(boxes, view.matrix(data.output_res), width if view.flip else 0, data.output_res)
    return (pixels, colors, *encode(placed, classes, data.output_res, data.max_objs))


@contextmanager
def prefetch(size: int) -> Iterator[None]:
    """Set the queue length of pipelines that are built in the block. MindSpore has no argument for it."""
    before = ds.config.get_prefetch_size()
    ds.config.set_prefetch_size(size)
    try:
        yield
    finally:
        ds.config.set_prefetch_size(before)
