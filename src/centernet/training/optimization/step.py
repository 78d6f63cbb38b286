"""Training step as one nn.Cell: loss, gradients, loss scale, skipping of overflows, gradient clipping, update."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, amp, mint, nn, ops
from mindspore._c_expression import MSContext

from centernet.config.schema import TrainConfig
from centernet.training.losses.terms import sum_all
from centernet.training.optimization.freeze import moving_statistics
from centernet.weights.average import NAME, flat_values

# A scale above this saves no further float16 gradient from underflow, it only makes steps overflow. MindSpore's own
# dynamic loss scale starts with this value.
LARGEST_SCALE = 2.0 ** 24


@ops.constexpr
def _float16_convolutions() -> bool:
    """Return whether the device may compute convolutions of float32 in float16, as the first Ascend 910 does.

    The chip's name is known when the graph is compiled, not before.
    """
    return MSContext.get_instance().get_ascend_soc_version() == "ascend910"


def _flat(tensor: Tensor) -> Tensor:
    return ops.reshape(tensor, (-1,))


def _shaped_as(flat: Tensor, weight: Tensor) -> Tensor:
    return ops.reshape(flat, weight.shape)


def _part(values: Tensor, start: int, size: int) -> Tensor:
    return ops.slice(values, (start,), (size,))


class Split(nn.Cell):
    """Split a vector into parts of these sizes.

    Args:
        sizes: number of values of each part.
        in_slices: one operator for each part. Otherwise few for all parts: a device starts operators one by one. For
            these MindSpore 2.7 has no kernel on a CPU.
    """

    def __init__(self, sizes: Sequence[int], in_slices: bool):
        super().__init__(auto_prefix=False)
        self.sizes = tuple(sizes)
        self.starts = tuple(accumulate(sizes, initial=0))[:-1]
        self.in_slices = in_slices
        self.each = ops.HyperMap()

    def construct(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return the parts of the vector."""
        if self.in_slices:
            return self.each(ops.partial(_part, values), self.starts, self.sizes)
        # First into few parts: MindSpore's compiler recurses over sizes, to a depth of 1000.
        groups = [self.sizes[start:start + 100] for start in range(0, len(self.sizes), 100)]
        parts = ()  # type: tuple[Tensor, ...]
        for index, part in enumerate(mint.split(values, [sum(group) for group in groups])):
            parts += mint.split(part, groups[index])
        return parts


class TrainStep(nn.Cell):
    """Run one batch. Update the weights unless a gradient or the loss is not finite on any device.

    A skipped step changes only a dynamic loss scale, which is halved. Weights, moments, step counter and batch norm
    statistics keep their values. (The forward pass has already changed the statistics, so they are restored.)

    All state is in Parameters, so that a checkpoint of this nn.Cell is complete: the network's parameters with their
    own names, the optimizer's parameters, `loss_scale` (float32), `good_steps` (int32) and, with ema_decay, the average
    of the network's parameters, see weights/average.py: average += (1 - d) * (parameters - average) after each update,
    with d = min(ema_decay, (1 + updates before) / (10 + updates before)).

    On several devices, gradients, losses and batch norm statistics are averaged in every step. So all devices have the
    same state: any device can evaluate, and all can resume from the checkpoint of one.

    The loss scale keeps gradients of float16 above the smallest number. Gradients of float32 do not need it: they are
    those of the loss itself, and the scale only counts skipped steps.

    Args:
        loss_network: nn.Cell; construct(*batch) -> (loss, hm_loss, wh_loss, off_loss), float32 scalars. The average
            over the devices must be the loss of the global batch. To accumulate, it needs more, see LossNetwork.
        optimizer: updates loss_network's trainable parameters; its learning rate is a schedule.
        train: loss_scale_value, loss_scale_mode, loss_scale_window, grad_clip, accumulate and ema_decay are
            used.
        scale_loss: False keeps the loss scale at 1. Steps with non-finite gradients are skipped in any case.
        devices: number of devices that train together.
        in_float32: the whole network computes in float32, so the loss is not multiplied by the loss scale.
    """

    def __init__(self, loss_network: nn.Cell, optimizer: nn.Optimizer, train: TrainConfig, scale_loss: bool = True,
                 devices: int = 1, in_float32: bool = False):
        super().__init__(auto_prefix=False)
        self.loss_network = loss_network
        self.optimizer = optimizer
        self.weights = optimizer.parameters
        statistics = moving_statistics(loss_network)
        self.statistics = ParameterTuple(statistics)
        self.lengths = [parameter.size for parameter in statistics]
        initial = train.loss_scale_value if scale_loss else 1.0
        self.scale_loss = scale_loss
        self.in_float32 = in_float32
        self.dynamic = scale_loss and train.loss_scale_mode == "dynamic"
        self.window = train.loss_scale_window
        self.limits = (min(1.0, initial), max(LARGEST_SCALE, initial))
        self.loss_scale = Parameter(Tensor(initial, ms.float32), name="loss_scale", requires_grad=False)
        self.good_steps = Parameter(Tensor(0, ms.int32), name="good_steps", requires_grad=False)
        self.clip = train.grad_clip
        self.decay = train.ema_decay
        self.average = None
        if self.decay > 0:
            self.averaged = ParameterTuple(loss_network.get_parameters())
            self.average = Parameter(Tensor(flat_values(self.averaged)), name=NAME, requires_grad=False)
        self.accumulate = train.accumulate
        self.devices = devices
        self.combines = devices > 1 or self.clip > 0 or self.accumulate > 1
        if devices > 1:
            self.sum = ops.AllReduce()
        self.each = ops.HyperMap()
        self.on_cpu = ms.get_context("device_target") == "CPU"
        self.to_weights = Split([parameter.size for parameter in self.weights], self.on_cpu)
        self.to_statistics = Split(self.lengths, self.on_cpu)
        self.gradient = ops.value_and_grad(self._scaled_loss, None, self.weights, has_aux=True)
        self.part_gradient = ops.value_and_grad(self._scaled_part, None, self.weights, has_aux=True)
        self.set_train()

    def construct(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numbers of this step, float32 (7,), and the loss once more.

        The numbers are loss, hm_loss, wh_loss, off_loss, overflow (0 or 1), loss scale and learning rate. They are one
        small tensor, so that the host reads from the device once. The losses are those of the global batch.
        """
        scale = self.loss_scale * 1.0  # a copy: _adjust_scale overwrites the parameter
        rate = self.optimizer.learning_rate(self.optimizer.global_step).reshape(())
        before = self._copy_statistics()
        # The forward pass changes the statistics in place, so it has to wait for the copies.
        batch = (ops.depend(batch[0], (before, rate, scale)),) + batch[1:]
        losses, gradients = self._run(batch) if self.accumulate == 1 else self._accumulate(batch)
        if self._scales():
            gradients = (gradients[0] * (1.0 / scale),)
        # Check the loss, too: the gradient of an L1 loss is 1 where a target is infinite.
        finite = self._all_finite(gradients, losses[0])
        moved = before
        if self.devices > 1:
            finite, losses, moved, flat = self._average(finite, losses, gradients[0])
            gradients = (flat,)
        if self.clip > 0:
            norm = ops.sqrt(ops.reduce_sum(ops.square(gradients[0])))
            gradients = (gradients[0] * (self.clip / ops.maximum(norm, self.clip)),)
        if finite:
            self.optimizer(self._of_weights(gradients))
            if self.devices > 1:
                self._set_statistics(moved)
            if self.decay > 0:
                self._move_average()
        else:
            self._set_statistics(before)
        self._adjust_scale(finite)
        numbers = ops.stack((*losses, ops.cast(ops.logical_not(finite), ms.float32), scale, rate))
        # MindSpore 2.10 does not compile a graph with branches and only one output for Ascend ("Can not build a sub
        # graph which contains ConditionSwitch", seen in its dry run).
        return numbers, losses[0]

    def _scales(self) -> bool:
        """Return whether the gradients are those of the loss times the loss scale."""
        return self.scale_loss and (not self.in_float32 or _float16_convolutions())

    def _in_one(self) -> bool:
        """Return whether all gradients are one vector.

        Then each operation on them is one operator, not one for each gradient: a device starts operators one by one.
        If there is no such operation, the copies into the vector and back would only cost time and operators.
        """
        return self.combines or self._scales()

    def _run(self, batch: tuple[Tensor, ...],
             counts: Tensor | None = None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return losses and gradients of a batch, or of a part of it with the counts of the whole; see _in_one."""
        # A tuple must not be unpacked into a name that is not used: MindSpore takes the unused part for a lost side
        # effect, and warns.
        if counts is None:
            outputs, gradients = self.gradient(*batch)
        else:
            outputs, gradients = self.part_gradient(counts, *batch)
        if self._in_one():
            gradients = (ops.concat(self.each(_flat, gradients)),)
        return outputs[1], gradients

    def _accumulate(self, batch: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the losses and, as one vector, the gradients of a batch that runs in parts, one after the other.

        Each part's losses are divided by the counts of the whole step. So their sum is the loss of the whole batch.
        (Batch norm uses the statistics of each part.)
        """
        size = batch[0].shape[0] // self.accumulate
        parts = [tuple([column[start:start + size] for column in batch])
                 for start in range(0, batch[0].shape[0], size)]
        counts = ops.addn([self.loss_network.counts(*part) for part in parts])
        if self.devices > 1:
            counts = self.sum(counts)
        losses, total = self._run(parts[0], counts)
        for part in parts[1:]:
            # A part starts when the one before has ended, so that its activations use the same memory.
            further, gradients = self._run((ops.depend(part[0], total[0]),) + part[1:], counts)
            losses = (losses[0] + further[0], losses[1] + further[1], losses[2] + further[2], losses[3] + further[3])
            total = (total[0] + gradients[0],)
        return losses, total

    def _scaled_loss(self, *batch: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        losses = self.loss_network(*batch)
        return self._scaled(losses[0]), losses

    def _scaled_part(self, counts: Tensor, *part: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        losses = self.loss_network.of_part(counts, *part)
        return self._scaled(losses[0]), losses

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss * self.loss_scale if self._scales() else loss

    def _all_finite(self, gradients: tuple[Tensor, ...], loss: Tensor) -> Tensor:
        """Return whether all values are finite. On CPU, check their sum: all_finite would take 5 % of a step."""
        if self.on_cpu:
            return ops.isfinite(ops.addn((*self.each(sum_all, gradients), loss)))
        return amp.all_finite((*gradients, loss))

    def _average(self, finite: Tensor, losses: tuple[Tensor, ...], flat: Tensor) -> tuple:
        """Average over the devices: losses, batch norm statistics (after the forward pass) and gradients.

        One message holds all values. Messages that do not wait for each other may run in another order on each device;
        then values are mixed up without an error (seen on CPU). The message also has a flag for non-finite gradients,
        although these would make the average non-finite: on the first Ascend 910, all_finite reads a status register
        of its own device.

        Returns:
            Whether all devices' gradients are finite, and the averages of losses, statistics and gradients.
        """
        heads = ops.stack((1.0 - finite.astype(ms.float32), *losses))
        statistics = [ops.depend(statistic, losses[0]) for statistic in self.statistics]
        means = self.sum(ops.concat((heads, *statistics, flat)) / self.devices)
        start = 5 + sum(self.lengths)
        return means[0] < 0.5 / self.devices, ops.unstack(means[1:5]), means[5:start], means[start:]

    def _of_weights(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return a gradient for each weight."""
        if self._in_one():
            return self.each(_shaped_as, self.to_weights(gradients[0]), self.weights)
        return gradients

    def _copy_statistics(self) -> Tensor:
        return ops.concat(self.statistics) if self.lengths else self.loss_scale * 1.0

    def _set_statistics(self, values: Tensor) -> None:
        if self.lengths:
            self.each(ops.assign, self.statistics, self.to_statistics(values))

    def _move_average(self) -> None:
        """Move the average after an update, which the optimizer has counted. The first updates count more."""
        updates = self.optimizer.global_step.astype(ms.float32).reshape(())
        decay = ops.minimum(updates / (9.0 + updates), self.decay)
        values = ops.concat(self.each(_flat, self.averaged))
        ops.assign(self.average, self.average + (1.0 - decay) * (values - self.average))

    def _adjust_scale(self, finite: Tensor) -> None:
        """Count finite steps. Halve a dynamic scale after a skipped step, double it after a window of finite steps."""
        counted = (self.good_steps + 1) * finite.astype(ms.int32)
        if self.dynamic:
            smallest, largest = self.limits
            full = counted >= self.window
            grown = ops.select(full, ops.minimum(self.loss_scale * 2.0, largest), self.loss_scale * 1.0)
            ops.assign(self.loss_scale, ops.select(finite, grown, ops.maximum(self.loss_scale * 0.5, smallest)))
            counted = ops.select(full, ops.zeros_like(counted), counted)
        ops.assign(self.good_steps, counted)
