"""Training steps whose batches go through MindSpore's queue on the device (data sink). Ascend only."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mindspore as ms
import mindspore.dataset as ds
import numpy as np
from mindspore import nn

from centernet.data.pipeline import PREFETCH, prefetch
from centernet.errors import UserError

Batch = tuple[np.ndarray, ...]


class DataSink:
    """Runs steps without waiting for batches: a thread sends them to the device, and the graph takes them from there.

    The batches and their order are those of steps without it, also in a resumed run. There is one stream for the whole
    training, so the step is compiled once.

    Args:
        step_cell: the training step.
        epoch: (epoch, skipped steps) -> batches, see data.pipeline.TrainingData.
        start_step, total_steps, steps_per_epoch: see loop.Plan.
        jit_level: O0, O1, O2, or "" for MindSpore's choice, which in 2.10 is O0 for a step with its own queue.

    Raises:
        UserError: the first batch cannot be read.
    """

    def __init__(self, step_cell: nn.Cell, epoch: Callable[[int, int], Iterator[Batch]], start_step: int,
                 total_steps: int, steps_per_epoch: int, jit_level: str = ""):
        self.done = start_step
        self.steps_per_epoch = steps_per_epoch
        self.stream = Stream(epoch, start_step, total_steps, steps_per_epoch)
        with prefetch(PREFETCH):
            self.dataset = ds.GeneratorDataset(
                self.stream, [f"column{index}" for index in range(len(self.stream.first))], shuffle=False,
                num_parallel_workers=1, python_multiprocessing=False)
            # Outside a graph, the operator that reads the queue would make MindSpore compile the step in each call.
            self.run = ms.data_sink(step_cell, self.dataset, jit_config=ms.JitConfig(jit_level=jit_level))

    def epoch(self, _epoch: int, skip: int) -> Iterator[Numbers]:
        """Run the steps of an epoch behind the skipped ones, each when its numbers are asked for."""
        for _ in range(skip, self.steps_per_epoch):
            self.done += 1
            yield Numbers(self.run()[0], self.done, self.stream)

    def close(self) -> None:
        """End the stream: no further batch is read."""
        self.stream.closed.set()
        transfer = getattr(self.dataset, "__transfer_dataset__", None)
        if transfer is not None:
            transfer.stop_send()


@dataclass(frozen=True)
class Numbers:
    """What a step returns, see TrainStep; `step` is its number."""

    values: ms.Tensor
    step: int
    stream: Stream

    def asnumpy(self) -> np.ndarray:
        """Wait for the step. Raise UserError if its batch could not be read."""
        values = self.values.asnumpy()
        if self.stream.failure and self.step > self.stream.sent:
            raise self.stream.failure
        return values


class Stream:
    """The batches of a training, as a source of ds.GeneratorDataset.

    MindSpore reads it from its beginning three times: for the types, for the shapes, and for the training. At the end
    it would begin again, so the last reading waits until `closed` is set.

    Attributes:
        first: the first batch.
        sent: number of the steps whose batches were given, including steps of the resumed run.
        failure: why the batch of the next step cannot be read. An exception in MindSpore's thread would leave the
            device waiting. So it gets batches of NaN, whose steps all ranks skip, until the training has ended.
    """

    def __init__(self, epoch: Callable[[int, int], Iterator[Batch]], start_step: int, total_steps: int,
                 steps_per_epoch: int):
        self.plan = epoch, start_step, total_steps, steps_per_epoch
        self.first = next(epoch(*divmod(start_step, steps_per_epoch)))
        self.sent = start_step
        self.failure: UserError | None = None
        self.closed = threading.Event()

    def __len__(self) -> int:
        _, start_step, total_steps, _ = self.plan
        return total_steps - start_step

    def __iter__(self) -> Iterator[Batch]:
        batch = self.first
        try:
            for step, batch in enumerate(self._batches(), self.plan[1] + 1):
                self.sent = max(self.sent, step)
                yield batch
                if self.closed.is_set():
                    return
        except UserError as error:
            self.failure = error
            while not self.closed.is_set():
                yield tuple(np.full_like(column, np.nan) if column.dtype.kind == "f" else column for column in batch)
        self.closed.wait()

    def _batches(self) -> Iterator[Batch]:
        yield self.first
        epoch, start_step, total_steps, steps_per_epoch = self.plan
        step = start_step + 1
        while step < total_steps:
            number, skip = divmod(step, steps_per_epoch)
            for batch in epoch(number, skip):
                yield batch
                step += 1
                if step == total_steps:
                    return
