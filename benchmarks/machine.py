"""Description of the machine of a measurement: processor, memory, versions."""
from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import psutil

from centernet.device import installed_versions

PACKAGES = ("mindspore", "numpy", "opencv-python-headless", "opencv-python", "onnxruntime", "torch", "mindspore-lite")


def describe_machine() -> dict[str, str]:
    """Return names and values that affect the speed, without packages that are not installed."""
    cpuinfo = _read("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", cpuinfo)
    vectors = sorted(set(re.findall(r"\b(?:avx\w*|amx\w*|asimd\w*|sve\w*)\b", cpuinfo)))
    return {
        "processor": model[1] if model else platform.processor() or platform.machine(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "vector instructions": " ".join(vectors) or "not known",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "ONEDNN_MAX_CPU_ISA": os.environ.get("ONEDNN_MAX_CPU_ISA", "not set"),
        **installed_versions(PACKAGES),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
