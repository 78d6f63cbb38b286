"""Transfer learning: initial weights from a detector with other categories, or from an ImageNet backbone."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
from mindspore import Parameter, nn

from centernet.errors import UserError, bullets, listed
from centernet.program import program
from centernet.weights.checkpoint import Checkpoint
from centernet.weights.name_maps import BACKBONE, NECK

# Heads whose shapes depend on the number of categories (those of wh with cat_spec_wh). In a network with several
# stacks, their names begin with the stack's number.
HM_HEADS = re.compile(r"heads\.(\d+\.)?hm\.")
HM_AND_WH_HEADS = re.compile(r"heads\.(\d+\.)?(hm|wh)\.")
NECK_AND_HEADS = re.compile(r"(neck|heads)\.")
BOX_HEADS = re.compile(r"heads\.(\d+\.)?(wh|reg|ltrb)\.")
IOU_HEADS = re.compile(r"heads\.(\d+\.)?iou\.")


@dataclass(frozen=True)
class Transfer:
    """Names of the parameters, grouped by the result of a transfer.

    Attributes:
        loaded: loaded from the file.
        dropped: in the file, but left out on purpose.
        missing: parameters of the network that were not loaded, so they keep their initial values.
        unused: in the file, but not in the network (an optimizer's state, a classifier).
    """

    loaded: tuple[str, ...]
    dropped: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def table(self) -> str:
        """Return a table with the numbers for each part of the network, and the names of dropped and missing ones."""
        parts = sorted({_part(name) for name in (*self.loaded, *self.dropped, *self.missing)})
        rows = [f"{'part':<12}{'loaded':>8}{'dropped':>9}{'missing':>9}"]
        rows += [f"{part:<12}" + "".join(f"{sum(_part(name) == part for name in names):>{width}}" for names, width in
                                         ((self.loaded, 8), (self.dropped, 9), (self.missing, 9))) for part in parts]
        for word, names in (("dropped", self.dropped), ("missing", self.missing)):
            if names:
                rows.append(f"{word}: {listed(names, 12)}")
        if self.unused:
            rows.append(f"not used from the file: {len(self.unused)} ({listed(self.unused)})")
        return "\n".join(rows)


def load_for_fine_tuning(network: nn.Cell, checkpoint: Checkpoint, cat_spec_wh: bool, path: str | Path) -> Transfer:
    """Load a detector with other categories, without the heads that have an output for each category.

    These are the hm heads and, with cat_spec_wh, the wh heads. If the file has none of the network's box heads, it has
    the other kind of them (net_config.box_head), and those of the network are new, too. The same holds for the heads of
    the IoU (net_config.iou_score). If the file's neck is of another kind, the neck and all heads are new.

    Raises:
        UserError: a parameter of another part is missing or has another shape.
    """
    own = _parameters(network)
    is_new = _new_parts(own, checkpoint, cat_spec_wh)
    kept = {name: value for name, value in checkpoint.parameters.items() if not is_new(name)}
    absent = [name for name in own if name not in kept and not is_new(name)]
    if absent:
        raise UserError(f"checkpoint {path} lacks {len(absent)} parameters of the network, for example {absent[0]}: "
                        "use the --config_path of its training")
    loaded = _load(own, kept, path)
    dropped = tuple(name for name in checkpoint.parameters if is_new(name))
    return Transfer(loaded, dropped, tuple(name for name in own if is_new(name)),
                    tuple(name for name in kept if name not in own))


def load_backbone(network: nn.Cell, checkpoint: Checkpoint, path: str | Path, partial: bool = False) -> Transfer:
    """Load the backbone from a classifier's checkpoint. Names may have the prefix "backbone.".

    The names are those of torchvision, of the model zoo, which calls the shortcuts down_sample_layer, or of MindCV,
    which calls them down_sample.

    Args:
        network: the detector.
        checkpoint: the classifier's parameters.
        path: its file, for messages.
        partial: allow that parameters of the backbone are missing; they keep their values.

    Raises:
        UserError: no name matches, a shape differs, or parameters are missing (without partial).
    """
    own = {name: value for name, value in _parameters(network).items() if name.startswith(BACKBONE)}
    names = {_backbone_name(name): name for name in checkpoint.parameters}
    offered = {full: checkpoint.parameters[name] for full, name in names.items()}
    if not own.keys() & offered.keys():
        raise UserError(f"--backbone_checkpoint {path}: none of its {len(offered)} parameters (for example "
                        f"{next(iter(checkpoint.parameters), 'none')}) belongs to the backbone, which has names such "
                        f"as {next(iter(own), 'none')}")
    _require_shapes(own, offered, path)
    missing = tuple(name for name in own if name not in offered)
    unused = tuple(name for full, name in names.items() if full not in own)
    if missing and not partial:
        raise UserError(f"--backbone_checkpoint {path} lacks {len(missing)} of the backbone's {len(own)} parameters "
                        f"({listed(missing)}), and {len(unused)} of its own have no place "
                        f"({listed(unused) or 'none'}). With random values in their place the others lose their "
                        "worth: use a checkpoint of the same backbone, or convert it with "
                        f"{program('convert_weights')}. To start "
                        "nevertheless, add --partial_backbone true")
    loaded = _load(own, offered, path)
    return Transfer(loaded, (), missing, unused)


def _part(name: str) -> str:
    pieces = name.split(".")
    return ".".join(pieces[:2]) if pieces[0] == "heads" else pieces[0]


def _parameters(network: nn.Cell) -> dict[str, Parameter]:
    return {parameter.name: parameter for parameter in network.get_parameters()}


def _backbone_name(name: str) -> str:
    return BACKBONE + re.sub(r"\.down_sample(_layer)?\.", ".downsample.", name.removeprefix(BACKBONE))


def _new_parts(own: Mapping[str, Parameter], checkpoint: Checkpoint, cat_spec_wh: bool) -> Callable[[str], object]:
    """Return a function that tells by a parameter's name whether it is trained anew, see load_for_fine_tuning."""
    necks = [{name for name in names if name.startswith(NECK)} for names in (own, checkpoint.parameters)]
    if all(necks) and necks[0].isdisjoint(necks[1]):
        return NECK_AND_HEADS.match
    new = [HM_AND_WH_HEADS if cat_spec_wh else HM_HEADS]
    new += [heads for heads in (BOX_HEADS, IOU_HEADS)
            if not any(heads.match(name) and name in checkpoint.parameters for name in own)]
    return lambda name: any(heads.match(name) for heads in new)


def _load(own: dict[str, Parameter], offered: dict[str, Parameter], path: str | Path) -> tuple[str, ...]:
    """Copy the parameters that both have, after a check of all shapes. Return their names."""
    common = _require_shapes(own, offered, path)
    for name in common:
        own[name].set_data(ms.Tensor(offered[name].asnumpy().astype(ms.dtype_to_nptype(own[name].dtype))))
    return common


def _require_shapes(own: dict[str, Parameter], offered: dict[str, Parameter], path: str | Path) -> tuple[str, ...]:
    """Return the names that both have. Raise UserError if shapes differ."""
    common = tuple(name for name in own if name in offered)
    wrong = [f"{name}: {tuple(offered[name].shape)} in the file, {tuple(own[name].shape)} in the network"
             for name in common if offered[name].shape != own[name].shape]
    if wrong:
        raise UserError(f"checkpoint {path} holds another network: {len(wrong)} shapes differ:{bullets(wrong)}\n"
                        "Use the configuration (--config_path) of the checkpoint's training.")
    return common
