"""What to do when a checkpoint has another network than the configuration: flags that fit."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from centernet.config.load import PRESETS, load_config
from centernet.config.values import as_flag
from centernet.errors import UserError


def way_out(preset: str, network: Mapping[str, Any], differing: Iterable[str], retrained: bool) -> str:
    """Return a sentence with the flags for a checkpoint's network: its preset if that still has it, or each setting.

    Presets change from version to version, and a file of the user's own is not among them. So a recorded name is
    advised only if the preset of this name has the network today.

    Args:
        preset: the name in the checkpoint's record.
        network: its settings of net_config as JSON values.
        differing: keys of network that the configuration has otherwise.
        retrained: whether --fine_tune true can start from the checkpoint nevertheless.
    """
    flags = " ".join(f"--net_config.{key} {as_flag(network[key])}" for key in differing)
    found = next((name for name in _names(preset) if _has(name, network)), "")
    ways = [f"--config_path {found}"] * bool(found) + [flags]
    changed = "" if not preset or found == preset else \
        f" (the preset {preset} of this version has another network)" if (PRESETS / f"{preset}.yaml").is_file() else \
        f" (it was trained with {preset}.yaml, which is no preset of this program)"
    more = ". Or add --fine_tune true: it takes the weights that fit and trains the other parts anew" * retrained
    return f"Use {', or '.join(ways)}{changed}{more}."


def _names(preset: str) -> list[str]:
    names = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    return sorted(names, key=lambda name: name != preset)


def _has(name: str, network: Mapping[str, Any]) -> bool:
    """Return whether a preset has a network; False for a file that this program cannot read."""
    try:
        net = load_config("train", ["--config_path", str(PRESETS / f"{name}.yaml")], "").net_config
    except UserError:
        return False
    values = {key: getattr(net, key) for key in network}
    return all((list(value) if isinstance(value, tuple) else value) == network[key] for key, value in values.items())
