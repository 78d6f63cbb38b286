"""The frame of every command: read the configuration, set up the log, prepare, report user errors."""
from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from centernet.cli.console import set_up_log
from centernet.cli.process import limit_arenas, print_every_text
from centernet.config.flags import typed_aliases
from centernet.config.load import Config, as_typed, load_config
from centernet.config.threads import input_threads
from centernet.data.image_size import set_pixel_limit
from centernet.device import prepare_environment
from centernet.errors import UserError, reports_errors
from centernet.interrupt import signals_set_a_flag
from centernet.jobs.modelarts import plan, run_job, split_platform_flags
from centernet.model_files import require_models

LOG = logging.getLogger("centernet")


@reports_errors
def run_entry(entry: str, description: str, run: Callable[[Config], None], argv: list[str] | None) -> int:
    """Run a command and return its exit status: 0, 2 for a UserError, 128 + number of a signal that ended it."""
    print_every_text()
    words = sys.argv[1:] if argv is None else argv
    config, ignored = _read_config(entry, description, words)
    job = plan(entry, config, os.environ) if config.enable_modelarts else None
    set_up_log(job.config.log_file if job else config.log_file)
    if ignored:
        LOG.info("ignored flags of the platform: %s", ignored)
    limit_arenas(input_threads(config))
    prepare_environment(config.device_target)
    set_pixel_limit(config.max_image_pixels)
    with signals_set_a_flag(), _flags_as_typed(typed_aliases(entry, words)):
        if job:
            run_job(job, checked(entry, run))
        else:
            checked(entry, run)(config)
    return 0


@contextmanager
def _flags_as_typed(typed: Mapping[str, str]) -> Iterator[None]:
    """Let a UserError of the block that begins with a flag name it as the user typed it: "--out (save_result_dir)"."""
    try:
        yield
    except UserError as error:
        raise UserError(as_typed(str(error), typed)) from error


def checked(entry: str, run: Callable[[Config], None]) -> Callable[[Config], None]:
    """Return a command that refuses missing models before its work, which begins with the import of MindSpore."""
    def run_checked(config: Config) -> None:
        require_models(entry, config)
        run(config)
    return run_checked


def _read_config(entry: str, description: str, argv: list[str]) -> tuple[Config, str]:
    """Return the configuration, and the flags that ModelArts added to the user's, as text."""
    rest, ignored = split_platform_flags(argv)
    config = load_config(entry, rest, description)
    if ignored and not config.enable_modelarts:
        config = load_config(entry, argv, description)  # outside of ModelArts these flags are unknown, thus errors
    return config, ", ".join(f"--{flag} {value}" for flag, value in ignored.items())
