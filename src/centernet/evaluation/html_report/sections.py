"""The sections of a report with numbers: each function takes the numbers of report_numbers and returns HTML."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from centernet.evaluation.html_report.error_types import TYPES
from centernet.evaluation.html_report.report_plots import GREY, class_colors, over_threshold, precision_recall
from centernet.markup import Html, bar, decimal, element, join, note, plot, section, table

MEANINGS = {
    "AP": "mean of the IoUs 0.50 to 0.95", "AP50": "IoU 0.50", "AP75": "IoU 0.75",
    "AP_small": "objects below 32 x 32 pixels", "AP_medium": "from 32 x 32 to 96 x 96", "AP_large": "above 96 x 96",
    "AR_1": "recall with 1 detection of an image and category", "AR_10": "with 10 detections", "AR_100": "with all",
    "AR_small": "small objects", "AR_medium": "medium objects", "AR_large": "large objects"}
ERRORS = {
    "localisation": "right category, IoU with an object between 0.1 and 0.5", "class": "right place, wrong category",
    "both": "category and place wrong", "duplicate": "the object is already found by a better detection",
    "background": "no object there (IoU at most 0.1)", "missed": "object that no detection explains"}
MOST_CONFUSED = 15  # categories in a confusion matrix


def overview(numbers: Mapping[str, Any]) -> Html:
    """Return the main numbers as cards."""
    metrics, best = numbers["metrics"], numbers["overall"]
    cards = [("AP", decimal(metrics["AP"])), ("AP50", decimal(metrics["AP50"])), ("AP75", decimal(metrics["AP75"])),
             ("best F1", decimal(best["f1"] if best else None)),
             ("its threshold", decimal(best["threshold"] if best else None, 2)), ("images", metrics["images"]),
             ("annotated boxes", metrics["annotated"]), ("detections", metrics["detected"])]
    return element("div", *(element("div", element("b", value), element("span", name), class_="card")
                            for name, value in cards), class_="cards")


def ap_table(numbers: Mapping[str, Any], advice: str) -> Html:
    """Return COCO's twelve numbers, and the advice of metrics.Metrics.note."""
    metrics = numbers["metrics"]
    rows = [[name, decimal(metrics[name]), _text(meaning)] for name, meaning in MEANINGS.items()]
    return section("COCO's numbers", element("div", table(("", "value", ""), rows), _sizes(numbers), class_="columns"),
                   *(element("p", element("b", line)) for line in advice.split("\n") if line.strip()))


def classes(numbers: Mapping[str, Any]) -> Html:
    """Return the table of the categories, and their curves."""
    colors, rows = class_colors(numbers["classes"]), []
    for place, row in enumerate(numbers["classes"]):
        best = row["best"] or {}
        key = element("span", class_="key", style=f"background:{colors.get(place, GREY)}")
        rows.append([join([key, row["name"]]), row["annotated"], row["detected"],
                     *(decimal(row[name]) for name in ("AP", "AP50", "AP_small", "AP_medium", "AP_large")),
                     decimal(best.get("threshold"), 2), *(decimal(best.get(name)) for name in
                                                          ("precision", "recall", "f1"))])
    head = ("category", "annotated", "detected", "AP", "AP50", "AP small", "AP medium", "AP large", "threshold",
            "precision", "recall", "F1")
    return section("Categories", table(head, rows), note(
        "Precision, recall and F1 are those at IoU 0.50 and at the threshold with the best F1 of the category. "
        "–: not annotated, or nothing right."), *_curves(numbers, colors))


def _curves(numbers: Mapping[str, Any], colors: Mapping[int, str]) -> list[Html]:
    found = precision_recall(numbers, colors)
    if found is None:
        return [element("p", "There are no curves: no detection is right at IoU 0.50.")]
    grey = [note("The categories with the highest and the lowest AP50 have colours; the others are grey.")] \
        if len(colors) < sum(row["curve"] is not None for row in numbers["classes"]) else []
    return [element("h2", "Precision and recall"), plot(found, "precision over recall"), *grey]


def threshold_section(numbers: Mapping[str, Any]) -> Html:
    """Return precision, recall and F1 over the score threshold; nothing without a right detection."""
    svg = over_threshold(numbers)
    if svg is None:
        return join([])
    best = numbers["overall"]
    text = element("p", "All categories together have the best F1 with ", element("code", "--eval_config.score_thresh "
                   f"{best['threshold']:.2f}"), f": precision {best['precision']:.3f}, recall {best['recall']:.3f}. A "
                   "higher threshold gives fewer wrong boxes, a lower one fewer missed objects.")
    return section("Score threshold", element("div", element("div", plot(svg, "precision, recall and F1"),
                                                             style="flex:1 1 560px"),
                                              element("div", text, style="flex:1 1 300px"), class_="columns"))


def confusion(numbers: Mapping[str, Any]) -> Html:
    """Return the confusion matrix; of many categories those that are confused most."""
    names, matrix = numbers["confusion"]["names"], np.array(numbers["confusion"]["rows"])
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    chosen = sorted(np.argsort(-wrong[:-1], kind="stable")[:MOST_CONFUSED].tolist())
    part = [*chosen, len(names)]
    shown = matrix[np.ix_(part, part)]
    totals = np.maximum(matrix[part].sum(1, keepdims=True), 1)
    rows = [[names[place] if place < len(names) else "nothing (false)",
             *(_shaded(int(count), count / total, row == column and row < len(chosen),
                       row == column == len(chosen)) for column, count in enumerate(counts))]
            for row, (place, counts, (total,)) in enumerate(zip(part, shown, totals))]
    left_out = len(names) - len(chosen)
    more = [f" The {left_out} categories with the fewest errors are left out."] if left_out else []
    head = ["annotated ↓  detected →", *(names[place] for place in chosen), "nothing (missed)"]
    return section("Confusion matrix", table(head, rows, "matrix many" if len(chosen) > 8 else "matrix"), note(
        f"Detections with a score of at least {numbers['threshold']:.2f}, IoU at least 0.50. Colours: share of the "
        "row.", *more))


def _shaded(count: int, share: float, right: bool, empty: bool) -> Html:
    if empty:
        return element("td", "")
    color = "18,161,80" if right else "229,53,43"
    return element("td", count or "", style=f"background:rgba({color},{0.04 + 0.6 * share if count else 0:.2f})")


def error_section(numbers: Mapping[str, Any]) -> Html:
    """Return the errors by type with the gain of AP50."""
    errors = numbers["errors"]
    if errors is None:
        return section("Errors by type", element("p", "No object is annotated, so there are no errors to sort."))
    most = max([*errors["gains"].values(), 0.001])
    rows = [[kind, errors["counts"][kind], f"{100 * errors['gains'][kind]:.2f}",
             bar(errors["gains"][kind] / most, 260), _text(ERRORS[kind])] for kind in TYPES]
    head = ("type", "number", "dAP", "", element("th", "meaning", class_="text"))
    return section("Errors by type", table(head, rows), note(
        f"dAP: points of AP50 (now {100 * errors['ap50']:.1f}) that a detector without these errors would gain. They "
        f"do not add up. Without all false positives: +{100 * errors['false_positives']:.2f}; without missed objects: "
        f"+{100 * errors['false_negatives']:.2f}. All detections count, also those with low scores. Types and dAP as "
        "in TIDE (Bolya et al. 2020, arXiv 2008.08115)."))


def _sizes(numbers: Mapping[str, Any]) -> Html:
    """Return the table of object sizes."""
    rows = [[row["name"], row["objects"], row["found"],
             decimal(row["found"] / row["objects"] if row["objects"] else None), decimal(row["AP"]), decimal(row["AR"])]
            for row in numbers["sizes"]]
    return element("div", table(("size of objects", "annotated", "found", "recall", "AP", "AR"), rows), note(
        f"Found: at IoU 0.50 with a score of at least {numbers['threshold']:.2f}."), style="flex:1 1 420px")


def speed_section(speed: Mapping[str, Any]) -> Html:
    """Return the time of each stage; speed is page.speed_of()."""
    rows = [[row["stage"], row["calls"], decimal(row["ms_an_image"], 1), decimal(row["first_ms"], 0)]
            for row in speed["stages"]]
    return section("Speed", table(("stage", "calls", "ms an image", "first call, ms"), rows), note(
        f"{speed['images']} images took {speed['seconds']:.1f} s: {speed['images_per_second']:.1f} images/s. The time "
        "of an image leaves out the first call, which may compile. Threads read and prepare images while the model "
        "runs, so the stages together can take longer than the whole."))


def facts(title: str, pairs: Sequence[tuple[str, object]], words: bool = False) -> Html:
    """Return a table of names and values; words: the names are no settings, so they are written as words."""
    return join([element("h3", title), table(("", ""), [[name.replace("_", " ") if words else name, _text(value)]
                                                        for name, value in pairs])])


def _text(value: object) -> Html:
    return element("td", value, class_="text")
