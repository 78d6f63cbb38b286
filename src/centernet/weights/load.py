"""Loading of a checkpoint file as a network that is ready to run."""
from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

from mindspore import nn

from centernet.categories import Categories, categories_from_names
from centernet.config.load import require_valid
from centernet.config.schema import Config, EvalConfig, NetConfig
from centernet.config.values import as_flag
from centernet.errors import UserError
from centernet.models.centernet import build_centernet
from centernet.spec import ModelSpec, configured_spec, warn_of_statistics
from centernet.weights.average import choose_weights
from centernet.weights.checkpoint import (
    ARCHITECTURE,
    ModelRecord,
    load_parameters,
    network_config,
    read_checkpoint,
    require_preset,
)

LOG = logging.getLogger("centernet")

DECIDE_BOXES = ("keep_res", "pad", "multi_scales", "flip_test", "SOFT_NMS")  # of eval_config; the others choose a part


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, in evaluation mode.

    Attributes:
        network: float32 (B,3,H,W) -> raw maps, see net.maps.
        net: configuration of the network.
        spec: expected input, and categories.
        record: the checkpoint's record; None if another program wrote the checkpoint.
        config: the configuration with the network and the test settings of this record, see recorded_config.
    """

    network: nn.Cell
    net: NetConfig
    spec: ModelSpec
    record: ModelRecord | None
    config: Config

    def at_size(self, input_size: tuple[int, int]) -> LoadedModel:
        """Return the same model for another (height, width) at fixed resolution."""
        return dataclasses.replace(self, spec=dataclasses.replace(self.spec, input_size=input_size))


def load_model(path: str | Path, config: Config, *, categories: Categories | None = None) -> LoadedModel:
    """Read a checkpoint, compare it with the configuration, build its network and load the weights.

    Args:
        path: the .ckpt file.
        config: settings that the checkpoint does not have; what it names of the network must be that of the record.
        categories: categories of a checkpoint without a record; default: the names of dataset_config.coco_classes.

    Raises:
        UserError: the file is not readable, has another network than the configured one, or does not fit.
    """
    checkpoint = read_checkpoint(path)
    record = checkpoint.record
    if record is None:
        names = categories or categories_from_names(config.dataset_config.coco_classes)
        spec = configured_spec(config.dataset_config, config.net_config, names)
    else:
        spec = record.spec
        config = recorded_config(config, record, path)
        warn_of_statistics(spec, config.dataset_config, config.named, str(path))
    network = build_centernet(config.net_config, len(spec.categories))
    checkpoint = choose_weights(checkpoint, network, config.weights, path)
    load_parameters(network, checkpoint.parameters, path)
    network.set_train(False)
    return LoadedModel(network, config.net_config, spec, record, config)


def recorded_config(config: Config, record: ModelRecord, path: str | Path) -> Config:
    """Return config with the network and the test settings of a record, except those that config names itself.

    Raises:
        UserError: config names a setting of the network (by --config_path or a flag), and it describes another one; or
            the settings contradict each other.
    """
    given = set(config.named)
    net = config.net_config
    if given & {f"net_config.{key}" for key in ARCHITECTURE}:
        try:
            require_preset(record, net, path)
        except UserError as error:
            raise UserError(f"{error} Or name no network, neither by --config_path nor by flags: then the checkpoint's "
                            "own is used") from error
    else:
        net = network_config(record, net)
    base, recorded = config.eval_config, recorded_settings(record, config.eval_config)
    own = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)
           if f"eval_config.{field.name}" in given}
    evaluation = dataclasses.replace(recorded, **own)
    data = config.dataset_config
    if "dataset_config.input_res_test" not in given:
        data = dataclasses.replace(data, input_res_test=record.spec.input_size)
    _say_differences(evaluation, recorded, data.input_res_test, record, path)
    config = dataclasses.replace(config, net_config=net, eval_config=evaluation, dataset_config=data)
    require_valid(config)
    return config


def _say_differences(used: EvalConfig, recorded: EvalConfig, size: tuple[int, int], record: ModelRecord,
                     path: str | Path) -> None:
    """Log the test settings that decide about boxes and differ from those of the checkpoint's record."""
    pairs = [(f"eval_config.{key}", getattr(used, key), getattr(recorded, key)) for key in DECIDE_BOXES
             if key != "pad" or used.keep_res and recorded.keep_res]
    if not used.keep_res and not recorded.keep_res:
        pairs.append(("dataset_config.input_res_test", size, record.spec.input_size))
    other = [f"{name} {as_flag(value)} (its record: {as_flag(own)})" for name, value, own in pairs if value != own]
    if other:
        LOG.warning("note: %s runs with other settings than in its training, as --config_path or flags say: %s. Its "
                    "boxes differ from those of its own settings", path, ", ".join(other))


def recorded_settings(record: ModelRecord | None, base: EvalConfig) -> EvalConfig:
    """Return the test settings of a checkpoint's record; settings that it does not have come from base."""
    known = {field.name for field in dataclasses.fields(EvalConfig)}
    found = record.evaluation if record else {}
    return dataclasses.replace(base, **{key: value for key, value in found.items() if key in known})
