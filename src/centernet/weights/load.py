"""Loading of a checkpoint file as a network that is ready to run."""
from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mindspore import nn

from centernet.categories import Categories, categories_from_names
from centernet.config.schema import Config, EvalConfig, NetConfig
from centernet.models.centernet import build_centernet
from centernet.spec import ModelSpec, configured_spec
from centernet.weights.average import choose_weights
from centernet.weights.checkpoint import ModelRecord, load_parameters, network_config, read_checkpoint, require_preset


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, in evaluation mode.

    Attributes:
        network: float32 (B,3,H,W) -> raw maps, see net.maps.
        net: configuration of the network.
        spec: expected input, and categories.
        record: the checkpoint's record; None if another program wrote the checkpoint.
    """

    network: nn.Cell
    net: NetConfig
    spec: ModelSpec
    record: ModelRecord | None

    def at_size(self, input_size: tuple[int, int]) -> LoadedModel:
        """Return the same model for another (height, width) at fixed resolution."""
        return dataclasses.replace(self, spec=dataclasses.replace(self.spec, input_size=input_size))


def load_model(path: str | Path, config: Config, *, own_network: bool = False,
               categories: Categories | None = None) -> LoadedModel:
    """Read a checkpoint, compare it with the configuration, build its network and load the weights.

    Args:
        path: the .ckpt file.
        config: settings that the checkpoint does not have.
        own_network: build the network of the checkpoint's record. Otherwise it must be the configured network.
        categories: categories of a checkpoint without a record; default: the names of dataset_config.coco_classes.

    Raises:
        UserError: the file is not readable, has another network than the configured one, or does not fit.
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
    checkpoint = choose_weights(checkpoint, network, config.weights, path)
    load_parameters(network, checkpoint.parameters, path)
    network.set_train(False)
    return LoadedModel(network, net, spec, record)


def recorded_settings(record: ModelRecord | None, base: EvalConfig) -> EvalConfig:
    """Return the test settings of a checkpoint's record; settings that it does not have come from base."""
    known = {field.name for field in dataclasses.fields(EvalConfig)}
    found = record.evaluation if record else {}
    return dataclasses.replace(base, **{key: value for key, value in found.items() if key in known})
