"""Keys that the documents name and that nobody can choose: accepted with the values that mean something.

They stay settings, since files, flags and checkpoints name them.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from centernet.config.checks import LAYOUTS
from centernet.config.declared import SETTINGS, read
from centernet.config.schema import Config
from centernet.config.sections import DOWN_RATIO
from centernet.config.values import CANNOT, convert, plain


@dataclass(frozen=True)
class Documented:
    """One such key. With rule, its value is that of another key: it is set along with that one unless given."""

    key: str
    reason: str  # why there is nothing to choose
    only: Any = None  # the one value that is accepted; None: any, or what rule says
    of: str = ""  # the key that decides it
    rule: Callable[[Any], Any] | None = None  # its value from that key's
    complaint: str = ""  # for other values; "": another place says so


def _stacks(backbone: str) -> int:
    return LAYOUTS[backbone].stacks if backbone in LAYOUTS else 1


DOCUMENTED = (
    Documented("enable_data_sink", "each epoch has a stream of its own (seeded by the epoch, resumable in its middle); "
               "a graph that sinks is tied to one stream and would be compiled again for each. train.py says in its "
               "log that it is without effect"),
    Documented("data_sink_steps", "there is no sink"),
    Documented("dataset_config.output_res", "all networks end at a quarter of the input's resolution",
               of="dataset_config.input_res_train", rule=lambda size: tuple(length // DOWN_RATIO for length in size),
               complaint="{key} {found} must be input_res_train / down_ratio: set it to {wanted}"),
    Documented("dataset_config.num_classes", "the names can be counted; both are read only for shards without an info "
               "file, and their reader compares them", of="dataset_config.coco_classes", rule=len),
    Documented("net_config.num_stacks", "the backbone's design decides it; the rules of networks compare them "
               "(checks.py)", of="net_config.backbone", rule=_stacks),
    Documented("net_config.down_ratio", "all networks end at a quarter of the input's resolution", only=DOWN_RATIO,
               complaint="{key} must be {wanted}, found {found}: all networks here end at a quarter of the resolution"),
    Documented("net_config.dense_hp", "it weighs a pose loss, which a detector does not have: the documented true "
               "cannot mean anything", only=False,
               complaint="{key} weighs a pose loss, which a detector does not have: set it to false"),
)


def find_misuse(config: Config) -> list[str]:
    """Documented keys with a value that means nothing, as sentences for the user."""
    problems = []
    for item in DOCUMENTED:
        found = read(config, item.key)
        wanted = item.rule(read(config, item.of)) if item.rule else item.only
        if item.complaint and found != wanted:
            problems.append(item.complaint.format(key=item.key, found=plain(found), wanted=plain(wanted)))
    return problems


def along_with(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that change because given changes what decides them.

    A key that is given itself stays, and so does one that did not fit before: it will be an error.

    Args:
        values: by dotted name, before the change; typed or as the user wrote them.
        given: what one file or command line says, likewise.
    """
    changed = {}
    for item in DOCUMENTED:
        if item.rule and item.of in given and item.key not in given:
            kind = SETTINGS[item.of].kind
            try:
                before, after = item.rule(convert(kind, values[item.of])), item.rule(convert(kind, given[item.of]))
                fitted = convert(SETTINGS[item.key].kind, values[item.key]) == before
            except CANNOT:
                continue  # the error will be reported with all others
            if fitted:
                changed[item.key] = after
    return changed
