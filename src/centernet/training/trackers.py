"""Copies of the log for other programs: TensorBoard's event files, and the experiment tracker MLflow.

Their packages are optional and are imported only if --tracker names them. A tracker that fails later is told once and
left out: a log never ends a training.
"""
from __future__ import annotations

import importlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from centernet.errors import UserError

LOG = logging.getLogger("centernet")
NAMES = {"loss": "loss/total", "hm_loss": "loss/hm", "wh_loss": "loss/wh", "off_loss": "loss/off", "lr": "lr",
         "scale": "loss_scale", "images_per_second": "images_per_second", "AP": "AP"}
PAUSE = 1.0       # seconds between two steps that MLflow gets: a server is slower than a device
PATIENCE = 10.0   # seconds at the end for what a slow server has not taken yet
MOST_WAITING = 1000
MOST_SETTINGS, MOST_TEXT = 100, 500  # MLflow's limits of one message and one value


class Tracker(Protocol):
    """Something that gets each row of metrics.jsonl."""

    def add(self, row: dict[str, Any]) -> None:
        """Take a row."""
        ...

    def close(self) -> None:
        """Write what is waiting."""
        ...


def open_tracker(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker | None:
    """Open the tracker of --tracker; None for "none".

    Args:
        name: none, tensorboard or mlflow.
        folder: folder of the training's results.
        settings: the effective settings, for trackers that show them.

    Raises:
        UserError: its package is missing, or its server or folder cannot be used.
    """
    kinds: dict[str, Callable[[], Tracker]] = {"tensorboard": lambda: TensorBoard(folder / "tensorboard"),
                                               "mlflow": lambda: MLflow(folder.resolve().name, settings)}
    if name not in kinds:
        return None
    try:
        return kinds[name]()
    except UserError:
        raise
    except Exception as error:  # the packages have no common base of their exceptions
        raise UserError(f"--tracker {name} cannot start: {_text(error)}. Mend that, or leave --tracker out") from error


def _require(module: str, tracker: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"--tracker {tracker} needs the package {package}, which is not installed or does not load "
                        f"({error}): pip install {package}, or leave --tracker out") from error


def _text(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


class Guarded:
    """A tracker whose failures do not reach the training. The first one is told, and ends its use."""

    def __init__(self, tracker: Tracker, name: str):
        self.tracker: Tracker | None = tracker
        self.name = name

    def add(self, row: dict[str, Any]) -> None:
        """Take a row, unless an earlier one failed."""
        self._try(lambda tracker: tracker.add(row))

    def close(self) -> None:
        """Write what is waiting."""
        self._try(lambda tracker: tracker.close())

    def _try(self, action: Callable[[Tracker], None]) -> None:
        if self.tracker is None:
            return
        try:
            action(self.tracker)
        except Exception as error:
            self.tracker = None
            LOG.warning("warning: --tracker %s failed (%s). The training goes on without it", self.name, _text(error))


def _values(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Return the finite numbers of a row by their names in a tracker; those of whole epochs have their own names."""
    prefix = "epoch/" if row["kind"] == "epoch" else ""
    for key, name in NAMES.items():
        value = row.get(key)
        if value is not None and abs(value) < float("inf"):
            yield prefix + name, float(value)


class TensorBoard:
    """Event files for `tensorboard --logdir FOLDER`. A resumed run adds a file; TensorBoard joins them."""

    def __init__(self, folder: Path):
        self.summary = _require("tensorboard.compat.proto.summary_pb2", "tensorboard", "tensorboard")
        self.event = _require("tensorboard.compat.proto.event_pb2", "tensorboard", "tensorboard")
        writer = _require("tensorboard.summary.writer.event_file_writer", "tensorboard", "tensorboard")
        folder.mkdir(parents=True, exist_ok=True)
        self.writer = writer.EventFileWriter(str(folder))
        LOG.info("TensorBoard: tensorboard --logdir %s", folder)

    def add(self, row: dict[str, Any]) -> None:
        """Write a row; the file is flushed at ends of epochs."""
        values = [self.summary.Summary.Value(tag=name, simple_value=value) for name, value in _values(row)]
        self.writer.add_event(self.event.Event(wall_time=time.time(), step=row["step"],
                                               summary=self.summary.Summary(value=values)))
        if row["kind"] != "step":
            self.writer.flush()

    def close(self) -> None:
        """Write what is waiting."""
        self.writer.close()


class MLflow:
    """A run of MLflow. MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where, as in each program that uses it.

    Without the second one, the experiment is "centernet". A thread sends the rows, so a slow server does not slow down
    the training. Steps are sent at most once a second, epochs and evaluations always. With a server that
    hangs, at most MOST_WAITING rows wait, and further ones are dropped.
    """

    def __init__(self, name: str, settings: Mapping[str, Any]):
        mlflow = _require("mlflow", "mlflow", "mlflow")
        self.metric = _require("mlflow.entities", "mlflow", "mlflow").Metric
        self.param = _require("mlflow.entities", "mlflow", "mlflow").Param
        experiment = mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "centernet"))
        self.client = mlflow.MlflowClient()
        self.run_id = self.client.create_run(experiment.experiment_id, run_name=name).info.run_id
        params = [self.param(key, str(value)[:MOST_TEXT]) for key, value in settings.items()]
        for first in range(0, len(params), MOST_SETTINGS):
            self.client.log_batch(self.run_id, params=params[first:first + MOST_SETTINGS])
        LOG.info("MLflow: run %s at %s", self.run_id, mlflow.get_tracking_uri())
        # Rows, and at the end a text: the run's status.
        self.waiting: queue.Queue[dict[str, Any] | str] = queue.Queue(MOST_WAITING)
        self.failure: Exception | None = None
        self.next_step = 0.0
        self.thread = threading.Thread(target=self._send, name="mlflow", daemon=True)
        self.thread.start()

    def add(self, row: dict[str, Any]) -> None:
        """Give a row to the thread. Raise the error of an earlier row."""
        if self.failure:
            raise self.failure
        if row["kind"] == "step":
            if time.monotonic() < self.next_step:
                return
            self.next_step = time.monotonic() + PAUSE
        with suppress(queue.Full):  # the server hangs
            self.waiting.put_nowait(row)

    def _send(self) -> None:
        try:
            while not isinstance(row := self.waiting.get(), str):
                now = int(time.time() * 1000)
                self.client.log_batch(self.run_id, metrics=[self.metric(name, value, now, row["step"])
                                                            for name, value in _values(row)])
            self.client.set_terminated(self.run_id, row)
        except Exception as error:  # add() and close() raise it in the thread of the training
            self.failure = error

    def close(self) -> None:
        """End the run, as failed if an error is on its way. Wait a while for the thread. Raise its error."""
        status = "FINISHED" if sys.exc_info()[0] is None else "FAILED"
        with suppress(queue.Full):  # the thread takes nothing more
            self.waiting.put(status, timeout=PATIENCE)
        self.thread.join(PATIENCE)
        if self.failure:
            raise self.failure
        if self.thread.is_alive():
            LOG.warning("warning: MLflow's server does not answer; its run lacks the last rows")
