"""Settings that are fixed in the graph of an exported model. To ask for other values has no effect."""
from __future__ import annotations

import logging

from centernet.config.declared import read
from centernet.config.load import PRESETS
from centernet.config.schema import Config
from centernet.config.values import as_flag
from centernet.errors import UserError, together
from centernet.runtimes.manifest import Manifest

LOG = logging.getLogger("centernet")

SIZE = "dataset_config.input_res_test"


def require_fixed(manifest: Manifest, config: Config, path: str) -> None:
    """Refuse flags that an exported model cannot follow, and log those settings of --config_path.

    Args:
        manifest: of the model.
        config: what the user asks for.
        path: of the model, for messages.

    Raises:
        UserError: a flag asks for another input size or batch size than the model's, or for keep_res or pad.
    """
    height, width = manifest.spec.input_size
    graph = f"the graph of {path} has the fixed resolution {height} x {width}"
    asked: dict[str, str] = {}  # setting -> why it has no effect, and what to do
    if config.dataset_config.input_res_test != (height, width):
        asked[SIZE] = f"{graph}. Leave it (--input_size) out, or export the checkpoint with this size"
    if config.eval_config.keep_res:
        asked["eval_config.keep_res"] = f"{graph}. Leave it out, or use the checkpoint"
    if config.eval_config.pad:
        asked["eval_config.pad"] = f"{graph}. Leave it out, or use the checkpoint"
    if config.eval_config.batch_size != (manifest.input_shape[0] or config.eval_config.batch_size):
        asked["eval_config.batch_size"] = (f"the graph of {path} takes batches of {manifest.input_shape[0]}. "
                                           "Leave it out, or export the checkpoint with this --export_batch_size")
    problems = [f"--{name} {as_flag(read(config, name))} has no effect: {why}" for name, why in asked.items()
                if name in config.given]
    if problems:
        raise UserError(problems[0] if len(problems) == 1 else together(path, problems))
    _say(manifest, config, path, {name for name in asked if name in (SIZE, "eval_config.keep_res")})


def _say(manifest: Manifest, config: Config, path: str, asked: set[str]) -> None:
    """Log the named settings that have no effect. Of the network's own settings the manifest has only a few."""
    own = {"net_config.box_head": manifest.box_head, "net_config.cat_spec_wh": manifest.cat_spec_wh,
           "net_config.down_ratio": manifest.spec.down_ratio}
    network = [name for name in config.named if name.startswith("net_config.")]
    idle = [f"{name} {as_flag(read(config, name))}" for name in sorted(asked) if name in config.named]
    idle += [f"{name} {as_flag(read(config, name))}" for name in dict.fromkeys(network)
             if (read(config, name) != own[name] if name in own else name in config.given)]
    # A file of another name, such as config.yaml of the training, may well describe the model's network.
    if network and config.preset != manifest.preset and (PRESETS / f"{config.preset}.yaml").is_file():
        idle.append(f"the network of {config.preset}")
    if idle:
        LOG.warning("note: the network and the resolution %d x %d are fixed in the graph of %s. So these have no "
                    "effect: %s", *manifest.spec.input_size, path, ", ".join(idle))
