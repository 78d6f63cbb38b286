"""Checkpoints: written completely or not at all, with a record of their network and categories."""
from __future__ import annotations

import binascii
import contextlib
import dataclasses
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from centernet.categories import Categories, categories_from_json
from centernet.config.load import Config
from centernet.config.schema import NetConfig
from centernet.documents import parse_object
from centernet.errors import UserError, bullets
from centernet.files import UNFINISHED, mindspore_partials, replacing
from centernet.model_files import require_checkpoint
from centernet.program import program
from centernet.spec import ModelSpec, configured_spec
from centernet.weights.mindspore_files import parse_checkpoint
from centernet.weights.name_maps import BACKBONE
from centernet.weights.recorded import checked
from centernet.weights.way_out import way_out

LOG = logging.getLogger("centernet")

# Keys of net_config that determine the computation of the network. The other keys concern the losses.
ARCHITECTURE = ("backbone", "block_class", "num_stacks", "down_ratio", "neck", "neck_filters", "head_conv",
                "stem_pool", "cat_spec_wh", "reg_offset", "box_head", "iou_score")
# The values in checkpoints from before these settings existed.
EARLIER = {"box_head": "wh_reg", "iou_score": False}
# Keys of what is new if a detector is fine-tuned for another kind of neck, for another box head, or with or without the
# head of the IoU.
AFTER_BACKBONE = ("neck", "neck_filters", "head_conv", "cat_spec_wh", "reg_offset", "box_head", "iou_score")
BOX_HEAD = ("box_head", "cat_spec_wh", "reg_offset", "iou_score")
IOU_HEAD = ("iou_score",)
RECORD_KEY = "model_record"
PROGRESS_KEY = "progress"
# A file that MindSpore saves with crc_check ends with this word and ten bytes, big-endian.
CRC_WORD = b"crc_num"
CRC_TAIL = len(CRC_WORD) + 10


@dataclass(frozen=True)
class ModelRecord:
    """A checkpoint's description of its model: all information that is needed to run it again.

    Attributes:
        preset: preset that the network was built from; "" for the defaults.
        spec: normalisation, categories and the input size of tests.
        network: the ARCHITECTURE keys of net_config as JSON values.
        evaluation: eval_config as JSON values: the test settings of the training. {} in old checkpoints.
    """

    preset: str
    spec: ModelSpec
    network: dict[str, Any]
    evaluation: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return values for json.dumps."""
        spec = self.spec
        return {"preset": self.preset, "categories": spec.categories.to_json(), "network": self.network,
                "mean": spec.mean, "std": spec.std, "to_rgb": spec.to_rgb, "input_res_test": spec.input_size,
                "evaluation": self.evaluation}

    @classmethod
    def from_json(cls, fields: dict[str, Any], source: str) -> ModelRecord:
        """Convert the values of to_json to a record. Raise UserError if a field is missing or wrong."""
        try:
            recorded = {**EARLIER, **fields["network"]}
            network = checked("net_config", {key: recorded[key] for key in ARCHITECTURE})
            data = checked("dataset_config", {key: fields[key] for key in ("mean", "std", "to_rgb", "input_res_test")})
            if min(*data["input_res_test"], network["down_ratio"]) <= 0:
                raise ValueError("input_res_test and down_ratio must be greater than 0")
            height, width = data["input_res_test"]
            spec = ModelSpec(categories_from_json(fields["categories"], source), tuple(data["mean"]),
                             tuple(data["std"]), "RGB" if data["to_rgb"] else "BGR", network["down_ratio"],
                             (height, width))
            evaluation = checked("eval_config", fields.get("evaluation", {}))
            return cls(str(fields["preset"]), spec, network, _tuples(evaluation))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise UserError(f"{source}: in its record of the model, this is missing or wrong: {error}. Was it written "
                            "by another version of this program?") from error


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file: parameters by name, and the record and progress if this program wrote it."""

    parameters: dict[str, Parameter]
    record: ModelRecord | None
    progress: dict[str, Any]


def model_record(config: Config, categories: Categories) -> ModelRecord:
    """Return the record of the configured network."""
    spec = configured_spec(config.dataset_config, config.net_config, categories)
    return ModelRecord(config.preset, spec, _architecture(config.net_config), dataclasses.asdict(config.eval_config))


def save_checkpoint(path: Path, cell: nn.Cell, record: ModelRecord | None, progress: dict[str, Any]) -> None:
    """Write all parameters of an nn.Cell, the record and the progress to path.

    The file appears completely or not at all: it is written to another name in the same folder, flushed to the disk,
    checked by its checksum, and then renamed.

    Args:
        path: the file, NAME.ckpt.
        cell: the parameters to write.
        record: description of the model; None if cell is not a detector.
        progress: state of the training, as JSON values.

    Raises:
        UserError: the folder is not writable, or the disk is full or faulty.
    """
    # The record comes first: then a truncated file still shows that this program wrote it.
    content: dict[str, Any] = {RECORD_KEY: json.dumps(record.to_json())} if record else {}
    content[PROGRESS_KEY] = json.dumps(progress)
    content.update((parameter.name, parameter) for parameter in cell.get_parameters())
    try:
        _remove_own(path)  # of a killed process
        with replacing(path) as unfinished:
            unfinished.touch()  # if this fails, MindSpore does not log its own message in addition
            ms.save_checkpoint(content, str(unfinished), crc_check=True)
            unfinished.chmod(0o644)
            if not _crc_holds(unfinished):
                raise OSError("the written file has a wrong checksum")
    except (OSError, RuntimeError, ValueError) as error:
        _remove_own(path)
        raise UserError(f"the checkpoint {path} could not be written: {str(error).splitlines()[0]}. Is the folder "
                        "writable, and the disk not full? Earlier checkpoints have not been changed.") from error


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this program or of another MindSpore program.

    Raises:
        UserError: the file is missing, truncated, changed, or not a MindSpore checkpoint.
    """
    path = Path(path)
    require_checkpoint(path)
    try:
        intact = _crc_holds(path)
        if intact is False:
            raise UserError(f"checkpoint {path} is damaged: its content does not match its checksum. "
                            "Use another one, or copy it again.")
        data = path.read_bytes()
        content = parse_checkpoint(memoryview(data)[:-CRC_TAIL] if intact else memoryview(data))
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"checkpoint {path} is cut off or is not a MindSpore checkpoint ({path.stat().st_size} bytes, "
                        f"{error}): use another one, or copy it again") from error
    record, progress = content.pop(RECORD_KEY, None), content.pop(PROGRESS_KEY, None)
    ours = record is not None or progress is not None  # a backbone has no record
    if ours and not intact:
        raise UserError(f"checkpoint {path} is cut off: its end with the checksum is missing. "
                        "Use another one, or copy it again.")
    if not ours:
        LOG.warning("%s has no record of its categories and network%s: they cannot be checked", path,
                    "" if intact else ", and no checksum")
    parameters = {name: _parameter(name, value) for name, value in content.items() if not isinstance(value, str)}
    return Checkpoint(parameters,
                      None if record is None else ModelRecord.from_json(_described(record, path), str(path)),
                      {} if progress is None else _described(progress, path))


def _parameter(name: str, value: np.ndarray) -> Parameter:
    """Return a parameter; numbers in half or double precision become float32, which every network here has."""
    if value.dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = value.astype(np.float32, copy=False)
    return Parameter(Tensor(value), name=name)


def _described(value: np.ndarray | str, path: Path) -> dict[str, Any]:
    return parse_object(value if isinstance(value, str) else "", f"checkpoint {path}: its description of the model and "
                        "the training", "use another one, or copy it again")


def network_config(record: ModelRecord, base: NetConfig) -> NetConfig:
    """Return base with the architecture of a record."""
    return dataclasses.replace(base, **_tuples(record.network))


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """Convert the lists of JSON to the tuples of the configuration."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def renewed(record: ModelRecord, net: NetConfig) -> tuple[str, ...]:
    """Return the keys that may differ when a detector is fine-tuned for this network; () if all must be equal.

    A neck with shortcuts in place of one without, or the reverse, is trained anew with all heads; another box head or a
    head of the IoU without the rest.
    """
    if network_config(record, net).shortcuts != net.shortcuts:
        return AFTER_BACKBONE
    if record.network["box_head"] != net.box_head:
        return BOX_HEAD
    return IOU_HEAD if record.network["iou_score"] != net.iou_score else ()


def require_preset(record: ModelRecord, net: NetConfig, path: str | Path, fine_tune: bool | None = None) -> None:
    """Raise UserError unless a checkpoint's network is the configured one. The message contains the correct flags.

    With fine_tune, the parts that are trained anew may be of another kind, see renewed. None: this is no start of a
    training, and the message does not offer it.
    """
    wanted = _architecture(net)
    free = renewed(record, net) if fine_tune else ()
    other = {key: value for key, value in record.network.items() if value != wanted[key] and key not in free}
    if not other:
        return
    listed = ", ".join(f"net_config.{key} {value!r} (configured: {wanted[key]!r})" for key, value in other.items())
    retrained = fine_tune is False and other.keys() <= set(renewed(record, net))
    raise UserError(f"checkpoint {path} holds another network than the configuration: {listed}. "
                    f"{way_out(record.preset, record.network, other, retrained)}")


def load_parameters(cell: nn.Cell, parameters: dict[str, Parameter], path: str | Path) -> None:
    """Copy all parameters of an nn.Cell from `parameters` by name. Further entries (the optimizer's) are ignored.

    Raises:
        UserError: parameters are missing or have another shape. Then nothing is loaded.
    """
    own = {parameter.name: parameter for parameter in cell.get_parameters()}
    problems = [f"{name} {tuple(value.shape)} is missing" for name, value in own.items() if name not in parameters]
    problems += [f"{name} is {parameters[name].dtype} {tuple(parameters[name].shape)}, but in the network "
                 f"{value.dtype} {tuple(value.shape)}" for name, value in own.items() if name in parameters
                 and (parameters[name].shape, parameters[name].dtype) != (value.shape, value.dtype)]
    if problems:
        alone = all(name.startswith(BACKBONE) for name in parameters)
        advice = (f"It contains only a backbone: train a detector from it with {program('train')} "
                  "--backbone_checkpoint." if alone
                  else "Use the --config_path and the categories of its training.")
        raise UserError(f"checkpoint {path} does not fit: {len(problems)} of {len(own)} parameters "
                        f"differ:{bullets(problems)}\n{advice}")
    ms.load_param_into_net(cell, {name: parameters[name] for name in own}, strict_load=True)


def _architecture(net: NetConfig) -> dict[str, Any]:
    values = {key: getattr(net, key) for key in ARCHITECTURE}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _crc_holds(path: Path) -> bool | None:
    """Return whether the checksum at the end of a file is correct; None if there is no checksum.

    MindSpore also checks it, but reports a wrong checksum as a missing permission.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - CRC_TAIL, 0))
        tail = file.read()
        if not tail.startswith(CRC_WORD) or len(tail) != CRC_TAIL:
            return None
        file.seek(0)
        crc, left = 0, size - CRC_TAIL
        while left:
            block = file.read(min(left, 1 << 24))
            crc = binascii.crc32(block, crc)
            left -= len(block)
    return crc == int.from_bytes(tail[len(CRC_WORD):], "big")


def remove_unfinished(folder: Path) -> None:
    """Delete all unfinished files of a folder, because the disk may be full. Only for a process that owns the folder.

    In other folders they may be those of a process that is writing now. MindSpore first writes a file with .tmp.
    """
    for left in folder.glob(f"{UNFINISHED}*"):
        if left.suffix in (".ckpt", ".tmp"):
            with contextlib.suppress(OSError):
                left.unlink()


def _remove_own(path: Path) -> None:
    """Delete the unfinished files of one checkpoint."""
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    for left in (unfinished, *mindspore_partials(unfinished)):
        with contextlib.suppress(OSError):
            left.unlink()
