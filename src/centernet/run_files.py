"""Names of the files that describe a run, and what they must not hold."""
from __future__ import annotations

import re
from typing import Any

RECORD = "run.json"           # of a training: see training/run_record.py
METRICS = "metrics.jsonl"     # of a training: see training/train_log.py
EVALUATION = "metrics.json"   # of an evaluation
PLOT = "loss.png"             # of a training: see training/loss_plot.py
REPORT = "report.json"        # of an evaluation with --report true

_PASSWORD = re.compile(r"//[^/\s]+@")  # of an address; the files may be shown to others


def without_passwords(text: str) -> str:
    """Return a text with *** in place of the names and passwords of its addresses."""
    return _PASSWORD.sub("//***@", text)


def public(value: Any) -> Any:
    """Return a copy of texts, lists and dictionaries, at any depth, without passwords; other values as they are."""
    if isinstance(value, str):
        return without_passwords(value)
    if isinstance(value, dict):
        return {public(key): public(item) for key, item in value.items()}
    return [public(item) for item in value] if isinstance(value, (list, tuple)) else value
