"""AdamW: Adam with decoupled weight decay."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

BETAS = (0.9, 0.999)  # as nn.Adam's


class AdamW(nn.Optimizer):
    """AdamW (Loshchilov and Hutter 2019) with Adam's bias correction, as torch.optim.AdamW.

    Update t (from 1) with gradient g, in float32:

        m = b1 * m + (1 - b1) * g,   v = b2 * v + (1 - b2) * g * g,   c1 = 1 - b1 ** t,   c2 = 1 - b2 ** t
        weight -= rate * (m / c1 / (sqrt(v / c2) + eps) + decay * weight)

    MindSpore's operator AdamWeightDecay has no correction: weight -= rate * (m / (sqrt(v) + eps) + decay * weight). It
    computes the formula above if it gets rate * sqrt(c2) / c1, eps * sqrt(c2) and decay * c1 / sqrt(c2). So each weight
    needs one operator.

    Its parameters are moment1.NAME and moment2.NAME of each weight, correction1 and correction2 (c1 and c2, float32)
    and global_step.

    Args:
        parameters: the weights, or groups of them with their weight decay, see nn.Optimizer.
        schedule: the learning rate.
        eps: epsilon.
    """

    def __init__(self, parameters: Sequence[Any], schedule: LearningRateSchedule, eps: float):
        super().__init__(schedule, parameters)
        self.beta1, self.beta2 = (Tensor(beta, ms.float32) for beta in BETAS)
        self.eps = eps
        # c = b * c + (1 - b), the moment of gradients of 1: in float32, 1 - b ** t loses digits in the first steps.
        self.correction1 = Parameter(Tensor(0.0, ms.float32), name="correction1", requires_grad=False)
        self.correction2 = Parameter(Tensor(0.0, ms.float32), name="correction2", requires_grad=False)
        self.moment1 = self.parameters.clone(prefix="moment1", init="zeros")
        self.moment2 = self.parameters.clone(prefix="moment2", init="zeros")
        decays = [float(value.asnumpy()) for value in self.weight_decay] if self.is_group else []
        self.decay = max(decays, default=0.0)
        self.decayed = tuple(value > 0 for value in decays) or (False,) * len(self.parameters)
        self.update = ops.AdamWeightDecay()

    def construct(self, gradients: tuple[Tensor, ...]) -> tuple[bool, ...]:
        """Update the weights. gradients: in the order of `parameters`."""
        rate = self.learning_rate(self.global_step).reshape(())
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        correction1 = self.correction1 * self.beta1 + (1.0 - self.beta1)
        correction2 = self.correction2 * self.beta2 + (1.0 - self.beta2)
        ops.assign(self.correction1, correction1)
        ops.assign(self.correction2, correction2)
        root = ops.sqrt(correction2)
        scale = root / correction1
        rates = self.rates(rate * scale)
        one = ops.partial(_update, self.update, self.beta1, self.beta2, self.eps * root, self.decay / scale)
        return self.hyper_map(one, self.decayed, rates, self.parameters, self.moment1, self.moment2, gradients)

    def rates(self, rate: Tensor) -> tuple[Tensor, ...]:
        """Return the learning rate of each weight."""
        return (rate,) * len(self.decayed)


def _update(operator: ops.Primitive, beta1: Tensor, beta2: Tensor, eps: Tensor, decay: Tensor, decayed: bool,
            rate: Tensor, weight: Tensor, moment1: Tensor, moment2: Tensor, gradient: Tensor) -> bool:
    operator(weight, moment1, moment2, rate, beta1, beta2, eps, decay if decayed else 0.0, gradient)
    return True
