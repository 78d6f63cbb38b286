"""Import a data set of another layout: write annotation files in COCO's format beside its images.

    centernet import-dataset --data VOC
    centernet import-dataset --data photos --val_share 0.2 --out data
"""
from __future__ import annotations

import logging
from pathlib import Path

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.errors import UserError


def run(config: Config) -> None:
    """Read the data set, select classes, divide it, and write the files. Print what was found and left out."""
    from centernet.data.layouts.found import read_layout
    from centernet.data.layouts.splits import assign, group_pattern, named_splits, select_classes
    from centernet.data.layouts.write import require_place, write_import

    if not config.source_dir:
        raise UserError("--data is not set: name the folder of the data set, or a CSV file")
    out = Path(config.import_dir) if config.import_dir else None
    group_pattern(config.group_by)  # before minutes of reading
    require_place(Path(config.source_dir), out)
    imported = read_layout(Path(config.source_dir), config.data_format, config.allow_outside)
    imported.report.require_none(config.source_dir, config.strict, ", nothing was written")
    try:
        imported = select_classes(imported, config.classes)
        names = named_splits(imported, config.splits, config.val_share)
        parts = assign(imported, names, config.val_share, config.group_by, config.seed)
    except UserError as error:
        raise UserError(imported.report.with_defects(str(error))) from error
    imported.report.require_none(config.source_dir, config.strict, ", nothing was written")
    lines = write_import(imported, parts, out, config.allow_outside)
    log = logging.getLogger("centernet")
    log.info("%s", "\n".join([*lines, *([] if imported.report.defects.counts else ["       0  defects"]),
                              *imported.report.lines()]))
    log.info("written: %s", ", ".join(str((out or imported.root) / f"annotations/imported_{split}.json")
                                      for split in ("train", "val", "test") if split in parts))


def main(argv: list[str] | None = None) -> int:
    """Parse argv, import, return the exit status."""
    return run_entry("import_dataset", "Import a data set of another layout (Pascal VOC, YOLO, COCO of Roboflow and "
                     "CVAT, LabelMe, CSV): write annotation files in COCO's format, without a copy of the images.",
                     run, argv)
