"""The check of a data set: read its splits, count, compare the images, and give advice."""
from __future__ import annotations

import logging
from itertools import chain

from centernet.config.schema import Config
from centernet.data.coco import CocoDataset, read_data
from centernet.data_check.advice import Pair, advice
from centernet.data_check.duplicates import look_at, pairs_of
from centernet.data_check.page import Findings
from centernet.data_check.statistics import statistics
from centernet.errors import UserError

LOG = logging.getLogger("centernet")


def read_splits(config: Config) -> dict[str, CocoDataset]:
    """Return the splits train and val; with annotation_file and image_dir, the data set of these.

    Raises:
        UserError: the data set cannot be read, or has no images for training; or strict is set and it has a defect.
    """
    if config.annotation_file or config.image_dir:
        named = read_data("", "train", config.annotation_file, config.image_dir, config.allow_outside)
        splits = {"data": named}
    else:
        splits = {"train": read_data(config.data_dir, "train", allow_outside=config.allow_outside)}
        try:
            splits["val"] = read_data(config.data_dir, "val", allow_outside=config.allow_outside)
        except UserError as error:
            LOG.warning("there is no split val: %s", error)
    for dataset in splits.values():
        dataset.report.require_none(str(dataset.annotation_file), config.strict)
    return splits


def check(splits: dict[str, CocoDataset], config: Config) -> Findings:
    """Count and compare the images of all splits; all of them are read and decoded once."""
    numbers = {split: statistics(dataset, config.dataset_config, config.net_config.margin)
               for split, dataset in splits.items()}
    names = [f"{split}/{image.file_name}" for split, dataset in splits.items() for image in dataset.images]
    seen = {split: look_at(dataset.images, split) for split, dataset in splits.items()}
    looks = list(chain.from_iterable(seen.values()))
    pairs = [Pair(names[one], names[two], exact) for one, two, exact in pairs_of(looks)]
    contradictions = [f"{split}/{look.contradiction}" for split, found in seen.items() for look in found
                      if look.contradiction]
    defects = {split: dataset.report.defects.counts for split, dataset in splits.items()}
    first = next(iter(splits.values()))
    return Findings(config.data_dir or str(first.annotation_file), numbers, pairs, contradictions,
                    {split: dataset.report.lines() for split, dataset in splits.items()},
                    advice(numbers, pairs, contradictions, defects, config), config.dataset_config.input_res_train,
                    config.dataset_config.max_objs)
