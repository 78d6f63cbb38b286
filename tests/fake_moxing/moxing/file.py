"""moxing.file: the functions that this project calls."""
import os
import shutil
import signal
import time
from pathlib import Path


class MoxFileRespException(Exception):
    """What moxing raises when the store refuses."""


def exists(url):
    return _local(url).exists()


def is_directory(url):
    return _local(url).is_dir()


def make_dirs(url):
    _refuse(url, "FAKE_MOXING_REFUSE")
    _note("make_dirs", url)
    _local(url).mkdir(parents=True, exist_ok=True)


def copy(src_url, dst_url):
    _note("copy", src_url, dst_url)
    if _local(src_url).is_dir():
        raise MoxFileRespException("Error occurs when accessing to OBS.")
    _transfer(_local(src_url), _local(dst_url), src_url, dst_url)


def copy_parallel(src_url, dst_url):
    _note("copy_parallel", src_url, dst_url)
    source, target = _local(src_url), _local(dst_url)
    if not source.is_dir():
        raise FileNotFoundError(f"No such file or directory: {src_url}")
    for path in sorted(source.rglob("*")):
        if path.is_file():
            _transfer(path, target / path.relative_to(source), src_url, dst_url)


def _transfer(source, target, src_url, dst_url):
    _refuse(dst_url, "FAKE_MOXING_REFUSE_COPY")
    if not source.exists():
        raise FileNotFoundError(f"No such file or directory: {src_url}")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    time.sleep(float(os.environ.get("FAKE_MOXING_SLEEP", "0")))
    if os.environ.get("FAKE_MOXING_DIE") and src_url.startswith("obs://"):
        os.kill(os.getpid(), signal.SIGKILL)


def _store():
    return Path(os.environ.get("FAKE_OBS", "/nonexistent"))


def _local(url):
    if url.startswith("obs://"):
        return _store() / url.removeprefix("obs://")
    if "://" in url:
        raise ValueError(f"unknown scheme: {url}")
    return Path(url)


def _refuse(url, variable):
    place = os.environ.get(variable)
    if place and url.startswith(f"obs://{place}"):
        raise MoxFileRespException(f"403 Forbidden: {url}")


def _note(*words):
    with (_store() / "calls.log").open("a") as log:
        log.write(" ".join(words) + "\n")
