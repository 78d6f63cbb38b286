"""Conversion of other programs' weights to checkpoints, and back, with a check of all names and shapes."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore.nn.utils import no_init_parameters

from centernet.config.load import PRESETS, Config, load_config
from centernet.config.schema import NetConfig
from centernet.errors import UserError, listed
from centernet.models.centernet import build_centernet
from centernet.weights.average import choose_weights
from centernet.weights.checkpoint import Checkpoint, load_parameters, require_preset
from centernet.weights.name_maps import (
    ABSENT,
    BACKBONE,
    SOURCES,
    is_ignored,
    objection,
    source_names,
    to_our_layout,
    to_their_layout,
)
from centernet.weights.transfer import HM_AND_WH_HEADS, HM_HEADS


@dataclass(frozen=True)
class Fit:
    """Comparison of the tensors of a file with the parameters of a network.

    Attributes:
        names: our name -> name in the file, or ABSENT.
        missing: our names without a tensor.
        reshaped: our names with a tensor of another shape.
        unexpected: tensors that the network does not have.
        ignored: tensors that a detector does not need.
    """

    names: dict[str, str]
    missing: tuple[str, ...]
    reshaped: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Return whether all names and shapes match."""
        return not (self.missing or self.reshaped or self.unexpected)

    @property
    def but_categories(self) -> bool:
        """Return whether all names and shapes match, except perhaps the number of categories."""
        return not (self.missing or self.unexpected) and all(HM_AND_WH_HEADS.match(name) for name in self.reshaped)

    def lines(self) -> list[str]:
        """Return lines with the numbers of tensors."""
        zeros = [ours for ours, theirs in self.names.items() if theirs == ABSENT]
        groups = (("tensors converted", [theirs for theirs in self.names.values() if theirs != ABSENT]),
                  ("parameters that the source does not have, set to zero", zeros),
                  ("tensors not needed and left out", self.ignored))
        return [f"{len(names):>6} {what} ({listed(names)})"
                for what, names in groups if names]


def skeleton(net: NetConfig, num_classes: int) -> nn.Cell:
    """Build the network without values: this is fast, and the values are loaded later."""
    with no_init_parameters():
        return build_centernet(net, num_classes)


def part_for(source: str, network: nn.Cell) -> nn.Cell:
    """Return the part of a network for which a source has weights."""
    return network.backbone if SOURCES[source].backbone_knows else network


def fit(tensors: dict[str, np.ndarray], source: str, net: NetConfig, cell: nn.Cell) -> Fit:
    """Compare a file's tensors with the parameters of an nn.Cell: a network or its backbone."""
    shapes = {parameter.name: tuple(parameter.shape) for parameter in cell.get_parameters()}
    names = {ours: _in_file(theirs, tensors) for ours, theirs in source_names(source, net, shapes).items()}
    wanted = set(names.values())
    others = [name for name in tensors if name not in wanted]
    return Fit(names, tuple(ours for ours, theirs in names.items() if theirs != ABSENT and theirs not in tensors),
               tuple(ours for ours, theirs in names.items()
                     if theirs in tensors and tensors[theirs].shape != shapes[ours]),
               tuple(name for name in others if not is_ignored(source, name)),
               tuple(name for name in others if is_ignored(source, name)))


def convert(tensors: dict[str, np.ndarray], source: str, config: Config, cell: nn.Cell, path: Path) -> Fit:
    """Load all parameters of an nn.Cell from the tensors of a source.

    Args:
        tensors: name -> array, see foreign_files.read_weights.
        source: a key of SOURCES.
        config: configuration of the network.
        cell: skeleton of the network, or its backbone.
        path: the file, for messages.

    Raises:
        UserError: a tensor is missing, has another shape, does not belong to the network, or holds NaN or infinity.
    """
    if problem := objection(source, config.net_config):
        raise UserError(f"{problem}\n{_advice(tensors, source, config.preset, path)}")
    found = fit(tensors, source, config.net_config, cell)
    if found.but_categories and found.reshaped:
        raise UserError(_category_message(tensors, found, path))
    if not found.exact:
        raise UserError(_misfit_message(tensors, source, config, cell, found, path))
    broken = [theirs for theirs in found.names.values() if theirs != ABSENT and not np.isfinite(tensors[theirs]).all()]
    if broken:
        raise UserError(f"--input {path}: {len(broken)} tensors contain NaN or infinity, for example {broken[0]}: "
                        "their training had diverged. Use an earlier checkpoint")
    values = {}
    for parameter in cell.get_parameters():
        theirs = found.names[parameter.name]
        value = np.zeros(parameter.shape) if theirs == ABSENT else tensors[theirs]
        value = np.ascontiguousarray(to_our_layout(parameter.name, value), np.float32)
        values[parameter.name] = Parameter(Tensor(value), name=parameter.name)
    load_parameters(cell, values, path)
    return found


def convert_back(checkpoint: Checkpoint, source: str, config: Config, path: Path) -> dict[str, np.ndarray]:
    """Convert a checkpoint of this program to a source's tensors, in float32, without the optimizer's state.

    Raises:
        UserError: the checkpoint has another network than the configuration, or the source has no such network.
    """
    if problem := objection(source, config.net_config):
        raise UserError(problem)
    if not SOURCES[source].backbone_knows and all(name.startswith(BACKBONE) for name in checkpoint.parameters):
        others = " or ".join(name for name, about in SOURCES.items() if about.backbone_knows)
        raise UserError(f"checkpoint {path} contains only a backbone, but --source {source} needs a complete detector: "
                        f"use the source that the backbone came from, {others}")
    if checkpoint.record:
        require_preset(checkpoint.record, config.net_config, path)
    network = skeleton(config.net_config, _num_classes(checkpoint))
    checkpoint = choose_weights(checkpoint, network, config.weights, path)
    cell = part_for(source, network)
    load_parameters(cell, checkpoint.parameters, path)
    values = {parameter.name: parameter.asnumpy() for parameter in cell.get_parameters()}
    names = source_names(source, config.net_config, values)
    for ours in (ours for ours, theirs in names.items() if theirs == ABSENT):
        # The source has no bias before a batch norm. A bias only shifts the mean that the batch norm subtracts.
        mean = ours.replace(".0.bias", ".1.moving_mean")
        values[mean] = values[mean] - values[ours]
    return {theirs: np.ascontiguousarray(to_their_layout(ours, values[ours]))
            for ours, theirs in names.items() if theirs != ABSENT}


def _in_file(theirs: str, tensors: dict[str, np.ndarray]) -> str:
    """Return the name of a tensor in a file. A file may have only averaged tensors: prefix ema_, "_" for each dot."""
    averaged = "ema_" + theirs.replace(".", "_")
    return averaged if theirs not in tensors and averaged in tensors else theirs


def _num_classes(checkpoint: Checkpoint) -> int:
    if checkpoint.record:
        return len(checkpoint.record.spec.categories)
    biases = sorted(name for name in checkpoint.parameters if HM_HEADS.match(name) and name.endswith(".bias"))
    return checkpoint.parameters[biases[-1]].shape[0] if biases else 1


def _category_message(tensors: dict[str, np.ndarray], found: Fit, path: Path) -> str:
    ours = next(name for name in reversed(found.reshaped) if ".hm." in name)
    return (f"--input {path} detects {tensors[found.names[ours]].shape[0]} categories, but the configuration has "
            "another number. Give their names: --category_file FILE (the COCO-format annotation file of the training), "
            "or --dataset_config.coco_classes NAME NAME ...")


def _misfit_message(tensors: dict[str, np.ndarray], source: str, config: Config, cell: nn.Cell, found: Fit,
                    path: Path) -> str:
    shapes = {parameter.name: tuple(parameter.shape) for parameter in cell.get_parameters()}
    reshaped = [f"{found.names[ours]} {tensors[found.names[ours]].shape}, expected {shapes[ours]}"
                for ours in found.reshaped]
    groups = (("missing", [found.names[ours] for ours in found.missing]), ("of another shape", reshaped),
              ("in the file that the network does not have", found.unexpected))
    lines = [f"{len(names)} {what}: {'; '.join(names[:3])}{'; ...' if len(names) > 3 else ''}"
             for what, names in groups if names]
    listed = "\n  - ".join(lines)
    return (f"--input {path} does not fit --source {source} and preset {config.preset or 'none'}, a network of "
            f"{len(shapes)} tensors:\n  - {listed}\n{_advice(tensors, source, config.preset, path)}")


def _advice(tensors: dict[str, np.ndarray], source: str, preset: str, path: Path) -> str:
    fitting = next(_presets_that_fit(tensors, source, preset), None)
    if fitting:
        return f"{path} fits --source {fitting[0]} --config_path {fitting[1]}."
    return (f"No source and preset in configs/ fits {path}: is it a CenterNet detector with the backbone and neck of a "
            "preset?")


def _presets_that_fit(tensors: dict[str, np.ndarray], source: str, preset: str) -> Iterator[tuple[str, str]]:
    """Yield pairs of source and preset file that match a file's tensors, with the most probable pair first."""
    networks = []
    for path in sorted(PRESETS.glob("*.yaml")):
        net = load_config("convert_weights", ["--config_path", str(path)], "").net_config
        networks.append((path.name, net, skeleton(net, 80)))
    for other in sorted(SOURCES, key=lambda name: name != source):
        # First the given preset, then the presets of the source, which have its colour order, mean and std.
        for name, net, network in sorted(networks, key=lambda row: (row[0] != f"{preset}.yaml",
                                                                    not row[0].startswith(other))):
            if not objection(other, net) and fit(tensors, other, net, part_for(other, network)).but_categories:
                yield other, f"configs/{name}"
