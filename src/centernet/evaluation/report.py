"""Output of an evaluation: result files, images with boxes, metrics."""
from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from centernet.config.schema import Config
from centernet.data.coco import CocoDataset
from centernet.data.orientation import read_annotated
from centernet.detection.detector import Detector
from centernet.detection.postprocess import distinct_names, write_results
from centernet.detection.visualize import draw_boxes, enlargement, picture_path, save_picture
from centernet.evaluation.html_report.page import PAGE, write_report
from centernet.evaluation.metrics import HEADING, run_evaluation
from centernet.files import make_folder, user_errors, write_json
from centernet.interrupt import stop_if_interrupted
from centernet.run_files import EVALUATION, REPORT

LOG = logging.getLogger("centernet")


def result_folder(config: Config) -> Path:
    """Create and return <save_result_dir>/<run_mode>. Raise UserError if that is impossible."""
    folder = Path(config.save_result_dir or "results") / config.run_mode
    make_folder(folder, "--save_result_dir")
    return folder


def report(config: Config, folder: Path, dataset: CocoDataset, detections: Mapping[int, np.ndarray],
           detector: Detector) -> None:
    """Write the results and, if there are annotated boxes, evaluate them and, with config.report, write a page.

    The metrics and the page of an earlier evaluation in the folder are removed.

    Args:
        config: run_mode, visual_image, enable_eval, report and eval_config.score_thresh.
        folder: output folder.
        dataset: the evaluated data set.
        detections: image id -> boxes, as detect_dataset returns them.
        detector: the model that gave them.

    Raises:
        UserError: a file cannot be read, written or removed.
    """
    with user_errors(f"cannot remove the metrics of an earlier evaluation from {folder}"):
        for name in (EVALUATION, REPORT, PAGE):  # they would contradict the new results
            (folder / name).unlink(missing_ok=True)
    results = write_results(folder, config.run_mode, detections,
                            {image.id: image.file_name for image in dataset.images}, dataset.categories,
                            dataset.annotations.file_ids)
    LOG.info("results of %d images are in %s", len(detections), folder)
    if config.visual_image:
        draw_detections(folder, dataset, detections, config.eval_config.score_thresh)
    if not dataset.annotations.annotated:
        LOG.info("%s has no boxes, so there is no AP here: upload %s to the server that has them, for example COCO's",
                 dataset.annotation_file, folder / f"{config.run_mode}_pred_eval.json")
    elif config.enable_eval:
        evaluated = run_evaluation(dataset.annotations, results, dataset.categories, detections,
                                   config.eval_config.max_dets, detector.most)
        metrics = evaluated.metrics
        write_json(folder / EVALUATION, metrics.to_json())
        LOG.info("%s\n%s\n\n%s%s", HEADING, metrics.summary, metrics.class_table(), metrics.note())
        if config.report:
            write_report(folder, config, dataset, evaluated, detector)


def draw_detections(folder: Path, dataset: CocoDataset, detections: Mapping[int, np.ndarray],
                    score_thresh: float) -> None:
    """Draw the detections (score_thresh or better) into folder/pred_image, and the annotations into folder/gt_image."""
    names = dataset.categories.names
    annotated = any(len(image.boxes) for image in dataset.images)
    file_names = distinct_names({image.id: str(_below(image.file_name)) for image in dataset.images})
    for image in tqdm(dataset.images, unit="image", disable=None):
        stop_if_interrupted()
        pixels, boxes = read_annotated(image.path, image.width, image.height, []), detections[image.id]
        boxes = boxes[boxes[:, 4] >= score_thresh]
        name = file_names[image.id]
        save_picture(folder / "pred_image" / name,
                     draw_boxes(pixels, boxes[:, :4], boxes[:, 5].astype(int).tolist(), names, boxes[:, 4].tolist(),
                                enlargement(pixels)))
        if annotated:
            save_picture(folder / "gt_image" / name, draw_boxes(pixels, image.boxes, image.classes.tolist(), names,
                                                                enlarge=enlargement(pixels)))


def _below(file_name: str) -> Path:
    """Return the name of an image's picture, relative to the folder of pictures.

    Absolute names and names with ".." must not lead out of this folder: they could overwrite the original images.
    """
    path = Path(file_name)
    return picture_path(Path(*[part for part in path.parts if part not in ("..", path.anchor)]))
