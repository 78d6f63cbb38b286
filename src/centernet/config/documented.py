"""Keys that another key determines, and keys of the model zoo's README that leave no choice here.

They stay settings, because existing files, flags and checkpoints contain them.
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
    """One such key. With a rule, its value follows from another key: it changes together with that key unless given."""

    key: str
    reason: str  # why there is no choice
    only: Any = None  # the only accepted value; None: any value, or the value from rule
    of: str = ""  # the key that determines it
    rule: Callable[[Any], Any] | None = None  # computes its value from the value of that key
    complaint: str = ""  # message for other values; "": another check reports them


def _stacks(backbone: str) -> int:
    return LAYOUTS[backbone].stacks if backbone in LAYOUTS else 1


DOCUMENTED = (
    Documented("data_sink_steps", "each step is one call, because the log has a line of each step"),
    Documented("dataset_config.output_res", "all networks end at a quarter of the input's resolution",
               of="dataset_config.input_res_train", rule=lambda size: tuple(length // DOWN_RATIO for length in size),
               complaint="{key} {found} must be input_res_train / down_ratio: set it to {wanted}"),
    Documented("dataset_config.num_classes", "it is the number of the names. Both keys are read only for shards "
               "without an info file, and the reader of the shards compares them", of="dataset_config.coco_classes",
               rule=len),
    Documented("net_config.num_stacks", "the backbone determines it; checks.py compares them",
               of="net_config.backbone", rule=_stacks),
    Documented("net_config.reg_offset", "the box head ltrb has no offset; with wh_reg there is a choice. checks.py "
               "compares them", of="net_config.box_head", rule=lambda head: head == "wh_reg"),
    Documented("net_config.down_ratio", "all networks end at a quarter of the input's resolution", only=DOWN_RATIO,
               complaint="{key} must be {wanted}, found {found}: all networks here end at a quarter of the resolution"),
    Documented("net_config.dense_hp", "it weighs a pose loss, which a detector does not have. The value True of the "
               "model zoo's README has no meaning here", only=False,
               complaint="{key} weighs a pose loss, which a detector does not have: set it to false"),
)


def find_misuse(config: Config) -> list[str]:
    """Return one message for each key of DOCUMENTED that has an invalid value."""
    problems = []
    for item in DOCUMENTED:
        found = read(config, item.key)
        wanted = item.rule(read(config, item.of)) if item.rule else item.only
        if item.complaint and found != wanted:
            problems.append(item.complaint.format(key=item.key, found=plain(found), wanted=plain(wanted)))
    return problems


def along_with(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that change because `given` changes the key that determines them.

    A key that is given itself does not change. A key that did not match before does not change either: it will be
    reported as an error.

    Args:
        values: values before the change, by dotted name; typed or as the user wrote them.
        given: values of one file or command line, in the same form.
    """
    changed = {}
    for item in DOCUMENTED:
        if item.rule and item.of in given and item.key not in given:
            kind = SETTINGS[item.of].kind
            try:
                before, after = item.rule(convert(kind, values[item.of])), item.rule(convert(kind, given[item.of]))
                fitted = convert(SETTINGS[item.key].kind, values[item.key]) == before
            except CANNOT:
                continue  # build_config reports this error together with all others
            if fitted:
                changed[item.key] = after
    return changed
