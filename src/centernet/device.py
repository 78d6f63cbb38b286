"""Device, execution mode and random seed. No other file sets them."""
from __future__ import annotations

import ctypes
import logging
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from centernet.config.load import Config
from centernet.errors import UserError
from centernet.group import TIME_OUT, Group, launched_number
from centernet.program import in_checkout, install

LOG = logging.getLogger("centernet")
GLOG_ERROR = 2  # glog's own number of the level
NO_DEVICE = re.compile(r"unsupported device target|device[ _]?id", re.IGNORECASE)  # in a message of MindSpore
SET_BEFORE = re.compile(r"modified|been initialized")


def prepare_environment(device_target: str = "CPU") -> None:
    """Set environment variables that MindSpore and CANN read. Call this function before importing MindSpore.

    Variables that the user has set are kept. ONEDNN_MAX_CPU_ISA: with AVX-512, MindSpore's convolutions use oneDNN's
    reference code, which is 50 to 100 times slower. HCCL_CONNECT_TIMEOUT: the default of 120 s is too short, because
    the processes of a group load and compile for different times. It is set here, and not by our launcher, so that it
    holds for every launcher (ModelArts starts train.py itself).

    Raises:
        UserError: MindSpore is missing, or NumPy is too new for its binaries.
    """
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    os.environ.setdefault("KMP_WARNINGS", "0")
    os.environ.setdefault("HCCL_CONNECT_TIMEOUT", str(TIME_OUT))
    for name, value in _log_levels(device_target, os.environ).items():
        os.environ.setdefault(name, value)
    for package in ("mindspore", "numpy"):
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError as error:
            raise UserError(f"the package {package} is not installed: {install('', 'mindspore')}") from error
    if int(version.split(".")[0]) >= 2:
        raise UserError(f"NumPy {version} does not work with MindSpore's binaries: pip install 'numpy<2'")


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return package -> version, without packages that are not installed."""
    found = {}
    for package in packages:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _log_levels(device_target: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that choose which lines of MindSpore's log are written.

    On Ascend, its warnings tell which operators run on the AI CPU and where the precision is lowered. They are written
    if the log goes to files, as our launcher arranges it. The console gets only errors in any case
    (GLOG_stderrthreshold, see _keep_warnings_off_the_console).
    """
    in_files = environment.get("GLOG_logtostderr") == "0"
    if device_target == "CPU" or not in_files or "GLOG_v" in environment:
        return {"GLOG_v": "3"}
    return {"GLOG_v": "2", "GLOG_stderrthreshold": "3"}


def _keep_warnings_off_the_console() -> None:
    """Make MindSpore's C++ code obey GLOG_stderrthreshold=3.

    MindSpore reads this variable twice: Python wants a number, C++ a name (ERROR). So no value serves both, and
    C++ writes its warnings to files and to the console. Therefore this function sets the variable of its copy of glog.
    """
    import mindspore as ms

    if os.environ.get("GLOG_stderrthreshold") != "3":  # noqa: SIM112 (the name that MindSpore reads)
        return
    for glog in (Path(ms.__file__).parent / "lib").glob("lib*glog.so*"):  # its name depends on the version
        with suppress(OSError, ValueError):  # no such variable: then warnings are printed
            ctypes.c_int.in_dll(ctypes.CDLL(str(glog)), "_ZN3fLI21FLAGS_stderrthresholdE").value = GLOG_ERROR


def set_up_device(device_target: str, device_id: int, seed: int) -> None:
    """Set the device, graph mode, the random seed of initial weights and shuffling, and the threads of OpenCV."""
    import cv2

    choose_device(device_target, device_id)
    _set_seed(seed)
    # The pipeline's threads decode the images; threads of OpenCV would only compete with them.
    cv2.setNumThreads(0)


def choose_device(device_target: str, device_id: int) -> None:
    """Set the device and graph mode of MindSpore, and nothing else of this process.

    Raises:
        UserError: MindSpore does not accept the device.
    """
    import mindspore as ms

    _keep_warnings_off_the_console()
    if os.environ.get("MS_COMPILER_CACHE_ENABLE") == "1":
        LOG.warning("MS_COMPILER_CACHE_ENABLE is set: MindSpore may then run the graph of an earlier run without an "
                    "error, although the code or the configuration has changed. Unset it (docs/performance.md)")
    try:
        ms.set_device(device_target, *([device_id] if device_target != "CPU" else []))
    except (RuntimeError, ValueError) as error:
        raise _refused(f"--device_target {device_target} --device_id {device_id}", error) from error
    ms.set_context(mode=ms.GRAPH_MODE)


def _refused(flags: str, error: Exception) -> UserError:
    """Return the message for what ms.set_device raised. Not every such error means that the device is missing."""
    text = str(error).strip().partition("\n")[0]
    if NO_DEVICE.search(text):
        return UserError(f"there is no device for {flags}. Devices count from 0 among those that this process sees (in "
                         "a container, and with ASCEND_RT_VISIBLE_DEVICES). Without an Ascend device use "
                         f"--device_target CPU. Message of MindSpore: {text}")
    advice = "A process keeps its first device: start another process" if SET_BEFORE.search(text) else \
        "MindSpore's log says more: set GLOG_v=1"
    return UserError(f"MindSpore cannot set {flags}: {text.rstrip('.')}. {advice}")


def set_up(config: Config, device_id: int) -> None:
    """Set the device, the random seed and the compilation that a configuration asks for."""
    set_up_device(config.device_target, device_id, config.seed)
    set_up_compilation(config)


def set_up_compilation(config: Config) -> None:
    """Set how MindSpore compiles graphs and computes. Call this function after set_up_device and before join_group.

    jit_level: O0, O1 or O2; auto leaves the choice to MindSpore. deterministic: use only kernels and collectives that
    repeat their results. exact_fp32: Ascend computes products of float32 without HF32 (10 bits of mantissa). False
    leaves MindSpore's default for both.
    """
    import mindspore as ms

    if config.jit_level != "auto":
        ms.set_context(jit_config={"jit_level": config.jit_level})
    if config.deterministic:
        # HCCL reads its variable when the group forms. "strict" is its other value that repeats results.
        if os.environ.get("HCCL_DETERMINISTIC") != "strict":
            os.environ["HCCL_DETERMINISTIC"] = "true"
        _set_deterministic()
    if config.exact_fp32 and config.device_target != "CPU":
        _forbid_hf32()
    if config.jit_level != "auto" or config.deterministic or config.exact_fp32:
        LOG.info("jit_level: %s, deterministic: %s, exact_fp32: %s", config.jit_level,
                 str(config.deterministic).lower(), str(config.exact_fp32).lower())


@cache  # a second call in one process would be an error of MindSpore
def _set_deterministic() -> None:
    import mindspore as ms

    ms.set_deterministic(True)


@cache
def _forbid_hf32() -> None:
    from mindspore.device_context.ascend import op_precision

    op_precision.conv_allow_hf32(False)
    op_precision.matmul_allow_hf32(False)


def _set_seed(seed: int) -> None:
    import mindspore as ms
    import numpy as np

    ms.set_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def eager() -> Iterator[None]:
    """Run an nn.Cell layer by layer instead of as a compiled graph, so that its hooks are called."""
    import mindspore as ms

    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=before)


def set_up_group(config: Config) -> Group:
    """Set the device and join the group of processes of a launcher; without a launcher this process is alone.

    In a group, the environment variable DEVICE_ID selects the device: launchers set it for each process, and the
    flags are the same for all processes.
    """
    device_id = config.device_id
    if config.distribute and _launched_size() > 1:
        device_id = launched_number(os.environ, "DEVICE_ID", device_id)
    set_up(config, device_id)
    return join_group(config.distribute, config.device_num)


def join_group(distribute: bool, device_num: int) -> Group:
    """Join the group of processes of a launcher; without a launcher this process is alone.

    Launchers start a scheduler process beside the ranks. It stays in this function until the group has ended.

    Raises:
        UserError: several devices are requested but no launcher started that many processes, or the processes of the
            group do not find each other.
    """
    size = _launched_size()
    if not distribute or size == 1:
        if device_num > 1:
            launcher = "scripts/run_distributed_train_ascend.sh or " * in_checkout()
            raise UserError(f"--device_num {device_num} needs {device_num} processes, but no launcher started them: "
                            f"use {launcher}msrun, with --distribute true")
        return Group()
    if device_num not in (1, size):
        raise UserError(f"--device_num {device_num} does not match the launcher's {size} processes (RANK_SIZE)")
    from mindspore.communication import get_group_size, get_rank, init
    try:
        init()
    except RuntimeError as error:
        raise UserError(f"the group of {size} processes (RANK_SIZE) could not be formed, or one process was lost: see "
                        f"their logs. Message of MindSpore: {str(error).splitlines()[0]}") from error
    return Group(get_rank(), get_group_size())


def _launched_size() -> int:
    """Return the number of processes that a launcher started (RANK_SIZE); 1 without a launcher."""
    return launched_number(os.environ, "RANK_SIZE", 1, 1)
