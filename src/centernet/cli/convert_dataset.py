"""Convert the training split of a COCO-format data set to MindRecord shards.

python src/dataset.py --coco_data_dir DATASET --mindrecord_dir SHARDS
python src/dataset.py --annotation_file boxes.json --image_dir images --mindrecord_dir SHARDS
"""
from pathlib import Path

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.errors import UserError
from centernet.files import require_writable


def run(config: Config) -> None:
    """Read, check and write the data set. Print the numbers of written and omitted images and boxes."""
    if not config.mindrecord_dir:
        raise UserError("--mindrecord_dir is not set: name the folder for the shards")
    require_writable(Path(config.mindrecord_dir), "--mindrecord_dir")  # before the annotations are read
    import logging

    from centernet.data.coco import read_data
    from centernet.data.convert import convert
    from centernet.data.defects import MISSING

    dataset = read_data(config.coco_data_dir, "train", config.annotation_file, config.image_dir, config.allow_outside)
    summary = convert(dataset, Path(config.mindrecord_dir), config.mindrecord_prefix,
                      config.shard_num, keep_empty=config.keep_empty, strict=config.strict)
    log = logging.getLogger("centernet")
    log.info("%s\nshards: %s*, %d of them", "\n".join(summary.lines()),
             Path(config.mindrecord_dir) / config.mindrecord_prefix, config.shard_num)
    missing = dataset.report.defects.counts.get(MISSING, 0)
    if missing > len(dataset.images):
        log.warning("warning: %d images are missing and %d were found. Is the folder of images right?", missing,
                    len(dataset.images))


def main(argv: list[str] | None = None) -> int:
    """Parse argv, convert, return the exit status."""
    return run_entry("dataset", "Convert a COCO-format data set to MindRecord shards.", run, argv)
