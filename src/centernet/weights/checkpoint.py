"""Checkpoints: whole or not there at all, and telling what network and categories they hold."""
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
from mindspore import Parameter, nn

from centernet.categories import Categories, categories_from_json
from centernet.config.load import Config
from centernet.config.schema import NetConfig
from centernet.errors import UserError
from centernet.files import UNFINISHED, replacing
from centernet.spec import ModelSpec, configured_spec

LOG = logging.getLogger("centernet")

# Keys of net_config that say what is computed; the others weigh losses.
ARCHITECTURE = ("backbone", "block_class", "num_stacks", "down_ratio", "neck", "neck_filters", "head_conv",
                "stem_pool", "cat_spec_wh", "reg_offset")
RECORD_KEY = "model_record"
PROGRESS_KEY = "progress"
# MindSpore ends a file that is saved with crc_check by this word and ten bytes, big-endian.
CRC_WORD = b"crc_num"
CRC_TAIL = len(CRC_WORD) + 10


@dataclass(frozen=True)
class ModelRecord:
    """What a network is and what it was trained on: all that is needed to run it again.

    Attributes:
        preset: configuration overlay that the network was built from; "" for the defaults.
        spec: normalisation, categories and the input size of tests.
        network: the ARCHITECTURE keys of net_config as plain JSON values.
        evaluation: eval_config as plain JSON values: how the model was meant to be tested; {} in checkpoints that
            were written before there was such an entry.
    """

    preset: str
    spec: ModelSpec
    network: dict[str, Any]
    evaluation: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values for json.dumps."""
        spec = self.spec
        return {"preset": self.preset, "categories": spec.categories.to_json(), "network": self.network,
                "mean": spec.mean, "std": spec.std, "to_rgb": spec.to_rgb, "input_res_test": spec.input_size,
                "evaluation": self.evaluation}

    @classmethod
    def from_json(cls, fields: dict[str, Any], source: str) -> ModelRecord:
        """Read to_json's form; raises UserError naming source if a field is missing or wrong."""
        try:
            network = {key: fields["network"][key] for key in ARCHITECTURE}
            height, width = fields["input_res_test"]
            spec = ModelSpec(categories_from_json(fields["categories"], source), tuple(fields["mean"]),
                             tuple(fields["std"]), "RGB" if fields["to_rgb"] else "BGR", network["down_ratio"],
                             (height, width))
            return cls(str(fields["preset"]), spec, network, _tuples(fields.get("evaluation", {})))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{source}: its record of the model lacks or misstates {error}; was it written by "
                            "another version of this program?") from error


@dataclass(frozen=True)
class Checkpoint:
    """A file's content: parameters by name, and the record and progress if this program wrote it."""

    parameters: dict[str, Parameter]
    record: ModelRecord | None
    progress: dict[str, Any]


def model_record(config: Config, categories: Categories) -> ModelRecord:
    """The record of the network that a configuration describes."""
    spec = configured_spec(config.dataset_config, config.net_config, categories)
    return ModelRecord(config.preset, spec, _architecture(config.net_config), dataclasses.asdict(config.eval_config))


def save_checkpoint(path: Path, cell: nn.Cell, record: ModelRecord | None, progress: dict[str, Any]) -> None:
    """Write every parameter of cell, the record (None: cell is no detector) and the progress (simple values) to path.

    The file appears complete or not at all: it is written beside path, flushed to the
    disk, read back against its checksum, and only then takes the name.

    Raises:
        UserError: the folder cannot be written to, or the disk is full or faulty.
    """
    # First the record: a file that was cut off later then still shows whose it is.
    content: dict[str, Any] = {RECORD_KEY: json.dumps(record.to_json())} if record else {}
    content[PROGRESS_KEY] = json.dumps(progress)
    content.update((parameter.name, parameter) for parameter in cell.get_parameters())
    try:
        _remove_unfinished(path.parent)  # what a killed process left behind
        with replacing(path) as unfinished:
            unfinished.touch()  # if this fails, the framework would log a message of its own, too
            ms.save_checkpoint(content, str(unfinished), crc_check=True)
            unfinished.chmod(0o644)
            if not _crc_holds(unfinished):
                raise OSError("what was read back is not what was written")
    except (OSError, RuntimeError, ValueError) as error:
        _remove_unfinished(path.parent)
        raise UserError(f"the checkpoint {path} could not be written: {str(error).splitlines()[0]}. Is the folder "
                        "writable, and the disk not full? Earlier checkpoints are untouched.") from error


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint, of this program or any other MindSpore one.

    Raises:
        UserError: the file is missing, cut off, altered, or not a MindSpore checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        names = ", ".join(sorted(file.name for file in path.glob("*.ckpt"))) or "no .ckpt file"
        raise UserError(f"checkpoint {path} is a folder: name one file; it has {names}")
    if not path.is_file():
        raise UserError(f"checkpoint {path}: there is no such file{_neighbours(path)}")
    if path.suffix != ".ckpt":
        raise UserError(f"checkpoint {path}: expected a MindSpore checkpoint, whose name ends in .ckpt")
    try:
        intact = _crc_holds(path)
        if intact is False:
            raise UserError(f"checkpoint {path} is damaged: its content does not match its checksum. "
                            "Use another one, or copy it again.")
        content = ms.load_checkpoint(str(path))
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise UserError(f"checkpoint {path} is cut off or is not a MindSpore checkpoint "
                        f"({path.stat().st_size} bytes): use another one, or copy it again") from error
    text, progress = content.pop(RECORD_KEY, ""), content.pop(PROGRESS_KEY, "")
    ours = text or progress  # a backbone has no record
    if ours and not intact:
        raise UserError(f"checkpoint {path} is cut off: its end with the checksum is missing. "
                        "Use another one, or copy it again.")
    if not ours:
        LOG.warning("%s tells neither its categories nor its network%s: it is taken as it is", path,
                    "" if intact else " and has no checksum")
    parameters = {name: value for name, value in content.items() if isinstance(value, Parameter)}
    record = ModelRecord.from_json(json.loads(text), str(path)) if text else None
    return Checkpoint(parameters, record, json.loads(progress or "{}"))


def network_config(record: ModelRecord, base: NetConfig) -> NetConfig:
    """Base with the architecture of a record."""
    return dataclasses.replace(base, **_tuples(record.network))


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that the configuration has."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def require_preset(record: ModelRecord, net: NetConfig, path: str | Path) -> None:
    """Raise UserError unless a checkpoint's network is the configured one; the message has the flags that mend it."""
    wanted = _architecture(net)
    other = {key: value for key, value in record.network.items() if value != wanted[key]}
    if not other:
        return
    listed = ", ".join(f"net_config.{key} {value!r} (configured: {wanted[key]!r})" for key, value in other.items())
    flags = " ".join(f"--net_config.{key} {_as_flag(value)}" for key, value in other.items())
    preset = f"--config_path configs/{record.preset}.yaml, or " if record.preset else ""
    raise UserError(f"checkpoint {path} holds another network than the configuration: {listed}. "
                    f"Use {preset}{flags}.")


def load_parameters(cell: nn.Cell, parameters: dict[str, Parameter], path: str | Path) -> None:
    """Copy every parameter of cell from parameters by name; further ones (the optimizer's) are left out.

    Raises:
        UserError: parameters are missing or have another shape; nothing is loaded then.
    """
    own = {parameter.name: parameter for parameter in cell.get_parameters()}
    problems = [f"{name} {tuple(value.shape)} is missing" for name, value in own.items() if name not in parameters]
    problems += [f"{name} is {tuple(parameters[name].shape)}, the network's {tuple(value.shape)}"
                 for name, value in own.items() if name in parameters and parameters[name].shape != value.shape]
    if problems:
        more = f"\n  - and {len(problems) - 8} more" if len(problems) > 8 else ""
        listed = "\n  - ".join(problems[:8])
        alone = all(name.startswith("backbone.") for name in parameters)
        way_out = ("It holds a backbone alone: train a detector from it with train.py --backbone_checkpoint." if alone
                   else "Use the --config_path and the categories it was trained with.")
        raise UserError(f"checkpoint {path} does not fit: {len(problems)} of {len(own)} parameters differ:\n"
                        f"  - {listed}{more}\n{way_out}")
    ms.load_param_into_net(cell, {name: parameters[name] for name in own}, strict_load=True)


def _as_flag(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "[]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _architecture(net: NetConfig) -> dict[str, Any]:
    values = {key: getattr(net, key) for key in ARCHITECTURE}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _crc_holds(path: Path) -> bool | None:
    """Whether the checksum at the end of the file is its content's; None if there is no checksum.

    Done here because the framework reports a wrong checksum as a lack of permission.
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


def _remove_unfinished(folder: Path) -> None:
    """Give a full disk its space back; MindSpore writes a file with the suffix .tmp first."""
    for left in folder.glob(f"{UNFINISHED}*"):
        if left.suffix in (".ckpt", ".tmp"):
            with contextlib.suppress(OSError):
                left.unlink()


def _neighbours(path: Path) -> str:
    found = sorted(other.name for other in path.parent.glob("*.ckpt") if not other.name.startswith("."))
    return f"; {path.parent} has {', '.join(found[-5:])}" if found else f", and {path.parent} has no .ckpt file"
