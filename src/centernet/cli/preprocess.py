"""Prepare a COCO validation set as raw input files for an exported model.

    python preprocess.py --model_path centernet.mindir --val_data_dir /path/to/coco --predict_dir prepared

Writes prepared/00_data/<image_id>.bin (float32, little-endian, channels x height x width, normalised; or uint8, height
x width x channels, BGR, for models that normalise themselves) and prepared/meta/<image_id>.json (how the image was
transformed). It writes prepared/meta/index.json last.
"""
from __future__ import annotations

import logging
from pathlib import Path

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.data.coco import read_evaluated
from centernet.detection.transform import prepare_image, warn_if_cut
from centernet.errors import UserError
from centernet.files import require_utf8
from centernet.program import program
from centernet.runtimes.manifest import read_manifest

LOG = logging.getLogger("centernet")


def run(config: Config) -> None:
    """Prepare every image of the validation set at the model's fixed input size."""
    from tqdm import tqdm

    from centernet.categories import by_name
    from centernet.data.defects import report_all
    from centernet.data.layouts.found import command
    from centernet.data.orientation import read_annotated
    from centernet.evaluation.prepared_set import write_prepared

    for flag in ("model_path", "predict_dir"):
        if not getattr(config, flag):
            raise UserError(f"--{flag} is not set; `{program('preprocess')} --help` explains it")
    manifest = read_manifest(config.model_path)
    if config.aipp:
        manifest = manifest.with_uint8_input()
    warn_if_cut(manifest.spec.input_size)
    dataset = read_evaluated(config.val_data_dir, "val", config.annotation_file, config.image_dir, config.strict,
                             config.allow_outside)
    if dataset.annotation_file.is_dir():
        raise UserError(f"--val_data_dir {config.val_data_dir}: {program('postprocess')} needs an annotation file "
                        f"in COCO's format, so import the data set first: {command(dataset.annotation_file)}")
    by_name(manifest.spec.categories, dataset.categories, config.model_path, str(dataset.annotation_file),
            "Use a data set of the same categories, or a model trained on this one.")

    # The index lists them: it is written after all images.
    require_utf8(str(dataset.annotation_file.resolve()), "annotation file")
    for image in dataset.images:
        require_utf8(image.file_name, f"{dataset.annotation_file}: image")
    unusual: list[tuple[str, str]] = []

    def prepared():
        for image in tqdm(dataset.images, unit="image", disable=None):
            pixels, meta = prepare_image(read_annotated(image.path, image.width, image.height, unusual), manifest.spec)
            yield image.id, image.file_name, pixels, meta
        report_all("the images", unusual)

    count = write_prepared(Path(config.predict_dir), prepared(), manifest, dataset.annotation_file,
                           len(dataset.images))
    LOG.info("prepared %d images of %s for a %s input of %d x %d in %s", count, dataset.annotation_file,
             manifest.input_dtype, *manifest.spec.input_size, config.predict_dir)


def main(argv: list[str] | None = None) -> int:
    """Parse argv, preprocess, return the exit status."""
    return run_entry("preprocess", "Prepare a COCO validation set as raw input files for an exported model.", run, argv)
