"""Adam over the network's parameters, with weight decay on some of them."""
from __future__ import annotations

from mindspore import nn
from mindspore.nn.learning_rate_schedule import LearningRateSchedule

from src.errors import UserError
from src.settings import TrainConfig


def build_optimizer(network: nn.Cell, train: TrainConfig, schedule: LearningRateSchedule) -> nn.Adam:
    """Adam with the epsilon of the chosen schedule's section.

    Parameters whose names end in one of train.Adam.decay_filter get train.Adam.weight_decay
    (L2, added to the gradient), the others none.

    Raises:
        UserError: weight decay is asked for and no parameter's name fits the filter.
    """
    parameters = list(network.trainable_params())
    eps = getattr(train, train.lr_schedule).eps
    decay = train.Adam.weight_decay
    if decay == 0:
        return nn.Adam(parameters, schedule, eps=eps)
    decayed = [parameter for parameter in parameters if parameter.name.endswith(train.Adam.decay_filter)]
    others = [parameter for parameter in parameters if not parameter.name.endswith(train.Adam.decay_filter)]
    if not decayed:
        raise UserError(f"train_config.Adam.decay_filter {list(train.Adam.decay_filter)} fits no parameter: names end "
                        "in .weight, .bias, .gamma or .beta; for no decay set train_config.Adam.weight_decay to 0")
    groups = [{"params": decayed, "weight_decay": decay}]
    if others:
        groups.append({"params": others, "weight_decay": 0.0})
    # The order decides in which sequence devices exchange gradients: the network's own, not the groups'.
    return nn.Adam([*groups, {"order_params": parameters}], schedule, eps=eps)
