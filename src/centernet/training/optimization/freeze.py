"""Frozen stages of a backbone."""
from __future__ import annotations

from mindspore import Parameter, nn

from centernet.config.load import Config
from centernet.errors import UserError

STATISTICS = ("moving_mean", "moving_variance")


def freeze(backbone: nn.Cell, stages: int) -> None:
    """Freeze the stem and the first stages of a backbone, before its first run.

    Their parameters are no trainable parameters any more, and their batch norm uses its stored statistics and does not
    change them.

    Args:
        backbone: it has the method `stages`, see ResNet.
        stages: number of stages without the stem.
    """
    for cell in (cell for stage in backbone.stages()[:stages + 1] for cell in stage):
        for parameter in cell.get_parameters():
            parameter.requires_grad = False
        for _, layer in cell.cells_and_names():
            if isinstance(layer, nn.BatchNorm2d):
                layer.use_batch_statistics = False


def moving_statistics(network: nn.Cell) -> list[Parameter]:
    """Return the statistics of batch norm that a training changes: those of layers that are not frozen."""
    trained = {_layer(parameter) for parameter in network.trainable_params()}
    return [parameter for parameter in network.get_parameters()
            if parameter.name.split(".")[-1] in STATISTICS and _layer(parameter) in trained]


def frozen_size(network: nn.Cell) -> int:
    """Return the number of values in a network's frozen parameters, without statistics of batch norm."""
    return sum(parameter.size for parameter in network.get_parameters()
               if not parameter.requires_grad and parameter.name.split(".")[-1] not in STATISTICS)


def require_weights(config: Config) -> None:
    """Raise UserError if stages are to be frozen, but no checkpoint gives them weights."""
    if config.train_config.freeze_stages and not (config.backbone_checkpoint or config.load_checkpoint_path):
        raise UserError(f"train_config.freeze_stages {config.train_config.freeze_stages} would freeze random weights: "
                        "give trained ones with --backbone_checkpoint or --load_checkpoint_path, or set "
                        "--train_config.freeze_stages 0")


def _layer(parameter: Parameter) -> str:
    return parameter.name.rpartition(".")[0]
