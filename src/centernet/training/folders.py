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
    """Own the folders of checkpoints and results in the block, on the first rank. Remove a new one that stays empty.

    Raises:
        UserError: another run owns one of them, or it cannot be created.
    """
    new = [folder for folder in _folders(config) if first and not exists(folder)]
    try:
        with ExitStack() as stack:
            if first:
                checkpoints, results = prepare_folders(config)
                stack.enter_context(owned(checkpoints, CHECKPOINTS))
                if not results.samefile(checkpoints):
                    stack.enter_context(owned(results, RESULTS))
            yield
    finally:
        for folder in reversed(new):  # the second one may be in the first one
            with suppress(OSError):
                folder.rmdir()


def require_folders(config: Config) -> None:
    """Raise UserError if the folders cannot be written, or not be created. Nothing is created."""
    for flag, folder in zip((CHECKPOINTS, RESULTS), _folders(config)):
        require_writable(folder, flag)


def prepare_folders(config: Config) -> tuple[Path, Path]:
    """Create the folders of checkpoints and results (log, metrics, plot). Raise UserError if that is impossible."""
    for flag, folder in zip((CHECKPOINTS, RESULTS), _folders(config)):
        make_folder(folder, flag)
    return _folders(config)


def _folders(config: Config) -> tuple[Path, Path]:
    checkpoints = Path(config.save_checkpoint_path or "checkpoints")
    return checkpoints, Path(config.save_result_dir or checkpoints)
