"""Check a data set before a training: numbers, pictures and advice, in data_check/index.html.

    centernet check-data --data COCO
    centernet check-data --data VOC --config_path official_res18 --out report
"""
from __future__ import annotations

import logging
from pathlib import Path

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.errors import UserError
from centernet.owner import OWNER, owned


def run(config: Config) -> None:
    """Read the data set, count, draw, and write the report."""
    if not (config.data_dir or config.annotation_file or config.image_dir):
        raise UserError("--data is not set: name the folder of the data set, or --annotation_file and --image_dir")
    folder = Path(config.save_result_dir or "data_check")
    with owned(folder, "--save_result_dir", f".check_data{OWNER}"):  # before the work, so that a wrong path fails now
        _check(config, folder)


def _check(config: Config, folder: Path) -> None:
    from centernet.data_check.check import check, read_splits
    from centernet.data_check.page import page, text
    from centernet.data_check.sheets import sheet_of_boxes, sheet_of_samples
    from centernet.detection.visualize import save_picture
    from centernet.files import write_text

    splits = read_splits(config)
    found = check(splits, config)
    log = logging.getLogger("centernet")
    log.info("%s", text(found))
    train = next(iter(splits.values()))
    sheets = [("Images with boxes", "A choice of the images; another --seed gives others. Grey: boxes to ignore.",
               "boxes.jpg", sheet_of_boxes(train, config.seed)),
              ("Training samples", "As the training gets them in its first epoch: crop, colours, boxes of the targets, "
               "and over them the heatmap in the colour of the class.", "samples.jpg", sheet_of_samples(train, config))]
    for _, _, name, picture in sheets:
        if picture is not None:
            save_picture(folder / name, picture)
    write_text(folder / "index.html", page(found, [(title, words, picture) for title, words, _, picture in sheets]))
    log.info("report: %s", folder / "index.html")


def main(argv: list[str] | None = None) -> int:
    """Parse argv, check, return the exit status."""
    return run_entry("check_data", "Check a data set before a training: numbers, pictures and advice in an HTML file.",
                     run, argv)
