"""Training step as one nn.Cell: loss, gradients, loss scale, skipping of overflows, gradient clipping, update."""
from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, amp, nn, ops

from centernet.config.schema import TrainConfig

# A scale above this saves no further float16 gradient from underflow, it only makes steps overflow. MindSpore's own
# dynamic loss scale starts with this value.
LARGEST_SCALE = 2.0 ** 24
STATISTICS = ("moving_mean", "moving_variance")


def _unscale(inverse: Tensor, gradient: Tensor) -> Tensor:
    return gradient * inverse.astype(gradient.dtype)


def _sum(values: Tensor) -> Tensor:
    # Over one axis: CPU kernels take four times as long for a sum over several axes.
    return values.astype(ms.float32).reshape((-1,)).sum()


def _square_sum(gradient: Tensor) -> Tensor:
    return _sum(ops.square(gradient.astype(ms.float32)))


class TrainStep(nn.Cell):
    """Run one batch. Update the weights unless a gradient or the loss is not finite on any device.

    A skipped step changes only a dynamic loss scale, which is halved. Weights, moments, step counter and batch norm
    statistics keep their values. (The forward pass has already changed the statistics, so they are restored.)

    All state is in Parameters, so that a checkpoint of this nn.Cell is complete: the network's parameters with their
    own names, the optimizer's parameters, `loss_scale` (float32) and `good_steps` (int32).

    On several devices, gradients, losses and batch norm statistics are averaged in every step. So all devices have the
    same state: any device can evaluate, and all can resume from the checkpoint of one.

    Args:
        loss_network: nn.Cell; construct(*batch) -> (loss, hm_loss, wh_loss, off_loss), float32 scalars. The average
            over the devices must be the loss of the global batch.
        optimizer: updates loss_network's trainable parameters; its learning rate is a schedule.
        train: loss_scale_value, loss_scale_mode, loss_scale_window and grad_clip are used.
        scale_loss: False keeps the loss scale at 1. Steps with non-finite gradients are skipped in any case.
        devices: number of devices that train together.
    """

    def __init__(self, loss_network: nn.Cell, optimizer: nn.Optimizer, train: TrainConfig, scale_loss: bool = True,
                 devices: int = 1):
        super().__init__(auto_prefix=False)
        self.loss_network = loss_network
        self.optimizer = optimizer
        self.weights = optimizer.parameters
        statistics = [p for p in loss_network.get_parameters() if p.name.split(".")[-1] in STATISTICS]
        self.statistics = ParameterTuple(statistics)
        self.ends = _running_ends(statistics)
        initial = train.loss_scale_value if scale_loss else 1.0
        self.dynamic = scale_loss and train.loss_scale_mode == "dynamic"
        self.window = train.loss_scale_window
        self.limits = (min(1.0, initial), max(LARGEST_SCALE, initial))
        self.loss_scale = Parameter(Tensor(initial, ms.float32), name="loss_scale", requires_grad=False)
        self.good_steps = Parameter(Tensor(0, ms.int32), name="good_steps", requires_grad=False)
        self.clip = train.grad_clip
        self.devices = devices
        if devices > 1:
            self.sum = ops.AllReduce()
        self.each = ops.HyperMap()
        self.on_cpu = ms.get_context("device_target") == "CPU"
        self.gradient = ops.value_and_grad(self._scaled_loss, None, self.weights, has_aux=True)
        self.set_train()

    def construct(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Return loss, hm_loss, wh_loss, off_loss, overflow (bool), loss scale and learning rate of this step.

        The losses are those of the global batch.
        """
        scale = self.loss_scale * 1.0  # a copy: _adjust_scale overwrites the parameter
        rate = self.optimizer.learning_rate(self.optimizer.global_step).reshape(())
        before = self._copy_statistics()
        # The forward pass changes the statistics in place, so it has to wait for the copies.
        batch = (ops.depend(batch[0], (before, rate, scale)),) + batch[1:]
        # A tuple must not be unpacked into a name that is not used: MindSpore takes the unused part for a lost side
        # effect, and warns.
        outputs, gradients = self.gradient(*batch)
        losses = outputs[1]
        gradients = self.each(ops.partial(_unscale, 1.0 / scale), gradients)
        # Check the loss, too: the gradient of an L1 loss is 1 where a target is infinite.
        finite = self._all_finite((*gradients, losses[0]))
        moved = before
        if self.devices > 1:
            finite, losses, moved, gradients = self._average(finite, losses, gradients)
        if self.clip > 0:
            gradients = self._clip(gradients)
        if finite:
            self.optimizer(gradients)
            if self.devices > 1:
                self._set_statistics(moved)
        else:
            self._set_statistics(before)
        self._adjust_scale(finite)
        return losses + (ops.logical_not(finite), scale, rate)

    def _scaled_loss(self, *batch: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        losses = self.loss_network(*batch)
        return losses[0] * self.loss_scale, losses

    def _all_finite(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return whether all values are finite. On CPU, check their sum: all_finite would take 5 % of a step."""
        if self.on_cpu:
            return ops.isfinite(ops.addn(self.each(_sum, tensors)))
        return amp.all_finite(tensors)

    def _average(self, finite: Tensor, losses: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> tuple:
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
        flat = [gradient.reshape((-1,)) for gradient in gradients]
        means = self.sum(ops.concat((heads, *statistics, *flat)) / self.devices)
        start = 5 + (self.ends[-1][1] if self.ends else 0)
        averages = ()  # type: tuple[Tensor, ...]
        for gradient in gradients:
            averages += (means[start:start + gradient.size].reshape(gradient.shape),)
            start += gradient.size
        return means[0] < 0.5 / self.devices, ops.unstack(means[1:5]), means[5:], averages

    def _clip(self, gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        norm = ops.sqrt(ops.addn(self.each(_square_sum, gradients)))
        return self.each(ops.partial(_unscale, self.clip / ops.maximum(norm, self.clip)), gradients)

    def _copy_statistics(self) -> Tensor:
        return ops.concat(self.statistics) if self.ends else self.loss_scale * 1.0

    def _set_statistics(self, values: Tensor) -> None:
        for index, (start, end) in enumerate(self.ends):
            ops.assign(self.statistics[index], values[start:end])

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


def _running_ends(parameters: list[Parameter]) -> tuple[tuple[int, int], ...]:
    """Return start and end of each parameter in the concatenation of all."""
    spans, start = [], 0
    for parameter in parameters:
        spans.append((start, start + parameter.size))
        start += parameter.size
    return tuple(spans)
