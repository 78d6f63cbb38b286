"""The data of two compared runs and the limit of their detections: what their files say, and in what it differs."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath

from centernet.errors import listed, printable
from centernet.json_value import JsonValue

MOST_NAMES = 5
NOT_SAME = "A and B were evaluated on different data, so their numbers do not say which model is better"


@dataclass(frozen=True)
class RunData:
    """The data of a run; None or empty where its files do not tell it."""

    images: int | None = None                               # of the evaluation
    max_dets: int | None = None                             # detections of an image and category that counted
    annotated: dict[str, int | None] = field(default_factory=dict)  # category -> boxes
    annotation_file: str = ""
    shards: str = ""                                        # fingerprint of the data of the training


def data_of(metrics: JsonValue | None, report: JsonValue | None, record: JsonValue | None) -> RunData:
    """Read the data from metrics.json and report.json of an evaluation, and the last start in run.json.

    Raises:
        UserError: a value has another form.
    """
    images, max_dets = (metrics.get(key) if metrics else None for key in ("images", "max_dets"))
    boxes = {row["name"].text(): row.get("annotated") for row in metrics["classes"].items()} if metrics else {}
    found = report.get("data") if report else None
    file, shards = found.get("annotation_file") if found else None, record.get("data") if record else None
    return RunData(None if images is None else images.whole(0), None if max_dets is None else max_dets.whole(1),
                   {name: None if count is None else count.whole(0) for name, count in boxes.items()},
                   "" if file is None else file.text(), "" if shards is None else shards.text())


def differences(first: RunData, second: RunData) -> list[str]:
    """Return sentences for the reader: in what the data or max_dets of runs A and B differ. Nothing unknown counts."""
    found = []
    if first.annotated and second.annotated:
        found += _only("A", first, second) + _only("B", second, first)
        other = [f"{printable(name)} ({first.annotated[name]} and {second.annotated[name]})" for name in first.annotated
                 if None not in (first.annotated[name], second.annotated.get(name))
                 and first.annotated[name] != second.annotated[name]]
        if other:
            found.append(f"annotated boxes of A and B: {listed(other, MOST_NAMES)}")
    if None not in (first.images, second.images) and first.images != second.images:
        found.append(f"A has {first.images} images, B has {second.images}")
    if first.annotation_file and second.annotation_file and first.annotation_file != second.annotation_file:
        names = [printable(PurePath(data.annotation_file)) for data in (first, second)]
        found.append(f"the annotation file of A is {names[0]}, that of B is {names[1]}")
    lines = [f"{NOT_SAME}: {'; '.join(found)}."] if found else []
    if None not in (first.max_dets, second.max_dets) and first.max_dets != second.max_dets:
        lines.append(f"the numbers of A count at most {first.max_dets} detections of an image and category, those of B "
                     f"{second.max_dets}, so they do not say which model is better: evaluate both with the same "
                     "--eval_config.max_dets.")
    if first.shards and second.shards and first.shards != second.shards:
        lines.append("A and B were trained on different data, so their losses are those of different images.")
    return lines


def _only(letter: str, own: RunData, other: RunData) -> list[str]:
    names = [printable(name) for name in own.annotated if name not in other.annotated]
    word = "categories" if len(names) > 1 else "category"
    return [f"only {letter} has the {word} {listed(names, MOST_NAMES)}"] if names else []
