"""The functions of CANN that MindSpore's Ascend plugin needs, read from the installed wheel with binutils."""
from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from centernet.errors import UserError

# The plugin loads these only if further libraries of CANN are there, and works without them.
OPTIONAL = ("atb", "cpu_kernels", "dvpp", "lowlatency")
# The plugin also looks up functions by name at run time. The names are texts in its binaries, such as aclrtMalloc.
RUN_TIME_NAME = re.compile(rb"\0((?:acl|rt[A-Z]|Msprof|Nnopbase)\w+)(?=\0)")
# For each operator aclnnX it also looks up this name, which it puts together at run time.
WORKSPACE = "GetWorkspaceSize"
# The libraries of C and C++, which every Linux has.
SYSTEM = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1")


def plugin_libraries() -> list[Path]:
    """Return the libraries of the installed MindSpore's Ascend plugin.

    Raises:
        UserError: MindSpore is not installed, or its wheel has no Ascend plugin.
    """
    spec = importlib.util.find_spec("mindspore")
    if spec is None or not spec.origin:
        raise UserError("the package mindspore is not installed: pip install -r requirements.txt")
    library = Path(spec.origin).parent / "lib"
    folder = library / "plugin"
    found = [*folder.glob("libmindspore*ascend.so*"), *library.glob("libmindspore_ge_backend.so"),
             *(path for path in folder.glob("ascend/*.so") if not any(word in path.name for word in OPTIONAL)),
             *folder.glob("ascend/ms_kernels_symmetric_memory/**/*.so"),
             *folder.glob("ascend/ms_kernels_internal/**/libms_kernels_internal.so")]
    if not found:
        raise UserError(f"this MindSpore has no Ascend plugin in {folder}: take the wheel of Linux")
    return sorted(found)


def needed_libraries(plugin: list[Path]) -> set[str]:
    """Return the names (libgraph.so) of the libraries that the plugin is linked to and that the wheel does not have."""
    wheel = {path.name for path in _folder(plugin).rglob("*.so*")}
    listed = "".join(_printed("readelf", "--dynamic", str(path)) for path in plugin)
    # Names of the system's libraries end in a version: libc.so.6.
    return set(re.findall(r"\(NEEDED\).*\[(lib\w+\.so)\]", listed)) - wheel


def linked_functions(plugin: list[Path]) -> set[str]:
    """Return the functions that the plugin is linked to and that neither the wheel nor the system defines."""
    library = _folder(plugin)
    wheel = [*library.glob("*.so*"), *library.parent.glob("_c_*.so"), *library.glob("plugin/libmindspore_ops_cpu.so")]
    defined = {name for path in {*plugin, *wheel} for _, name in _symbols(path, "--defined-only")}
    # Kinds w and v may stay undefined.
    missing = {name for path in plugin for kind, name in _symbols(path, "--undefined-only")
               if kind not in "wv" and not name.startswith(("Py", "_Py"))} - defined
    system = [ctypes.CDLL(name) for name in SYSTEM]
    return {name for name in missing if not any(hasattr(library, name) for library in system)}


def run_time_functions(plugin: list[Path]) -> set[str]:
    """Return the functions that the plugin looks up at run time."""
    names = {name.decode() for path in plugin for name in RUN_TIME_NAME.findall(path.read_bytes())}
    return names | {name + WORKSPACE for name in names if name.startswith("aclnn") and not name.endswith(WORKSPACE)}


def _symbols(path: Path, which: str) -> Iterator[tuple[str, str]]:
    """Yield kind (a letter of nm) and name of a library's dynamic symbols."""
    for line in _printed("nm", "--dynamic", which, str(path)).splitlines():
        words = line.split()
        yield words[-2], words[-1].split("@")[0]  # without the version: memcpy@GLIBC_2.14


def _folder(plugin: list[Path]) -> Path:
    """Return the folder lib of MindSpore's package."""
    return next(parent for parent in plugin[0].parents if parent.name == "lib")


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
