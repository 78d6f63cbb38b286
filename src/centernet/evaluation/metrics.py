"""COCO's average precision of a list of results, on the evaluated images only."""
from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from centernet.categories import Categories
from centernet.data.annotations import Annotations
from centernet.errors import UserError

HEADING = "overall performance on coco2017 validation dataset"
STATS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
         "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large")
ANY_SCORE = "detected: boxes of every score, because the AP needs them all; pictures show those from score_thresh on"


@dataclass(frozen=True)
class ClassMetrics:
    """AP and AP50 of one category (-1 without annotated boxes), and its numbers of boxes."""

    name: str
    AP: float
    AP50: float
    annotated: int
    detected: int


@dataclass(frozen=True)
class Metrics:
    """COCO's twelve numbers (-1 where nothing is annotated, as in COCO's code), and the numbers of images and boxes."""

    AP: float
    AP50: float
    AP75: float
    AP_small: float
    AP_medium: float
    AP_large: float
    AR_1: float
    AR_10: float
    AR_100: float
    AR_small: float
    AR_medium: float
    AR_large: float
    images: int
    annotated: int
    detected: int
    highest_score: float
    classes: tuple[ClassMetrics, ...]
    summary: str  # COCO's twelve lines
    crowded: int = 0     # images with more than max_dets boxes of one category
    max_dets: int = 100  # detections of an image and category that were counted
    above_K: int = 0     # images with more than K boxes
    K: int | None = None  # most detections of an image that the model gives; None: not known

    def to_json(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        row = asdict(self)
        del row["summary"]
        return row

    def class_table(self) -> str:
        """Return a table with the AP of each category; '-' where nothing is annotated.

        Far more boxes are detected than annotated: the last line says why.
        """
        width = max(8, *(len(row.name) for row in self.classes))
        lines = [f"{'category':<{width}}     AP   AP50  annotated  detected"]
        lines += [f"{row.name:<{width}} {_number(row.AP)} {_number(row.AP50)} {row.annotated:>10} {row.detected:>9}"
                  for row in self.classes]
        if self.detected > self.annotated:
            lines.append(ANY_SCORE)
        return "\n".join(lines)

    def note(self) -> str:
        """Return advice for an AP of 0 and for crowded images, after an empty line; "" for other values."""
        return self._note_on_zero() + self._note_on_crowds()

    def _note_on_crowds(self) -> str:
        notes = ""
        if self.crowded:
            notes += (f"\n\n{self.crowded} images have more than {self.max_dets} boxes of a category, but only "
                      f"{self.max_dets} detections of an image and category count, so their AP cannot reach 1: raise "
                      "eval_config.max_dets.")
        if self.above_K:
            notes += (f"\n\n{self.above_K} images have more than {self.K} boxes, but the model gives at most {self.K} "
                      "for an image, so their AP cannot reach 1: raise eval_config.K (for an exported model, export it "
                      "again with a larger one).")
        return notes

    def _note_on_zero(self) -> str:
        if not self.annotated:
            return ("\n\nNone of the evaluated images has an annotated box, so there is no AP (-1): check that the "
                    "annotation file belongs to these images.")
        if self.AP >= 0.0005:
            return ""
        found = (f"{self.detected} boxes were detected in {self.images} images, the highest score is "
                 f"{self.highest_score:.3f}") if self.detected else f"no box was detected in {self.images} images"
        return (f"\n\nAP is 0: {found}. Scores below 0.1 (below 0.3 with net_config.iou_score) mean that the network "
                "has hardly learnt anything yet (train longer, or check that the loss decreases). High scores mean "
                "that the boxes have wrong positions or wrong categories: look at the images that --visual_image true "
                "writes, and check that categories, mean, std and to_rgb are those of the training.")


def _number(value: float) -> str:
    return f"{value:6.3f}" if value >= 0 else "     -"


class Evaluated(NamedTuple):
    """The metrics of results, and what they were computed from."""

    metrics: Metrics
    coco: COCOeval
    boxes: list[dict[str, Any]]  # annotated boxes of the evaluated images, in COCO's form
    found: list[dict[str, Any]]  # their results


def evaluate_results(annotations: Annotations, results: Sequence[dict[str, Any]], categories: Categories,
                     image_ids: Iterable[int] | None = None, max_dets: int = 100, K: int | None = None) -> Metrics:
    """Compute COCO's box metrics.

    Args:
        annotations: the ground truth.
        results: rows as postprocess.to_coco_results returns them.
        categories: categories to evaluate, with the annotation file's ids.
        image_ids: the evaluated images; None: all images of the annotation file.
        max_dets: detections of an image and category that count, those with the highest scores; at least 100.
        K: most detections of an image that the model gives, for a note; None: not known.

    Raises:
        UserError: the results contain images or categories that the annotation file does not have.
    """
    return run_evaluation(annotations, results, categories, image_ids, max_dets, K).metrics


def run_evaluation(annotations: Annotations, results: Sequence[dict[str, Any]], categories: Categories,
                   image_ids: Iterable[int] | None = None, max_dets: int = 100, K: int | None = None) -> Evaluated:
    """Compute COCO's box metrics as evaluate_results does; return also the evaluation that they come from."""
    wanted = list(dict.fromkeys(annotations.image_ids if image_ids is None else image_ids))
    _require_known(wanted, results, annotations, categories)
    chosen = set(wanted)
    boxes = _ground_truth(annotations, wanted, categories)
    found = [row for row in results if row["image_id"] in chosen]
    evaluation, summary = _run(boxes, _detections(found), wanted, categories, max_dets)
    metrics = Metrics(**{name: float(value) for name, value in zip(STATS, evaluation.stats)}, images=len(wanted),
                      annotated=sum(not row["iscrowd"] for row in boxes), detected=len(found),
                      highest_score=max((float(row["score"]) for row in found), default=0.0),
                      classes=_class_metrics(evaluation, boxes, found, categories), summary=summary,
                      crowded=_crowded(boxes, ("image_id", "category_id"), max_dets), max_dets=max_dets,
                      above_K=0 if K is None else _crowded(boxes, ("image_id",), K), K=K)
    return Evaluated(metrics, evaluation, boxes, found)


def _crowded(boxes: list[dict[str, Any]], keys: tuple[str, ...], most: int) -> int:
    """Return the number of images with more than `most` boxes that have the same values of these keys."""
    counts = Counter(tuple(row[key] for key in keys) for row in boxes if not row["iscrowd"])
    return len({image_id for (image_id, *_), count in counts.items() if count > most})


def _require_known(wanted: list[int], results: Sequence[dict[str, Any]], annotations: Annotations,
                   categories: Categories) -> None:
    strange = sorted({row["image_id"] for row in results}.union(wanted).difference(annotations.image_ids))
    if strange:
        raise UserError(f"{len(strange)} evaluated images are not in {annotations.path} (ids {strange[:5]}): "
                        "the results belong to another data set")
    strange = sorted({row["category_id"] for row in results}.difference(categories.ids))
    if strange:
        raise UserError(f"the results have the category ids {strange[:5]}, which {annotations.path} does not have")


def _ground_truth(annotations: Annotations, image_ids: list[int], categories: Categories) -> list[dict[str, Any]]:
    """Return the boxes of the given images in COCOeval's form. Ids start at 1, because id 0 would never match."""
    ids = annotations.categories.ids
    evaluated = set(categories.ids)
    classes = [index for index, category_id in enumerate(ids) if category_id in evaluated]
    kept = np.isin(annotations.box_images, image_ids) & np.isin(annotations.box_classes, classes)
    columns = (annotations.box_images, annotations.boxes, annotations.box_classes, annotations.crowds,
               annotations.areas)
    rows = zip(*(column[kept].tolist() for column in columns))
    return [{"id": number, "image_id": image_id, "bbox": box, "category_id": ids[index], "iscrowd": int(crowd),
             "area": area} for number, (image_id, box, index, crowd, area) in enumerate(rows, 1)]


def _detections(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
            for number, row in enumerate(results, 1)]


def _run(boxes: list[dict[str, Any]], detections: list[dict[str, Any]], image_ids: list[int],
         categories: Categories, max_dets: int) -> tuple[COCOeval, str]:
    """Run the evaluation; return it with its twelve lines, which pycocotools prints to standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_index(boxes, image_ids, categories), _index(detections, image_ids, categories), "bbox")
        evaluation.params.maxDets = [1, 10, max_dets]
        evaluation.evaluate()
        evaluation.accumulate()
    # summarize looks for the limit 100. The place of a limit decides what it prints, not its value.
    evaluation.params.maxDets = [1, 10, 100]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        evaluation.summarize()
    return evaluation, printed.getvalue().rstrip("\n").replace("maxDets=100", f"maxDets={max_dets}")


def _index(rows: list[dict[str, Any]], image_ids: list[int], categories: Categories) -> COCO:
    coco = COCO()
    coco.dataset = {"images": [{"id": image_id} for image_id in image_ids], "annotations": rows,
                    "categories": categories.to_json()}
    coco.createIndex()
    return coco


def _class_metrics(evaluation: COCOeval, boxes: list[dict[str, Any]], found: Sequence[dict[str, Any]],
                   categories: Categories) -> tuple[ClassMetrics, ...]:
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, category), any area, 100 boxes
    annotated = Counter(row["category_id"] for row in boxes if not row["iscrowd"])
    detected = Counter(row["category_id"] for row in found)
    column = {category_id: index for index, category_id in enumerate(evaluation.params.catIds)}
    return tuple(ClassMetrics(name, mean_precision(precision[:, :, column[number]]),
                              mean_precision(precision[:1, :, column[number]]), annotated[number], detected[number])
                 for name, number in zip(categories.names, categories.ids))


def mean_precision(values: np.ndarray) -> float:
    """Return the mean of COCOeval's precisions, any shape; its value -1 means no objects. -1 if there are no others."""
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else -1.0
