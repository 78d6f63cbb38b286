"""Adam or SGD over the network's parameters, with weight decay on some of them."""
from __future__ import annotations

from mindspore import nn
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

from centernet.config.schema import TrainConfig
from centernet.errors import UserError


def build_optimizer(network: nn.Cell, train: TrainConfig, schedule: LearningRateSchedule) -> nn.Optimizer:
    """The optimizer that train.optimizer names, with the settings of its section.

    Parameters whose names end in one of the section's decay_filter get its weight_decay (L2, added to the gradient),
    the others none. Adam's epsilon is that of the chosen schedule's section. SGD is PyTorch's: v = momentum * v +
    gradient; the weights go by -rate * v, with nesterov by -rate * (gradient + momentum * v).

    Raises:
        UserError: weight decay is asked for and no parameter's name fits the filter.
    """
    parameters = _decay_groups(network, train)
    if train.optimizer == "SGD":
        # nn.Momentum has another Nesterov step on CPU, and is announced to go.
        return nn.SGD(parameters, schedule, train.SGD.momentum, nesterov=train.SGD.nesterov)
    return nn.Adam(parameters, schedule, eps=getattr(train, train.lr_schedule).eps)


def describe_optimizer(train: TrainConfig) -> str:
    """The optimizer, its decay and the clipping of gradients, in a line for the log."""
    section = getattr(train, train.optimizer)
    parts = [train.optimizer]
    if train.optimizer == "SGD":
        parts.append(f"momentum {section.momentum:g}{' (Nesterov)' * section.nesterov}")
    if section.weight_decay:
        parts.append(f"weight decay {section.weight_decay:g} on {' '.join(section.decay_filter)}")
    if train.grad_clip:
        parts.append(f"gradients clipped to the norm {train.grad_clip:g}")
    return ", ".join(parts)


def _decay_groups(network: nn.Cell, train: TrainConfig) -> list:
    """The network's trainable parameters, in groups if some are decayed."""
    parameters = list(network.trainable_params())
    section, name = getattr(train, train.optimizer), f"train_config.{train.optimizer}"
    if section.weight_decay == 0:
        return parameters
    decayed = [parameter for parameter in parameters if parameter.name.endswith(section.decay_filter)]
    others = [parameter for parameter in parameters if not parameter.name.endswith(section.decay_filter)]
    if not decayed:
        raise UserError(f"{name}.decay_filter {list(section.decay_filter)} fits no parameter: names end in .weight, "
                        f".bias, .gamma or .beta; for no decay set {name}.weight_decay to 0")
    groups = [{"params": decayed, "weight_decay": section.weight_decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    # The order decides in which sequence devices exchange gradients: the network's own, not the groups'.
    return [*groups, {"order_params": parameters}]
