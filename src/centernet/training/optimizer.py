"""Adam or SGD for the network's parameters, with weight decay for some of them."""
from __future__ import annotations

from mindspore import nn
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

from centernet.config.schema import TrainConfig
from centernet.errors import UserError


def build_optimizer(network: nn.Cell, train: TrainConfig, schedule: LearningRateSchedule) -> nn.Optimizer:
    """Build the configured optimizer (train.optimizer) with the settings of its section.

    Parameters whose names end in one of the suffixes in decay_filter get weight_decay (L2, added to the gradient).
    Adam's epsilon comes from the section of the chosen schedule. SGD is that of PyTorch: v = momentum * v + gradient.
    The weights change by -learning_rate * v, with nesterov by -learning_rate * (gradient + momentum * v).

    Raises:
        UserError: weight decay is set, but no parameter's name matches decay_filter.
    """
    parameters = _decay_groups(network, train)
    if train.optimizer == "SGD":
        # nn.Momentum has another Nesterov step on CPU, and its removal is announced.
        return nn.SGD(parameters, schedule, train.SGD.momentum, nesterov=train.SGD.nesterov)
    return nn.Adam(parameters, schedule, eps=getattr(train, train.lr_schedule).eps)


def describe_optimizer(train: TrainConfig) -> str:
    """Return a log line about the optimizer, its weight decay, gradient clipping and the average of the weights."""
    section = getattr(train, train.optimizer)
    parts = [train.optimizer]
    if train.optimizer == "SGD":
        parts.append(f"momentum {section.momentum:g}{' (Nesterov)' * section.nesterov}")
    if section.weight_decay:
        parts.append(f"weight decay {section.weight_decay:g} on {' '.join(section.decay_filter)}")
    if train.grad_clip:
        parts.append(f"gradients clipped to the norm {train.grad_clip:g}")
    if train.ema_decay:
        parts.append(f"average of the weights with decay {train.ema_decay:g}")
    return ", ".join(parts)


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
