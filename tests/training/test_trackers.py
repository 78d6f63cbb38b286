"""TensorBoard and MLflow, with stand-ins for their packages: what they get, and that they never end a training."""
import logging
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest

from centernet.errors import UserError
from centernet.training import trackers
from centernet.training.trackers import Guarded, open_tracker

STEP = {"kind": "step", "epoch": 0, "step": 1, "loss": 2.0, "hm_loss": None, "wh_loss": 0.5, "off_loss": 0.0,
        "lr": 0.1, "scale": 1.0, "overflow": False, "images_per_second": float("inf")}
NUMBERS = {"loss/total": 2.0, "loss/wh": 0.5, "loss/off": 0.0, "lr": 0.1, "loss_scale": 1.0}
EPOCH = {"kind": "epoch", "epoch": 0, "step": 1, "loss": 2.0}
AP = {"kind": "evaluation", "epoch": 0, "step": 1, "AP": 0.5, "best": True}


def modules(monkeypatch, **parts):
    for name, content in parts.items():
        module = ModuleType(name.replace("__", "."))
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def tensorboard(monkeypatch):
    """Stand-in for tensorboard: returns the list of its events, of flushes and of the end."""
    seen = []

    class Writer:
        def __init__(self, folder):
            seen.append(folder)

        add_event, flush, close = seen.append, lambda self: seen.append("flush"), lambda self: seen.append("close")
    modules(monkeypatch, tensorboard={}, tensorboard__compat={}, tensorboard__compat__proto={},
            tensorboard__compat__proto__summary_pb2={
                "Summary": type("Summary", (SimpleNamespace,), {"Value": SimpleNamespace})},
            tensorboard__compat__proto__event_pb2={"Event": SimpleNamespace}, tensorboard__summary={},
            tensorboard__summary__writer={},
            tensorboard__summary__writer__event_file_writer={"EventFileWriter": Writer})
    return seen


class Server:
    """Stand-in for MLflow's server; `broken` has the names of the calls that fail."""

    def __init__(self):
        self.metrics, self.params, self.status, self.broken = [], {}, None, set()

    def create_run(self, experiment, run_name):
        if "create_run" in self.broken:
            raise ConnectionError("no server at http://example:5000\nmore")
        return SimpleNamespace(info=SimpleNamespace(run_id="7"))

    def log_batch(self, run, metrics=(), params=()):
        if metrics and "log_batch" in self.broken:
            raise ConnectionError("gone")
        assert len(params) <= 100
        self.metrics += [(metric.key, metric.value, metric.step) for metric in metrics]
        self.params.update({param.key: param.value for param in params})

    def set_terminated(self, run, status):
        self.status = status


@pytest.fixture
def server(monkeypatch):
    """Stand-in for mlflow."""
    server = Server()
    modules(monkeypatch, mlflow={"set_experiment": lambda name: SimpleNamespace(experiment_id="0"),
                                 "MlflowClient": lambda: server, "get_tracking_uri": lambda: "memory"},
            mlflow__entities={
                "Metric": lambda key, value, time, step: SimpleNamespace(key=key, value=value, step=step),
                "Param": lambda key, value: SimpleNamespace(key=key, value=value)})
    return server


def test_tensorboard_gets_finite_numbers_with_their_step(tensorboard, tmp_path):
    tracker = open_tracker("tensorboard", tmp_path, {})
    for row in (STEP, EPOCH, AP):
        tracker.add(row)
    tracker.close()
    folder, step, epoch, _, test, *_ = tensorboard
    assert folder == str(tmp_path / "tensorboard") and tensorboard[-1] == "close"

    def values(event):
        return {value.tag: value.simple_value for value in event.summary.value}
    assert values(step) == NUMBERS and step.step == 1
    assert values(epoch) == {"epoch/loss/total": 2.0} and values(test) == {"AP": 0.5}


def test_mlflow_gets_settings_numbers_and_the_end(server, tmp_path):
    tracker = open_tracker("mlflow", tmp_path, {f"key{number}": "x" * 1000 for number in range(150)})
    for row in (STEP, STEP, EPOCH, AP):  # the second step follows within a second
        tracker.add(row)
    tracker.close()
    assert len(server.params) == 150 and set(map(len, server.params.values())) == {500}
    assert server.metrics == [*((name, value, 1) for name, value in NUMBERS.items()), ("epoch/loss/total", 2.0, 1),
                              ("AP", 0.5, 1)]
    assert server.status == "FINISHED"


def test_mlflow_knows_a_failed_training(server, tmp_path):
    tracker = open_tracker("mlflow", tmp_path, {})
    with pytest.raises(UserError, match="20 steps"):
        try:
            raise UserError("20 steps were skipped")
        finally:
            tracker.close()
    assert server.status == "FAILED"


@pytest.mark.fault("the server of a tracker is lost in a training", "each call fails",
                   "told once, the training goes on")
def test_a_tracker_that_fails_is_told_once_and_left_out(server, tmp_path, caplog):
    caplog.set_level(logging.INFO, "centernet")
    tracker = Guarded(open_tracker("mlflow", tmp_path, {}), "mlflow")
    server.broken.add("log_batch")
    tracker.add(EPOCH)
    deadline = time.monotonic() + 5
    while tracker.tracker and time.monotonic() < deadline:
        tracker.add(EPOCH)
    tracker.close()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "warning: --tracker mlflow failed (ConnectionError: gone). The training goes on without it"]


@pytest.mark.fault("the server of a tracker hangs", "a call that does not return", "told at the end, after 10 s")
def test_a_server_that_hangs_does_not_hold_the_training(server, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(trackers, "PATIENCE", 0.05)
    monkeypatch.setattr(server, "log_batch", lambda *words, **values: time.sleep(1.0))
    tracker = open_tracker("mlflow", tmp_path, {})
    for _ in range(trackers.MOST_WAITING + 10):
        tracker.add(EPOCH)
    tracker.close()
    assert "does not answer" in caplog.text


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_named(monkeypatch, tmp_path, name):
    for module in ("tensorboard", "mlflow"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.summary_pb2", None)
    with pytest.raises(UserError, match=f"--tracker {name} needs the package {name}, .*: pip install {name}, or leave"):
        open_tracker(name, tmp_path, {})
    assert open_tracker("none", tmp_path, {}) is None


def test_a_server_that_is_missing_at_the_start_is_named(server, tmp_path):
    server.broken.add("create_run")
    with pytest.raises(UserError, match="--tracker mlflow cannot start: ConnectionError: no server at http://example:"
                                        "5000. Mend that"):
        open_tracker("mlflow", tmp_path, {})
