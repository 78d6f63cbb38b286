"""Batches through MindSpore's queue on the device: the same steps as without it. The queue here is a thread."""
import queue
import threading
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
from mindspore import Tensor

from centernet.errors import UserError
from centernet.training import data_sink
from centernet.training.checkpoints import CheckpointKeeper
from centernet.training.data_sink import Stream
from centernet.training.loop import Plan, train
from centernet.training.metrics_file import read_metrics
from centernet.training.train_log import TrainLog


def batches(epoch, skip):
    """Three batches an epoch; each is its own number."""
    for index in range(3 * epoch + skip, 3 * epoch + 3):
        yield (np.full(2, index),)


def numbers(rows):
    return [int(batch[0][0]) for batch in rows]


@pytest.mark.parametrize("start, total", [(0, 6), (0, 4), (2, 5), (3, 7), (4, 5)])
def test_the_stream_has_the_batches_of_all_steps(start, total):
    stream = Stream(batches, start, total, 3)
    assert len(stream) == total - start
    for _ in range(2):  # MindSpore reads it several times
        assert numbers(islice(stream, total - start)) == list(range(start, total))
    assert stream.sent == total and stream.failure is None


def test_a_closed_stream_reads_no_further_batch():
    """Otherwise its thread would go on after Ctrl-C, and begin again at its end."""
    opened = []
    stream = Stream(lambda epoch, skip: opened.append(epoch) or batches(epoch, skip), 0, 9, 3)
    reader = iter(stream)
    assert numbers(islice(reader, 2)) == [0, 1] and opened == [0, 0]
    stream.closed.set()
    assert numbers(reader) == [] and numbers(stream) == [0] and opened == [0, 0]


def test_what_follows_a_batch_that_cannot_be_read_is_skipped_by_all_ranks():
    def broken(epoch, skip):
        if skip:
            raise UserError("image id 7")
        yield np.array([[1, 2]], np.int32), np.ones((1, 2), np.float32)
        raise UserError("image id 7")
    stream = Stream(broken, 0, 3, 3)
    (_, good), (ind, wh), _ = islice(stream, 3)
    assert good.all() and np.isnan(wh).all() and ind.tolist() == [[1, 2]]
    assert stream.sent == 1 and str(stream.failure) == "image id 7"


def test_at_its_end_it_waits():
    """MindSpore would begin it again."""
    stream = Stream(batches, 0, 3, 3)
    thread = threading.Thread(target=lambda: list(stream))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    stream.closed.set()
    thread.join(5)
    assert not thread.is_alive()


@dataclass
class Epochs:
    """Batches that are a step's numbers; `broken` is the number of one that cannot be read."""

    broken: int = -1

    def epoch(self, epoch, skip=0):
        for (index,) in batches(epoch, skip):
            if index[0] == self.broken:
                raise UserError("image id 7: its file cannot be decoded")
            yield (np.array([index[0], 1, 2, 3, 0, 1024, 0.1], np.float32),)


def queue_of_the_device(cell, dataset, jit_config):
    """What ms.data_sink does, without a device: a thread reads the source, and each call takes a batch."""
    waiting = queue.Queue(2)

    def send():
        for batch in dataset:
            waiting.put(batch)
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return lambda: cell(*map(Tensor, waiting.get()))


@pytest.fixture
def fit(tmp_path, monkeypatch):
    """Train on Epochs with the queue or without it; returns the losses of the log and the saved steps."""
    monkeypatch.setattr(data_sink.ds, "GeneratorDataset", lambda source, names, **options: source)
    monkeypatch.setattr(data_sink.ms, "data_sink", queue_of_the_device)
    saved = []
    keeper = CheckpointKeeper(None, None, None, every=1, keep=1, start_step=0, steps_per_epoch=3)
    monkeypatch.setattr(keeper, "is_due", lambda step, last: True)
    monkeypatch.setattr(keeper, "save", lambda progress: saved.append(progress["step"]))

    def run(data, start, total, sink_level):
        saved.clear()
        folder = tmp_path / f"{start} {sink_level}"
        folder.mkdir()
        log = TrainLog(folder, 3, total, 2, start)
        try:
            train(lambda image: (image,), data, Plan(start, total, 3, 0, 20, {}), log, keeper, sink_level=sink_level)
        finally:
            log.close()
            losses = [row["loss"] for row in read_metrics(folder / "metrics.jsonl") if row["kind"] == "step"]
        return losses, list(saved)
    return run


@pytest.mark.parametrize("start, total", [(0, 7), (4, 8)])
def test_steps_lines_and_checkpoints_are_those_without_it(fit, start, total):
    expected = fit(Epochs(), start, total, None)
    assert expected == (list(range(start, total)), list(range(start + 1, total + 1)))
    assert fit(Epochs(), start, total, "") == expected


@pytest.mark.parametrize("sink_level", [None, "O0"])
def test_a_batch_that_cannot_be_read_ends_the_training_at_its_step(fit, tmp_path, sink_level):
    with pytest.raises(UserError, match="image id 7"):
        fit(Epochs(broken=4), 0, 9, sink_level)
    rows = read_metrics(tmp_path / f"0 {sink_level}" / "metrics.jsonl")
    assert [row["step"] for row in rows if row["kind"] == "step"] == [1, 2, 3, 4]


def test_a_first_batch_that_cannot_be_read_is_told(fit):
    with pytest.raises(UserError, match="image id 7"):
        fit(Epochs(broken=0), 0, 9, "")
