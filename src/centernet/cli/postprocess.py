"""Convert the raw output of an exported model to COCO results, and evaluate them.

    python postprocess.py --model_path centernet.mindir --result_path result_Files --meta_path prepared/meta \
        --label_path /path/to/coco/annotations/instances_val2017.json --save_path results_310
"""
from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from centernet.cli.entry import run_entry
from centernet.config.load import Config
from centernet.data.annotations import Annotations, read_annotations
from centernet.detection.postprocess import merge, to_image_boxes, write_results
from centernet.errors import UserError, printable
from centernet.evaluation.metrics import evaluate_results
from centernet.files import exists, write_json
from centernet.interrupt import stop_if_interrupted
from centernet.owner import OWNER, owned
from centernet.program import program
from centernet.run_files import EVALUATION
from centernet.runtimes.fixed_settings import require_fixed
from centernet.runtimes.manifest import Manifest, exported_settings, read_manifest

if TYPE_CHECKING:
    from centernet.evaluation.prepared_set import PreparedSet

LOG = logging.getLogger("centernet")

HEADING = "=============coco2017 310 infer result========="


def run(config: Config) -> None:
    """Map the detections to image coordinates, apply soft-NMS and evaluate them as eval.py does."""
    from centernet.evaluation.label_ids import label_ids
    from centernet.evaluation.prepared_set import read_detections, read_index, read_meta

    for flag in ("model_path", "result_path", "meta_path"):
        if not getattr(config, flag):
            raise UserError(f"--{flag} is not set; `{program('postprocess')} --help` explains it")
    if not exists(raw := Path(config.result_path)) or not raw.is_dir():
        found = "is a file" if exists(raw) else "there is no such folder"
        raise UserError(f"--result_path {printable(raw)}: {found}. Name the folder of the model's raw output")
    manifest = read_manifest(config.model_path)
    require_fixed(manifest, config, config.model_path)
    evaluation = exported_settings(manifest, config)
    prepared = read_index(Path(config.meta_path), manifest, "--meta_path", aipp=True)
    labels = _labels(prepared, manifest, config)
    ids = label_ids(prepared, labels)
    if evaluation.multi_scales != (1.0,) or config.eval_config.flip_test != manifest.flip_test:
        LOG.warning("warning: eval_config.multi_scales and flip_test have no effect here: an exported model has one "
                    "scale, and the flip test that it was exported with (%s)", str(manifest.flip_test).lower())
    folder = Path(config.save_path or "results_310")
    with owned(folder, "--save_path", f".postprocess{OWNER}"):
        detections = {}
        for image_id in prepared.names:
            stop_if_interrupted()
            rows = read_detections(Path(config.result_path), image_id, manifest)
            boxes = to_image_boxes(rows, read_meta(prepared, image_id))
            detections[ids[image_id]] = merge([boxes], evaluation.K, evaluation.SOFT_NMS)
        names = {ids[image_id]: name for image_id, name in prepared.names.items()}
        results = write_results(folder, "val", detections, names, labels.categories, labels.file_ids)
        metrics = evaluate_results(labels, results, labels.categories, detections, evaluation.max_dets,
                                   min(evaluation.K, manifest.K))
        write_json(folder / EVALUATION, metrics.to_json())
    LOG.info("%s\n%s\n\n%s%s", HEADING, metrics.summary, metrics.class_table(), metrics.note())
    LOG.info("results of %d images are in %s", len(detections), folder)


def _labels(prepared: PreparedSet, manifest: Manifest, config: Config) -> Annotations:
    """Read the annotation file of a prepared set, with the model's classes."""
    from centernet.evaluation.prepared_set import labels_of_model

    if not (config.label_path or prepared.annotation_file):
        raise UserError(f"--meta_path {config.meta_path}: the C++ program prepared these images without an annotation "
                        "file: name it with --label_path")
    labels = read_annotations(Path(config.label_path or prepared.annotation_file), "--label_path")
    labels.report.announce(str(labels.path), config.strict)
    return labels_of_model(labels, manifest, config.model_path)


def main(argv: list[str] | None = None) -> int:
    """Parse argv, postprocess, return the exit status."""
    return run_entry("postprocess", "Evaluate the raw output of an exported model.", run, argv)
