"""Adam, AdamW or SGD for the network's parameters: weight decay for some of them, and the backbone's learning rate."""
from __future__ import annotations

from mindspore import Tensor, nn, ops
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

from centernet.config.schema import TrainConfig
from centernet.errors import UserError
from centernet.training.optimization.adamw import AdamW
from centernet.weights.name_maps import BACKBONE


class BackboneRate(nn.Optimizer):
    """Part of an optimizer whose learning rate for the backbone is a fraction of the schedule's.

    MindSpore's own groups have a schedule for each parameter, and each of them would be computed in each step.
    """

    def use(self, factor: float) -> None:
        """Multiply the learning rate of the backbone's parameters by a factor."""
        self.factor = factor
        self.in_backbone = tuple(parameter.name.startswith(BACKBONE) for parameter in self.parameters)
        self.is_group_lr = True  # MindSpore's optimizers then expect that get_lr returns a rate for each parameter

    def get_lr(self) -> tuple[Tensor, ...]:
        """Return the learning rate of each parameter, float32 scalars."""
        return self.rates(self.learning_rate(self.global_step).reshape(()))

    def rates(self, rate: Tensor) -> tuple[Tensor, ...]:
        """Return the learning rate of each parameter for the rate of the schedule."""
        return self.hyper_map(ops.partial(_either, rate * self.factor, rate), self.in_backbone)


class AdamWithBackboneRate(BackboneRate, nn.Adam):
    """Adam, see BackboneRate."""


class AdamWWithBackboneRate(BackboneRate, AdamW):
    """AdamW, see BackboneRate."""


class SGDWithBackboneRate(BackboneRate, nn.SGD):
    """SGD, see BackboneRate."""


def build_optimizer(network: nn.Cell, train: TrainConfig, schedule: LearningRateSchedule) -> nn.Optimizer:
    """Build the configured optimizer (train.optimizer) with the settings of its section.

    Parameters whose names end in one of the suffixes in decay_filter get weight_decay. Adam and SGD add it to the
    gradient (L2), AdamW subtracts it from the weight. The epsilon of Adam and AdamW is that of the chosen schedule's
    section. SGD is that of PyTorch: v = momentum * v + gradient. The weights change by -learning_rate * v, with
    nesterov by -learning_rate * (gradient + momentum * v).

    The optimizer's `learning_rate` is the schedule; the backbone's parameters use backbone_rate times this rate.

    Raises:
        UserError: weight decay is set, but no parameter's name matches decay_filter.
    """
    parameters = _decay_groups(network, train)
    own = train.backbone_rate != 1
    if train.optimizer == "SGD":
        # nn.Momentum has another Nesterov step on CPU, and its removal is announced.
        kind = SGDWithBackboneRate if own else nn.SGD
        optimizer = kind(parameters, schedule, train.SGD.momentum, nesterov=train.SGD.nesterov)
    elif train.optimizer == "AdamW":
        kind = AdamWWithBackboneRate if own else AdamW
        optimizer = kind(parameters, schedule, eps=getattr(train, train.lr_schedule).eps)
    else:
        kind = AdamWithBackboneRate if own else nn.Adam
        optimizer = kind(parameters, schedule, eps=getattr(train, train.lr_schedule).eps)
    if own:
        optimizer.use(train.backbone_rate)
    return optimizer


def describe_optimizer(train: TrainConfig) -> str:
    """Return a log line about the optimizer, its weight decay, gradient clipping and the average of the weights."""
    section = getattr(train, train.optimizer)
    parts = [train.optimizer]
    if train.optimizer == "SGD":
        parts.append(f"momentum {section.momentum:g}{' (Nesterov)' * section.nesterov}")
    if section.weight_decay:
        parts.append(f"weight decay {section.weight_decay:g} on {' '.join(section.decay_filter)}")
    if train.backbone_rate != 1:
        parts.append(f"learning rate of the backbone x {train.backbone_rate:g}")
    if train.grad_clip:
        parts.append(f"gradients clipped to the norm {train.grad_clip:g}")
    if train.ema_decay:
        parts.append(f"average of the weights with decay {train.ema_decay:g}")
    return ", ".join(parts)


def _either(slow: Tensor, rate: Tensor, in_backbone: bool) -> Tensor:
    return slow if in_backbone else rate


def _decay_groups(network: nn.Cell, train: TrainConfig) -> list:
    """Return the network's trainable parameters, in groups if some have weight decay."""
    parameters = list(network.trainable_params())
    section, name = getattr(train, train.optimizer), f"train_config.{train.optimizer}"
    if section.weight_decay == 0:
        return parameters
    decayed = [parameter for parameter in parameters if parameter.name.endswith(section.decay_filter)]
    others = [parameter for parameter in parameters if not parameter.name.endswith(section.decay_filter)]
    if not decayed:
        raise UserError(f"{name}.decay_filter {list(section.decay_filter)} matches no parameter: names end in .weight, "
                        f".bias, .gamma or .beta. To train without weight decay, set {name}.weight_decay to 0")
    groups = [{"params": decayed, "weight_decay": section.weight_decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    # Devices exchange gradients in this order. It is the order of the network, not of the groups.
    return [*groups, {"order_params": parameters}]
