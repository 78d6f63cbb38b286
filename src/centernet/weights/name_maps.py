"""Names of the parameters in other programs: tables of rules from our names to theirs.

The rules have one direction. The other direction is the inverse map over the parameters of a network. It is an error
if the rules give two of our parameters the same name.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from centernet.config.schema import NetConfig
from centernet.errors import UserError
from centernet.model_files import FOREIGN
from centernet.program import program

Rules = tuple[tuple[str, str], ...]

# PyTorch code has the channels of the offset layer as (y, x) pairs and then masks. These are their indices in our
# order: [x of 9 taps | y of 9 taps | masks].
OFFSET_ORDER = (*range(1, 18, 2), *range(0, 18, 2), *range(18, 27))
OFFSET_LAYER = ".offset."

PYTORCH_TAILS: Rules = ((r"\.gamma$", ".weight"), (r"\.beta$", ".bias"),
                        (r"\.moving_mean$", ".running_mean"), (r"\.moving_variance$", ".running_var"))

# Patterns of PyTorch's counters: of training steps, and of averaged states.
COUNTERS = (r"\.num_batches_tracked$", r"^(steps|n_averaged)$")

BACKBONE, NECK = "backbone.", "neck."  # what the names of parameters begin with
# Replacement of a parameter that the other program does not have, and that is zero here.
ABSENT = ""


def _up_stages(prefix: str, layers_of_stage: int) -> Rules:
    """Return the rules of a neck that is one list of layers (convolution, batch norm, ReLU).

    Each stage has layers_of_stage convolutions; the last one is the transposed convolution.
    """
    sides = ("before", "up")[2 - layers_of_stage:]
    return tuple((rf"^neck\.{stage}\.{side}\.{part}\.", f"{prefix}{3 * (layers_of_stage * stage + index) + part}.")
                 for stage in range(3) for index, side in enumerate(sides) for part in (0, 1))


def _dla(head: Rules) -> Rules:
    """Return the rules of DLA. Its merges are numbered from 1; `head` has the rules of its 3x3 and 1x1 layers."""
    merges = tuple((rf"\.merges\.{index}\.(\w+)\.", rf".\1_{index + 1}.") for index in range(3))
    return (*head, (r"^backbone\.", "base."), (r"^neck\.ida\.", "dla_up.ida_"), (r"^neck\.last\.", "ida_up."),
            (r"\.tree1\.downsample\.1\.", ".project."), (r"\.root\.0\.", ".root.conv."), (r"\.root\.1\.", ".root.bn."),
            *merges, (r"^heads\.", ""))


_RESNET: Rules = ((r"^backbone\.", ""), (r"^heads\.", ""))
_DEFORM: Rules = ((r"^(neck\..*)\.offset\.", r"\1.conv_offset_mask."),)
_MMDET: Rules = tuple((rf"^neck\.{stage}\.{side}\.{part}\.", f"neck.deconv_layers.{2 * stage + index}.{name}.")
                      for stage in range(3) for index, side in enumerate(("before", "up"))
                      for part, name in enumerate(("conv", "bn"))) + (
    (r"^heads\.hm\.", "bbox_head.heatmap_head."), (r"^heads\.wh\.", "bbox_head.wh_head."),
    (r"^heads\.reg\.", "bbox_head.offset_head."))
_HOURGLASS: Rules = (
    (r"^heads\.(\d)\.(\w+)\.0\.", r"\2.\1.0.conv."), (r"^heads\.(\d)\.(\w+)\.2\.", r"\2.\1.1."),
    (r"^backbone\.stem\.0\.0\.", "pre.0.conv."), (r"^backbone\.stem\.0\.1\.", "pre.0.bn."),
    (r"^backbone\.stem\.", "pre."), (r"^backbone\.stacks\.", "kps."),
    (r"^backbone\.after\.(\d)\.0\.", r"cnvs.\1.conv."), (r"^backbone\.after\.(\d)\.1\.", r"cnvs.\1.bn."),
    (r"^backbone\.between\.", "inters."), (r"^backbone\.from_input\.", "inters_."),
    (r"^backbone\.from_output\.", "cnvs_."), (r"\.keep\.", ".up1."), (r"\.down\.", ".low1."),
    (r"\.inner\b", ".low2"), (r"\.up\.", ".low3."), (r"\.downsample\.", ".skip."))


@dataclass(frozen=True)
class Source:
    """A program whose weights are read and written.

    Attributes:
        title: name of the program, for messages.
        networks: (backbone, neck) -> rules, applied one after the other to our names; backbone is "resnet" for all
            ResNets.
        ignored: patterns of tensors that do not affect the detector's output.
        backbone_knows: only for sources of backbones: the images of their training, for the log.
        stem_pool: padding of the stem's pooling.
        suffixes: suffixes of the program's files.
        wrapped: the program expects the weights in the entry "state_dict" beside an "epoch".
    """

    title: str
    networks: dict[tuple[str, str], Rules]
    ignored: tuple[str, ...]
    backbone_knows: str = ""
    stem_pool: str = "pad"
    suffixes: tuple[str, ...] = FOREIGN
    wrapped: bool = False


_SHORTCUTS = ("shortcut", "shortcut_deform")  # only this program has these necks
_IMAGENET = "RGB images with ImageNet's mean and std: docs/weights.md has the flags"

SOURCES = {
    "official": Source("the paper's code", {
        ("resnet", "none"): _RESNET + _up_stages("deconv_layers.", 1) + PYTORCH_TAILS,
        ("resnet", "deform"): _DEFORM + _RESNET + _up_stages("deconv_layers.", 2) + PYTORCH_TAILS,
        ("dla34", "deform"): _dla(((r"\.(proj|node)\.0\.offset\.", r".\1.conv.conv_offset_mask."),
                                   (r"\.(proj|node)\.0\.", r".\1.conv."),
                                   (r"\.(proj|node)\.1\.", r".\1.actf.0."))) + PYTORCH_TAILS,
        ("dlav0_34", "conv"): _dla(()) + PYTORCH_TAILS,
        ("hourglass104", "none"): _HOURGLASS + PYTORCH_TAILS,
    }, (r"^(base\.)?fc\.", r"^base\.level[34]\.project\.", *COUNTERS), wrapped=True),
    "mmdet": Source("mmdetection", {
        ("resnet", "conv"): _MMDET + PYTORCH_TAILS,
        # Its deformable layers have no bias, because the batch norm after them would subtract it.
        ("resnet", "deform"): (((r"^neck\.\d\.before\.0\.bias$", ABSENT), (r"\.offset\.", ".conv_offset.")) + _MMDET
                               + PYTORCH_TAILS),
    }, (r"^ema_", *COUNTERS), wrapped=True),
    "torchvision": Source("torchvision's classifiers", {
        ("resnet", neck): ((r"^backbone\.", ""),) + PYTORCH_TAILS for neck in ("none", "conv", "deform", *_SHORTCUTS)
    }, (r"^fc\.", *COUNTERS), _IMAGENET),
    "dla": Source("DLA's ImageNet classifiers", {
        network: ((r"^backbone\.", ""),) + _dla(()) + PYTORCH_TAILS
        for network in (*(("dla34", neck) for neck in ("deform", "conv", *_SHORTCUTS)),
                        ("dlav0_34", "conv"))
    }, (r"^fc\.", r"^level[34]\.project\.", *COUNTERS), _IMAGENET),
    # Both detectors have further layers on the hourglass; the paper's code renames ExtremeNet's heads.
    "extremenet": Source("ExtremeNet and CornerNet", {("hourglass104", "none"): _HOURGLASS + PYTORCH_TAILS},
                         (r"^([tlbr]|ct|tl|br)_(cnvs|heats|tags|regrs)\.", r"^(hm|reg)_[tlbrc]\.", *COUNTERS),
                         "BGR images with COCO's mean and std, as official_hourglass uses them", wrapped=True),
    "modelzoo": Source("the model zoo's centernet_resnet50_v1", {
        ("resnet", "none"): (_up_stages("network.resnet50.deconv_layers.", 1)
                             + ((r"^backbone\.", "network.resnet50."), (r"^heads\.(\w+)\.", r"network.\1_fn."))),
    }, (r"^moment[12]\.", r"^(beta[12]_power|global_step|learning_rate|epoch_num|step_num)$"),
        stem_pool="same", suffixes=(".ckpt",)),
}


def objection(source: str, net: NetConfig) -> str:
    """Return a message why a source cannot have weights of a network, with advice; "" if it can."""
    about = SOURCES[source]
    if _kind(net) not in about.networks:
        known = "; ".join(f"{backbone} with neck {neck}" for backbone, neck in about.networks)
        return (f"--source {source}: {about.title} has no network with net_config.backbone {net.backbone} and "
                f"net_config.neck {net.neck}; it has: {known}.")
    if net.box_head != "wh_reg" and not about.backbone_knows:
        return (f"--source {source}: {about.title} has only detectors with net_config.box_head wh_reg, the "
                f"configuration has {net.box_head}. Convert them with --net_config.box_head wh_reg; "
                f"{program('train')} --fine_tune true takes such a checkpoint for another box head.")
    if net.stem_pool != about.stem_pool:
        return (f"--source {source}: {about.title} trains with net_config.stem_pool {about.stem_pool}, the "
                f"configuration has {net.stem_pool}. Add --net_config.stem_pool {about.stem_pool}.")
    return ""


def rules_for(source: str, net: NetConfig) -> Rules:
    """Return the rules of a source for a network. Raise UserError if there is an objection."""
    if problem := objection(source, net):
        raise UserError(problem)
    return SOURCES[source].networks[_kind(net)]


def _kind(net: NetConfig) -> tuple[str, str]:
    return "resnet" if net.backbone.startswith("resnet") else net.backbone, net.neck


def source_names(source: str, net: NetConfig, names: Iterable[str]) -> dict[str, str]:
    """Return our parameters' names -> the source's names; ABSENT for parameters that the source does not have.

    Raises:
        UserError: see rules_for.
        ValueError: the rules give two parameters the same name.
    """
    rules, result = rules_for(source, net), {}
    if SOURCES[source].backbone_knows:
        names = [name for name in names if name.startswith(BACKBONE)]
    for name in names:
        result[name] = apply_rules(rules, name)
    theirs = [name for name in result.values() if name != ABSENT]
    if len(set(theirs)) != len(theirs):
        raise ValueError(f"the rules of {source} are not one to one")
    return result


def apply_rules(rules: Rules, name: str) -> str:
    """Apply all rules to a name. ABSENT stays ABSENT."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def is_ignored(source: str, name: str) -> bool:
    """Return whether a detector does not need this tensor of the source."""
    return any(re.search(pattern, name) for pattern in SOURCES[source].ignored)


def to_our_layout(name: str, value: np.ndarray) -> np.ndarray:
    """Return the value of our parameter `name` from a source's. Only the channels of offset layers are reordered."""
    return value[list(OFFSET_ORDER)] if OFFSET_LAYER in name else value


def to_their_layout(name: str, value: np.ndarray) -> np.ndarray:
    """Return the source's value of our parameter `name`: the inverse of to_our_layout."""
    return value[np.argsort(OFFSET_ORDER)] if OFFSET_LAYER in name else value
