"""Names of the files that describe a run, and what they must not hold."""
from __future__ import annotations

import re

RECORD = "run.json"           # of a training: see training/run_record.py
METRICS = "metrics.jsonl"     # of a training: see training/train_log.py
EVALUATION = "metrics.json"   # of an evaluation
REPORT = "report.json"        # of an evaluation with --report true

_PASSWORD = re.compile(r"//[^/@\s]+@")  # of an address; the files may be shown to others


def without_passwords(text: str) -> str:
    """Return a text with *** in place of the names and passwords of its addresses."""
    return _PASSWORD.sub("//***@", text)
