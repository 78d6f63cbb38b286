"""The report of an evaluation: report.html, one page without other files, and report.json with its numbers."""
from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from centernet.config.declared import flags_of, read
from centernet.config.schema import Config
from centernet.config.values import plain
from centernet.data.coco import CocoDataset
from centernet.detection.detector import Detector
from centernet.detection.stage_clock import StageClock
from centernet.device import installed_versions
from centernet.errors import printable
from centernet.evaluation.html_report import sections
from centernet.evaluation.html_report.matching import ImageMatches
from centernet.evaluation.html_report.numbers import report_numbers
from centernet.evaluation.html_report.pictures import best_and_worst, key_of_colors, picture_pair
from centernet.evaluation.metrics import Evaluated
from centernet.files import sha256, user_errors, write_json, write_text
from centernet.markup import Html, element, note, page, section
from centernet.program import DISTRIBUTION
from centernet.run_files import REPORT, public

LOG = logging.getLogger("centernet")
PAGE = "report.html"
STAGES = {"read": "read and decode", "prepare": "resize and normalise", "model": "network (with decoding)",
          "merge": "soft-NMS and ranking"}
VERSIONS = (DISTRIBUTION, "mindspore", "onnxruntime", "numpy", "pycocotools")


def write_report(folder: Path, config: Config, dataset: CocoDataset, evaluated: Evaluated, detector: Detector) -> None:
    """Write report.html and report.json.

    Args:
        folder: the result folder.
        config: its settings; those of eval are listed.
        dataset: the evaluated images.
        evaluated: see metrics.run_evaluation.
        detector: the model. Its clock has measured the evaluation.

    Raises:
        UserError: an image cannot be read, or a file cannot be written.
    """
    numbers, matches = report_numbers(evaluated, dataset.categories, config.eval_config.max_dets)
    numbers |= {"data": data_facts(config, dataset), "model": model_facts(config, detector),
                "settings": settings_of(config), "versions": installed_versions(VERSIONS),
                "speed": speed_of(detector.clock, len(dataset.images)), "written": time.strftime("%Y-%m-%d %H:%M %z")}
    write_json(folder / REPORT, numbers)
    write_text(folder / PAGE, report_page(numbers, pictures(dataset, matches, numbers["threshold"]),
                                          evaluated.metrics.note()))
    LOG.info("report: %s", folder / PAGE)


def report_page(numbers: Mapping[str, Any], pairs: tuple[list[Html], list[Html]], advice: str = "") -> str:
    """Return the page.

    Args:
        numbers: content of report.json.
        pairs: figures of the best and of the worst images, see pictures().
        advice: see metrics.Metrics.note.
    """
    data = numbers["data"]
    title = f"Evaluation of {data['name']}, {data['split']}"
    best, worst = pairs
    images = [section(name, key_of_colors() if figures else element("p", "none"), *figures) for name, figures in
              (("Worst images: annotated | detected", worst), ("Best images: annotated | detected", best))]
    return page(title, [
        element("h1", title), note(f"{numbers['model']['file']}, {numbers['written']}"), sections.overview(numbers),
        sections.ap_table(numbers, advice), sections.classes(numbers), sections.threshold_section(numbers),
        sections.confusion(numbers), sections.error_section(numbers), *images,
        sections.speed_section(numbers["speed"]), _settings_section(numbers)])


def pictures(dataset: CocoDataset, matches: list[ImageMatches], threshold: float) -> tuple[list[Html], list[Html]]:
    """Return the figures of the best and of the worst images. Raise UserError if an image cannot be read."""
    images = {image.id: image for image in dataset.images}
    names = dict(zip(dataset.categories.ids, dataset.categories.names))
    best, worst = best_and_worst([match for match in matches if match.image_id in images], threshold)

    def drawn(chosen: list) -> list[Html]:
        return [picture_pair(judged, images[judged.matches.image_id], names, threshold) for judged in chosen]

    return drawn(best), drawn(worst)


def data_facts(config: Config, dataset: CocoDataset) -> dict[str, Any]:
    """Return what was evaluated. The name is that of the data set's folder, or of the annotation file."""
    name = Path(config.data_dir).resolve().name if config.data_dir and not config.annotation_file \
        else dataset.annotation_file.stem
    return {"name": printable(name), "split": config.run_mode,
            "annotation_file": printable(dataset.annotation_file), "image_dir": printable(dataset.image_dir),
            "images": len(dataset.images), "categories": len(dataset.categories)}


def model_facts(config: Config, detector: Detector) -> dict[str, Any]:
    """Return which model ran: file, size, checksum, runtime, expected input."""
    path, spec = Path(config.load_checkpoint_path), detector.spec
    with user_errors(f"--load_checkpoint_path {path}"):
        size, checksum = path.stat().st_size, sha256(path)
    sizes = f"own resolution, padded to multiples of {detector.settings.pad + 1}" if detector.keeps_resolution \
        else "{} x {} (height x width)".format(*spec.input_size)
    return {"file": printable(path), "megabytes": round(size / 1e6, 2), "sha256": checksum,
            "runtime": detector.backend.runtime, "input": sizes,
            "colours": spec.color_order, "mean": list(spec.mean), "std": list(spec.std)}


def settings_of(config: Config) -> dict[str, dict[str, Any]]:
    """Return the settings of eval by name: the value, and whether it is the default. config: as open_model returns it.

    Colours and categories of the data are among the facts about the model. An exported model is no network any more.
    """
    has_network = config.load_checkpoint_path.endswith(".ckpt")
    others = ("dataset_config.",) if has_network else ("dataset_config.", "net_config.")
    shown = [declared for declared in flags_of("eval")
             if declared.name == "dataset_config.input_res_test" or not declared.name.startswith(others)]
    found = {declared.name: plain(read(config, declared.name)) for declared in shown}
    defaults = {declared.name: plain(declared.default) for declared in shown}
    return {name: {"value": public(value), "default": value == defaults[name]} for name, value in sorted(found.items())}


def speed_of(clock: StageClock, images: int) -> dict[str, Any]:
    """Return the time of each stage (this process), and of the whole detection."""
    rows = []
    for name, title in STAGES.items():
        if stage := clock.stages.get(name):
            per_call = max(1.0, images / stage.calls) if name != "read" else 1.0
            rest = (stage.seconds - stage.first) / (stage.calls - 1) / per_call if stage.calls > 1 else stage.seconds
            rows.append({"stage": title, "calls": stage.calls, "ms_an_image": 1000 * rest,
                         "first_ms": 1000 * stage.first})
    whole = clock.stages.get("whole")
    seconds = whole.seconds if whole else 0.0
    return {"images": images, "seconds": seconds, "images_per_second": images / seconds if seconds else 0.0,
            "stages": rows}


def _settings_section(numbers: Mapping[str, Any]) -> Html:
    changed = [(name, row["value"]) for name, row in numbers["settings"].items() if not row["default"]]
    rest = [(name, row["value"]) for name, row in numbers["settings"].items() if row["default"]]
    return section("Model, data and settings", sections.facts("Model", list(numbers["model"].items()), True),
                   sections.facts("Data", list(numbers["data"].items()), True),
                   sections.facts("Settings that differ from the defaults", changed),
                   element("details", element("summary", f"{len(rest)} settings with their defaults"),
                           sections.facts("", rest)),
                   sections.facts("Versions", list(numbers["versions"].items())))
