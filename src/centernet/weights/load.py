"""From a checkpoint file to the network that it holds, ready to run."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mindspore import nn

from centernet.categories import Categories, categories_from_names
from centernet.config.schema import Config, EvalConfig, NetConfig
from centernet.models.centernet import build_centernet
from centernet.spec import ModelSpec, configured_spec
from centernet.weights.checkpoint import ModelRecord, load_parameters, network_config, read_checkpoint, require_preset


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, in evaluation mode.

    Attributes:
        network: float32 (B,3,H,W) -> raw hm, wh and, with net.reg_offset, reg.
        net: what the network is.
        spec: what it expects, and its categories.
        record: what the checkpoint says of itself; None if another program wrote it.
    """

    network: nn.Cell
    net: NetConfig
    spec: ModelSpec
    record: ModelRecord | None

    def at_size(self, input_size: tuple[int, int]) -> LoadedModel:
        """The same model, for another (height, width) at fixed resolution."""
        return dataclasses.replace(self, spec=dataclasses.replace(self.spec, input_size=input_size))


def load_model(path: str | Path, config: Config, *, own_network: bool = False,
               categories: Categories | None = None) -> LoadedModel:
    """Read a checkpoint, compare it with the configuration, build its network and load the weights.

    Args:
        path: the .ckpt file.
        config: says what the checkpoint does not.
        own_network: the checkpoint's own record decides which network it is; otherwise it must be the configured one.
        categories: of a checkpoint without a record; the names of dataset_config.coco_classes by default.

    Raises:
        UserError: the file is not readable, holds another network than the configured one, or does not fit.
    """
    checkpoint = read_checkpoint(path)
    net, record = config.net_config, checkpoint.record
    if record is None:
        names = categories or categories_from_names(config.dataset_config.coco_classes)
        spec = configured_spec(config.dataset_config, net, names)
    else:
        spec = record.spec
        if own_network:
            net = network_config(record, net)
        else:
            require_preset(record, net, path)
    network = build_centernet(net, len(spec.categories))
    load_parameters(network, checkpoint.parameters, path)
    network.set_train(False)
    return LoadedModel(network, net, spec, record)


def recorded_settings(record: ModelRecord | None, base: EvalConfig) -> EvalConfig:
    """The test settings that a checkpoint was meant for; base says what the record does not."""
    known = {field.name for field in dataclasses.fields(EvalConfig)}
    found = record.evaluation if record else {}
    return dataclasses.replace(base, **{key: value for key, value in found.items() if key in known})
