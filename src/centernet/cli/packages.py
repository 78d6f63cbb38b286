"""Check that this Python has the packages that every command needs."""
from __future__ import annotations

import importlib.util
import sys

REQUIRED = ("cv2", "numpy", "tqdm", "yaml")  # mindspore: see device.prepare_environment


def missing_packages() -> str:
    """Return a message that names the missing packages and how to install them; "" if none is missing."""
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if not missing:
        return ""
    return (f"{sys.executable} does not have the packages {', '.join(missing)}: activate the project's environment, "
            "or install them with pip install -r requirements.txt")
