"""Advice in sentences: what the numbers of a data set mean for a training, and which setting helps."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from centernet.config.schema import Config
from centernet.data.mosaic import most_images
from centernet.data_check.statistics import Statistics, cells, ratios
from centernet.program import command

SMALL = 2          # cells (8 pixels of the input): a smaller box has hardly a feature of its own
FEW_BOXES = 50     # of a class
FEW_IMAGES = 300
LARGEST_INPUT = 1536
LONG = 4           # ratio of the longer to the shorter side


@dataclass(frozen=True)
class Pair:
    """Two images that are the same, exactly or nearly, as "SPLIT/FILE" each."""

    one: str
    two: str
    exact: bool

    @property
    def across(self) -> bool:
        """Return whether the images are in different splits."""
        return self.one.split("/")[0] != self.two.split("/")[0]


def advice(splits: dict[str, Statistics], pairs: list[Pair], contradictions: list[str],
           defects: Mapping[str, Mapping[str, int]], config: Config) -> list[str]:
    """Return the sentences, those of the most important findings first; [] if there is nothing to say.

    Args:
        splits, pairs, contradictions: as Findings of page.py has them.
        defects: of each split, kind -> number, see data.defects.
        config: the settings of the training.
    """
    train = next(iter(splits.values()))
    found = [*_same_images(pairs, splits), *_contradictions(contradictions), *_defects(defects), *_small(train, config),
             *_full(splits, config), *_collisions(train), *_balance(splits), *_shapes(train, config), *_labels(splits)]
    if train.images < FEW_IMAGES:
        found.append(f"{train.images} images are few: start from a trained checkpoint (--load_checkpoint_path with "
                     "--fine_tune true) and evaluate often (--eval_interval).")
    return found


def _same_images(pairs: list[Pair], splits: dict[str, Statistics]) -> Iterator[str]:
    across = len({name for pair in pairs if pair.across for name in (pair.one, pair.two)
                  if name.startswith(f"{list(splits)[-1]}/")})
    inner = sum(not pair.across for pair in pairs)
    if across:
        yield (f"{_many(across, 'image')} of {list(splits)[-1]} {'is' if across == 1 else 'are'} in train too, or "
               "nearly the same: the AP will be too high. Divide the images anew so that images of one scene stay "
               f"together: {command('import_dataset')} --val_share 0.2 --group_by PATTERN.")
    if inner:
        yield (f"{_many(inner, 'pair')} of images of one split {'is' if inner == 1 else 'are'} the same or nearly the "
               "same: they add nothing. Are they frames of one video, or copies? Then keep one of each.")


def _contradictions(found: list[str]) -> Iterator[str]:
    if found:
        yield (f"{_many(len(found), 'image file')} cannot be used or contradict the annotations ({found[0]}): correct "
               "or remove them, a conversion leaves them out.")


def _defects(found: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for split, counts in found.items():
        if counts:
            kinds = "; ".join(f"{count} x {kind}" for kind, count in counts.items())
            yield (f"The reader found {_many(sum(counts.values()), 'defect')} in {split} ({kinds}): correct them, or a "
                   "conversion leaves these images and boxes out.")


def _small(train: Statistics, config: Config) -> Iterator[str]:
    if not len(train.boxes):
        return
    height, width = config.dataset_config.input_res_train
    share = float((cells(train) < SMALL).mean())
    if share < 0.1:
        return
    text = f"{share:.0%} of boxes are under {4 * SMALL} px at this input size ({height} x {width}): "
    wanted = 4 * SMALL / max(float(np.quantile(train.input_boxes.min(axis=1), 0.1)), 1e-3)
    own = float(np.quantile(train.sides.max(axis=1), 0.5)) / max(height, width)  # beyond it, no detail is added
    larger = [min(LARGEST_INPUT, -(-int(side * min(wanted, own)) // 32) * 32) for side in (height, width)]
    if own < 1.1 or larger[0] <= height:
        yield (f"{text}the images have no more pixels than that, so a larger input would not help. Take photographs "
               "from closer, or leave out these boxes.")
        return
    yield (f"{text}use --dataset_config.input_res_train {larger[0]} {larger[1]}"
           + (", or cut the images into tiles." if wanted > own or LARGEST_INPUT in larger else "."))


def _full(splits: dict[str, Statistics], config: Config) -> Iterator[str]:
    slots = config.dataset_config.max_objs
    train = next(iter(splits.values()))
    full, most = int((train.counts > slots).sum()), max(int(found.counts.max(initial=0)) for found in splits.values())
    parts, highest = most_images(config.dataset_config), int(train.counts.max(initial=0))
    if full:
        yield (f"{_many(full, 'image')} {'has' if full == 1 else 'have'} more than {slots} boxes (at most "
               f"{highest}): the training leaves the others out. Use --dataset_config.max_objs {parts * highest}.")
    elif parts * highest > slots:
        yield (f"mosaic and mixup put up to {parts} images with up to {parts * highest} boxes into one training image: "
               f"the training leaves out those above {slots}. Use --dataset_config.max_objs {parts * highest}.")
    if most > config.eval_config.K:
        yield (f"An image has {most} boxes, but a detector gives {config.eval_config.K} boxes of an image: use "
               f"--eval_config.K {most} --eval_config.max_dets {most}.")


def _collisions(train: Statistics) -> Iterator[str]:
    if train.collisions and train.collisions > 0.01 * len(train.boxes):
        yield (f"{_percent(train.collisions, len(train.boxes))} of boxes have the centre of another box of their class "
               "in the same cell of the output map: the network can find only one of them. Use a larger input.")


def _balance(splits: dict[str, Statistics]) -> Iterator[str]:
    train = next(iter(splits.values()))
    most = max(train.class_boxes.values(), default=0)
    for name, count in train.class_boxes.items():
        if not count:
            yield f"Class {name} has no box in train: the network cannot learn it. Leave it out (--classes)."
        elif count < FEW_BOXES or count * 20 < most:
            share = _percent(count, sum(train.class_boxes.values()))
            yield (f"Class {name} has {_many(count, 'box', 'boxes')} ({share}): label more images with it, or expect a "
                   "low AP for it.")
    for split, found in list(splits.items())[1:]:
        missing = [name for name, count in found.class_boxes.items() if not count and train.class_boxes.get(name)]
        if missing:
            yield f"{split} has no box of {', '.join(missing)}: their AP cannot be measured."


def _shapes(train: Statistics, config: Config) -> Iterator[str]:
    if not len(train.boxes):
        return
    long = float((np.abs(np.log(np.maximum(ratios(train), 1e-9))) > np.log(LONG)).mean())
    if long > 0.1 and config.net_config.hm_gaussian == "circle":
        yield (f"{long:.0%} of boxes are more than {LONG} times as long as wide: try --net_config.hm_gaussian ellipse.")


def _labels(splits: dict[str, Statistics]) -> Iterator[str]:
    for split, found in splits.items():
        if found.repeated:
            count = len(found.repeated)
            yield (f"{_many(count, 'box', 'boxes')} of {split} {'is' if count == 1 else 'are'} labelled twice "
                   f"({'; '.join(found.repeated[:3])}): remove the copies.")
        if found.thin and len(found.thin) < 0.01 * len(found.boxes):
            count = len(found.thin)
            yield (f"{_many(count, 'box', 'boxes')} of {split} {'is' if count == 1 else 'are'} thinner than a cell of "
                   f"the output map, 4 px ({'; '.join(found.thin[:3])}): mistakes of the labelling?")
        if found.past:
            yield (f"{_many(found.past, 'box', 'boxes')} of {split} reach past their image: is the annotation of an "
                   "image of another size?")


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def _percent(part: int, whole: int) -> str:
    share = part / max(whole, 1)
    return f"{share:.0%}" if share >= 0.1 or not part else f"{share:.1%}"
