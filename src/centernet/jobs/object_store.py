"""Copies of folders between an object store (OBS) and the local disk of a job, with moxing."""
from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from centernet.errors import UserError
from centernet.files import read_json
from centernet.interrupt import stop_if_interrupted

LOG = logging.getLogger("centernet")
STORES = ("obs", "s3")  # schemes of addresses in the object store


def resolve(url: str, flag: str) -> str:
    """Return the obs:// form of an address in the object store, or the path of a local (mounted) folder or file.

    Args:
        url: obs://bucket/..., s3://bucket/..., the console's form /bucket/..., or a local path. A path that begins
            with / is local if its first folder exists on this machine.
        flag: the flag of the address, for the message.

    Raises:
        UserError: the address has none of these forms.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme.lower() in STORES and rest.strip("/"):
        return f"obs://{rest}"
    if not separator and url.startswith("/") and url.strip("/"):
        first, _, inner = url.strip("/").partition("/")
        return url if Path("/", first).is_dir() else f"obs://{first}/{inner}"
    if not separator and not url.startswith("/") and url and Path(url).exists():
        return str(Path(url).resolve())
    raise UserError(f"--{flag} {url!r} is not an address in the object store: give obs://bucket/folder/ (s3:// and the "
                    "console's /bucket/folder/ mean the same), or an existing local folder that is mounted in the job")


def is_remote(url: str) -> bool:
    """Return whether a result of resolve() is an address in the object store, which needs moxing."""
    return url.startswith("obs://")


def import_moxing(url: str) -> ModuleType:
    """Import moxing. Raise UserError with the address that needs it if it is not installed."""
    try:
        import moxing
    except ImportError as error:
        raise UserError(f"{url} needs the package moxing, which only images of ModelArts contain ({error}). Run the "
                        "job in such an image, let ModelArts itself copy inputs and outputs (docs/modelarts.md), or "
                        "leave out --enable_modelarts to run on local files") from error
    return moxing


def require_writable(url: str) -> None:
    """Create the folder for results, so that a wrong address fails before the work. Raise UserError on failure."""
    try:
        if is_remote(url):
            import_moxing(url).file.make_dirs(url)
        else:
            Path(url).mkdir(parents=True, exist_ok=True)
    except UserError:
        raise
    except Exception as error:  # moxing does not document the class of its exceptions
        raise UserError(f"--train_url {url} cannot be written to: {_reason(error)}") from error


def fetch_once(url: str, folder: Path, flag: str, timeout: float, job: str) -> None:
    """Copy a remote folder or file into folder in one process of this server. The other processes wait for it.

    FOLDER.json beside the folder contains the source, the job, and whether the copy is complete. So a restarted job
    uses a complete copy again, but never an incomplete one. Without the job's name, a complete copy is only used if
    another process waited for it or still uses it: otherwise it may be of an earlier job, and out of date.
    FOLDER.lock is locked by the process that copies, FOLDER.used by all that use the copy; their existence has no
    meaning. The kernel releases the locks at any end of the process.

    Args:
        url: obs:// address.
        folder: local folder; it is created if necessary. Files of an earlier download are removed, other files are an
            error.
        flag: the flag of url, for messages.
        timeout: seconds to wait for the copy of another process.
        job: name of the job; "" if there is none.

    Raises:
        UserError: the copy failed in this or in the other process, or took too long.
    """
    state, wanted = folder.with_name(folder.name + ".json"), {"source": url, "job": job}
    used = folder.with_name(folder.name + ".used")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder.with_name(folder.name + ".lock"), url, timeout) as waited:
            record = _read(state)
            if record == {**wanted, "complete": True} and (job or waited or _is_used(used)):
                LOG.info("%s is already in %s: it was copied for this job before", url, folder)
                _use(used)
                return
            if waited:
                raise UserError(f"--{flag} {url}: the process of this server that copied it to {folder} ended before "
                                "the copy was complete. See its message")
            _refuse_other_files(folder, record, flag)
            state.write_text(json.dumps({**wanted, "complete": False}), encoding="utf-8")
            _clear(folder)
            _download(url, folder, flag)
            state.write_text(json.dumps({**wanted, "complete": True}), encoding="utf-8")
            _use(used)
    except OSError as error:
        raise UserError(f"--{flag} {url} cannot be copied to {folder}: {error.strerror or error}") from error


def upload(folder: Path, url: str) -> None:
    """Copy a local folder into a remote one. For an empty or missing folder, only write a line to the log.

    Raises:
        UserError: moxing failed.
    """
    files, size = _measure(folder)
    if not files:
        LOG.info("nothing to upload: %s is empty", folder)
        return
    LOG.info("uploading %s (%d files, %s) to %s", folder, files, size, url)
    start = time.perf_counter()
    try:
        import_moxing(url).file.copy_parallel(str(folder), url)
    except Exception as error:  # moxing does not document the class of its exceptions
        raise UserError(f"--train_url {url}: the upload of {folder} failed: {_reason(error)}") from error
    LOG.info("uploaded %s in %.1f s", folder, time.perf_counter() - start)


def _download(url: str, folder: Path, flag: str) -> None:
    LOG.info("downloading %s to %s", url, folder)
    start = time.perf_counter()
    files = import_moxing(url).file
    try:
        if not files.exists(url):
            raise UserError(f"--{flag} {url}: there is nothing at this address of the object store")
        if files.is_directory(url):
            files.copy_parallel(url, str(folder))
        else:
            files.copy(url, str(folder / url.rpartition("/")[2]))
    except UserError:
        raise
    except Exception as error:  # moxing does not document the class of its exceptions
        raise UserError(f"--{flag} {url}: the download to {folder} failed: {_reason(error)}") from error
    count, size = _measure(folder)
    if not count:
        raise UserError(f"--{flag} {url}: the folder is empty")
    LOG.info("downloaded %s: %d files, %s in %.1f s", url, count, size, time.perf_counter() - start)


@contextmanager
def _lock(path: Path, url: str, timeout: float) -> Iterator[bool]:
    """Hold the record lock of a file. It gives whether this process had to wait for another one.

    Processes that moxing forks do not inherit a record lock (unlike flock), so it ends with this process.
    """
    deadline, waited = time.monotonic() + timeout, False
    with path.open("a") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError) as error:
                if time.monotonic() > deadline:
                    raise UserError(f"another process of this server has been copying {url} for {timeout:g} s: see "
                                    "its log. If the data is large, increase --download_timeout") from error
                if not waited:
                    LOG.info("waiting for the process of this server that copies %s", url)
                waited = True
                stop_if_interrupted()
                time.sleep(min(0.5, timeout / 10))
        yield waited


def _is_used(path: Path) -> bool:
    """Return whether another process uses the copy; see _use()."""
    with path.open("a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
    return False


def _use(path: Path) -> None:
    """Hold a shared record lock until this process ends."""
    fcntl.lockf(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), fcntl.LOCK_SH)


def _read(state: Path) -> dict[str, object] | None:
    """Read the record that fetch_once wrote about an earlier copy; None if there is none."""
    try:
        record = read_json(state)
    except UserError:
        return None
    return record if "source" in record else None


def _refuse_other_files(folder: Path, record: dict[str, object] | None, flag: str) -> None:
    """Raise UserError if a folder has files that are not from an earlier download."""
    first = next(folder.iterdir(), None)
    if first and record is None:
        raise UserError(f"--{flag} cannot be copied to {folder}, because it contains files that are not from a "
                        f"download, for example {first.name}: use another folder (--data_path, --load_path)")


def _clear(folder: Path) -> None:
    """Remove all files of a folder."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _measure(folder: Path) -> tuple[int, str]:
    """Return the number of files below a folder, and their size as text."""
    sizes = [os.path.getsize(os.path.join(root, name)) for root, _, names in os.walk(folder) for name in names]
    return len(sizes), f"{sum(sizes) / 1e6:.1f} MB"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
