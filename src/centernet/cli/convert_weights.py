"""Convert weights of the paper's code, mmdetection, torchvision or the model zoo to a checkpoint, or back.

    python convert_weights.py --source official --config_path configs/official_resdcn18.yaml \
        --input ctdet_coco_resdcn18.pth --output resdcn18.ckpt
"""
from __future__ import annotations

import logging
from pathlib import Path

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.device import set_up_device
from centernet.errors import UserError
from centernet.program import program

LOG = logging.getLogger("centernet")


def run(config: Config) -> None:
    """Check the flags, then convert to a checkpoint, or from a checkpoint with --reverse."""
    from centernet.weights.name_maps import SOURCES

    target, source = Path(config.output), SOURCES[config.source]
    if not config.input or not config.output:
        raise UserError(f"--{'output' if config.input else 'input'} is not set: name the file to "
                        f"{'write' if config.input else 'read'}")
    allowed = source.suffixes if config.reverse else (".ckpt",)
    if target.suffix not in allowed or target.is_dir():
        raise UserError(f"--output {target}: expected the name of a file that ends in {' or '.join(allowed)}")
    if target.resolve() == Path(config.input).resolve():
        raise UserError(f"--output {target} is the input file: use another name")
    set_up_device("CPU", 0, config.seed)  # a conversion computes nothing, so it needs no Ascend device
    (export_weights if config.reverse else import_weights)(config, Path(config.input), target)


def import_weights(config: Config, path: Path, target: Path) -> None:
    """Convert another program's weights to a checkpoint."""
    from centernet.categories import categories_from_names
    from centernet.data.annotations import read_annotations
    from centernet.weights.checkpoint import model_record, save_checkpoint
    from centernet.weights.conversion import convert, part_for, skeleton
    from centernet.weights.foreign_files import read_weights
    from centernet.weights.name_maps import SOURCES

    tensors, notes = read_weights(path)
    data, knows = config.dataset_config, SOURCES[config.source].backbone_knows
    categories = (read_annotations(Path(config.category_file), "--category_file").categories if config.category_file
                  else categories_from_names(data.coco_classes))
    cell = part_for(config.source, skeleton(config.net_config, len(categories)))
    found = convert(tensors, config.source, config, cell, path)
    save_checkpoint(target, cell, None if knows else model_record(config, categories), {})
    for line in (*notes, *found.lines()):
        LOG.info("%s", line)
    if knows:
        LOG.info("%s: %s for %s --backbone_checkpoint, trained on %s", target, config.net_config.backbone,
                 program("train"), knows)
    else:
        LOG.info("%s: detector of %d categories, preset %s, for %s images, mean %s, std %s", target, len(categories),
                 config.preset or "none", "RGB" if data.to_rgb else "BGR", list(data.mean), list(data.std))


def export_weights(config: Config, path: Path, target: Path) -> None:
    """Convert a checkpoint to another program's weights."""
    from centernet.weights.checkpoint import read_checkpoint
    from centernet.weights.conversion import convert_back
    from centernet.weights.foreign_files import write_weights
    from centernet.weights.name_maps import SOURCES

    tensors = convert_back(read_checkpoint(path), config.source, config, path)
    write_weights(target, tensors, SOURCES[config.source].wrapped)
    LOG.info("%s: %d tensors for %s", target, len(tensors), SOURCES[config.source].title)


def main(argv: list[str] | None = None) -> int:
    """Parse argv, convert, return the exit status."""
    return run_entry("convert_weights", "Convert weights of other programs to a checkpoint, or back.", run, argv)
