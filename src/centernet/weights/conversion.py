"""Weights of other programs into checkpoints of ours, and back: every name and every shape is accounted for."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore.nn.utils import no_init_parameters

from centernet.config.load import PRESETS, Config, load_config
from centernet.config.schema import NetConfig
from centernet.errors import UserError
from centernet.models.centernet import build_centernet
from centernet.weights.checkpoint import Checkpoint, load_parameters, require_preset
from centernet.weights.name_maps import (
    ABSENT,
    SOURCES,
    is_ignored,
    objection,
    source_names,
    to_our_layout,
    to_their_layout,
)

# Parameters whose shape the number of categories decides.
BY_CATEGORY = re.compile(r"^heads\.(\d\.)?(hm|wh)\.")


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file and the parameters of a network correspond.

    names: our name -> name in the file, or ABSENT. missing, reshaped: our names without a
    tensor, or with one of another shape. unexpected: tensors that the network has no place
    for. ignored: tensors that a detector does not need.
    """

    names: dict[str, str]
    missing: tuple[str, ...]
    reshaped: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether all corresponds."""
        return not (self.missing or self.reshaped or self.unexpected)

    @property
    def but_categories(self) -> bool:
        """Whether all corresponds but perhaps the number of categories."""
        return not (self.missing or self.unexpected) and all(BY_CATEGORY.match(name) for name in self.reshaped)

    def lines(self) -> list[str]:
        """The counts for the user."""
        zeros = [ours for ours, theirs in self.names.items() if theirs == ABSENT]
        groups = (("tensors converted", [theirs for theirs in self.names.values() if theirs != ABSENT]),
                  ("parameters that the source has not got, set to zero", zeros),
                  ("tensors not needed and left out", self.ignored))
        return [f"{len(names):>6} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
                for what, names in groups if names]


def skeleton(net: NetConfig, num_classes: int) -> nn.Cell:
    """The network with names and shapes, but without values: quick to build, to be loaded into."""
    with no_init_parameters():
        return build_centernet(net, num_classes)


def part_for(source: str, network: nn.Cell) -> nn.Cell:
    """The part of a network that a source has weights for."""
    return network.backbone if SOURCES[source].backbone_knows else network


def fit(tensors: dict[str, np.ndarray], source: str, net: NetConfig, cell: nn.Cell) -> Fit:
    """Compare a file's tensors with the parameters of cell, a network or its backbone."""
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
    """Load every parameter of cell from the tensors of a source.

    Args:
        tensors: name -> array, see from_torch.read_weights.
        source: a key of SOURCES.
        config: names the network.
        cell: its skeleton, or the skeleton's backbone.
        path: of the file, for messages.

    Raises:
        UserError: a tensor is missing, has another shape or no place, or holds NaN or infinity.
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
        raise UserError(f"--input {path}: {len(broken)} tensors hold NaN or infinity, as {broken[0]}: the training "
                        "that wrote them had diverged. Use an earlier checkpoint")
    values = {}
    for parameter in cell.get_parameters():
        theirs = found.names[parameter.name]
        value = np.zeros(parameter.shape) if theirs == ABSENT else tensors[theirs]
        value = np.ascontiguousarray(to_our_layout(parameter.name, value), np.float32)
        values[parameter.name] = Parameter(Tensor(value), name=parameter.name)
    load_parameters(cell, values, path)
    return found


def convert_back(checkpoint: Checkpoint, source: str, config: Config, path: Path) -> dict[str, np.ndarray]:
    """The source's tensors, in float32, from a checkpoint of ours; an optimizer's state is left out.

    Raises:
        UserError: the checkpoint holds another network than the configuration, or the source has no such network.
    """
    if problem := objection(source, config.net_config):
        raise UserError(problem)
    if not SOURCES[source].backbone_knows and all(name.startswith("backbone.") for name in checkpoint.parameters):
        others = " or ".join(name for name, about in SOURCES.items() if about.backbone_knows)
        raise UserError(f"checkpoint {path} holds a backbone alone, and --source {source} takes whole detectors: use "
                        f"the source that the backbone came from, {others}")
    if checkpoint.record:
        require_preset(checkpoint.record, config.net_config, path)
    cell = part_for(source, skeleton(config.net_config, _num_classes(checkpoint)))
    load_parameters(cell, checkpoint.parameters, path)
    values = {parameter.name: parameter.asnumpy() for parameter in cell.get_parameters()}
    names = source_names(source, config.net_config, values)
    for ours in (ours for ours, theirs in names.items() if theirs == ABSENT):
        # A bias in front of a batch norm only moves the mean that is taken away there.
        mean = ours.replace(".0.bias", ".1.moving_mean")
        values[mean] = values[mean] - values[ours]
    return {theirs: np.ascontiguousarray(to_their_layout(ours, values[ours]))
            for ours, theirs in names.items() if theirs != ABSENT}


def _in_file(theirs: str, tensors: dict[str, np.ndarray]) -> str:
    """The name under which a file has a tensor; averaged ones may be all that it has, as ema_ and no dots."""
    averaged = "ema_" + theirs.replace(".", "_")
    return averaged if theirs not in tensors and averaged in tensors else theirs


def _num_classes(checkpoint: Checkpoint) -> int:
    if checkpoint.record:
        return len(checkpoint.record.spec.categories)
    biases = sorted(name for name in checkpoint.parameters if re.match(r"^heads\.(\d\.)?hm\.\d\.bias$", name))
    return checkpoint.parameters[biases[-1]].shape[0] if biases else 1


def _category_message(tensors: dict[str, np.ndarray], found: Fit, path: Path) -> str:
    ours = next(name for name in reversed(found.reshaped) if ".hm." in name)
    return (f"--input {path} detects {tensors[found.names[ours]].shape[0]} categories, not as many as the "
            "configuration names. Name them: --category_file FILE (the COCO-format annotation file that it was trained "
            "with), or --dataset_config.coco_classes NAME NAME ...")


def _misfit_message(tensors: dict[str, np.ndarray], source: str, config: Config, cell: nn.Cell, found: Fit,
                    path: Path) -> str:
    shapes = {parameter.name: tuple(parameter.shape) for parameter in cell.get_parameters()}
    reshaped = [f"{found.names[ours]} {tensors[found.names[ours]].shape}, expected {shapes[ours]}"
                for ours in found.reshaped]
    groups = (("missing", [found.names[ours] for ours in found.missing]), ("of another shape", reshaped),
              ("in the file that the network has no place for", found.unexpected))
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
    """Pairs of source and preset file that a file's tensors fit, the likeliest first."""
    networks = []
    for path in sorted(PRESETS.glob("*.yaml")):
        net = load_config("convert_weights", ["--config_path", str(path)], "").net_config
        networks.append((path.name, net, skeleton(net, 80)))
    for other in sorted(SOURCES, key=lambda name: name != source):
        # The one that was asked for; then presets that bear the source's name, and have its colours and statistics.
        for name, net, network in sorted(networks, key=lambda row: (row[0] != f"{preset}.yaml",
                                                                    not row[0].startswith(other))):
            if not objection(other, net) and fit(tensors, other, net, part_for(other, network)).but_categories:
                yield other, f"configs/{name}"
