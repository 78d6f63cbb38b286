"""Folders of a training. Nothing here needs MindSpore, so that a wrong folder is told before its import."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from centernet.config.schema import Config
from centernet.files import exists, make_folder, require_writable
from centernet.owner import owned

CHECKPOINTS, RESULTS = "--save_checkpoint_path", "--save_result_dir"


@contextmanager
def owned_folders(config: Config, first: bool) -> Iterator[None]:
    """Create and own the folders of checkpoints and results in the block, on the first rank. The others write nothing.

    Folders that are new, and empty at the end, are removed, with those above them.

    Raises:
        UserError: another run owns one of them, or it cannot be created or written.
    """
    if not first:
        yield
        return
    checkpoints, results = folders_of(config)
    with _without_empty(checkpoints, results), ExitStack() as stack:
        for flag, folder in ((CHECKPOINTS, checkpoints), (RESULTS, results)):
            make_folder(folder, flag)
        stack.enter_context(owned(checkpoints, CHECKPOINTS))
        if not results.samefile(checkpoints):
            stack.enter_context(owned(results, RESULTS))
        yield


@contextmanager
def _without_empty(*folders: Path) -> Iterator[None]:
    """Remove at the end the folders that were created in the block and are empty, with those above them."""
    new = {path for folder in folders for path in (folder, *folder.parents) if not exists(path)}
    try:
        yield
    finally:
        for path in sorted(new, key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):
                path.rmdir()


def require_folders(config: Config) -> None:
    """Raise UserError if the folders cannot be written, or not be created. Nothing is created."""
    for flag, folder in zip((CHECKPOINTS, RESULTS), folders_of(config)):
        require_writable(folder, flag)


def folders_of(config: Config) -> tuple[Path, Path]:
    """Return the folders of checkpoints and results (log, metrics, plot)."""
    checkpoints = Path(config.save_checkpoint_path or "checkpoints")
    return checkpoints, Path(config.save_result_dir or checkpoints)
