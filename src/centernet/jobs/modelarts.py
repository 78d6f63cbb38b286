"""A ModelArts job: inputs are copied in, the entry runs on local paths, results are copied out, also after a failure.

ModelArts starts the boot file once per card, with RANK_ID, RANK_SIZE and ASCEND_DEVICE_ID set. Inputs are copied by
one process of each server. Rank 0 uploads output_path, since it alone writes results; any other rank has a folder of
its own (OUTPUT_PATH_rank_N, for its log) and uploads that to TRAIN_URL/rank_N, so no two processes copy one folder and
none has to wait for another.
"""
from __future__ import annotations

import argparse
import dataclasses
import glob
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from centernet.config.declared import paths
from centernet.config.load import replace_texts
from centernet.config.schema import Config
from centernet.config.setting import Use
from centernet.errors import UserError
from centernet.jobs.last_words import last_words
from centernet.jobs.object_store import fetch_once, is_remote, require_writable, resolve, upload
from centernet.jobs.signals import interruptible

LOG = logging.getLogger("centernet")
CODE = Path(__file__).resolve().parents[3]

# What the platform appends to the command beside the flags of the job's inputs and outputs: num_gpus (older
# services, any engine), the others (engines started by torch's convention). Nothing here needs their values.
PLATFORM_FLAGS = ("num_gpus", "init_method", "rank", "world_size")
# Seconds that an orderly end may take after SIGTERM before results are uploaded from beside it.
GRACE = 10.0

_SEVERAL_RANKS = ("train", "eval")


@dataclasses.dataclass(frozen=True)
class ModelArtsJob:
    """What a job copies and where; urls are as resolve() gives them, "" where there is nothing to copy."""

    entry: str
    config: Config  # its paths are local; model files are still as the user named them
    name: str  # the platform's name of the job; "" where it sets none
    rank: int
    data_url: str
    data: Path  # where data_url is mounted or will be copied to
    checkpoint_url: str
    models: Path  # likewise for checkpoint_url
    train_url: str  # "" for a process that has no results
    output: Path  # what this rank uploads to train_url


def split_platform_flags(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """The command line without the platform's own flags, and those with their values."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in PLATFORM_FLAGS:
        parser.add_argument(f"--{flag}", nargs="?", const="")
    known, rest = parser.parse_known_args(argv)
    return rest, {flag: value for flag, value in vars(known).items() if value is not None}


def plan(entry: str, config: Config, environment: Mapping[str, str]) -> ModelArtsJob:
    """Local paths for everything that config names, and what must be copied to and from them; copies nothing.

    Raises:
        UserError: data_url or train_url is missing or no address.
    """
    config, inputs = _unquoted(config), paths(entry, "data")
    if not config.train_url:
        raise UserError("--train_url is empty: set the job's output path, without it all results would be lost")
    data_url, data = _source(config.data_url if inputs else "", "data_url", config.data_path)
    models_url, models = _source(config.checkpoint_url, "checkpoint_url", config.load_path)
    rank = int(environment.get("RANK_ID") or 0)
    train_url, output, own = _destination(config, rank)
    if environment.get("MS_ROLE") == "MS_SCHED":  # msrun's scheduler, which runs the boot file beside the ranks
        train_url, config = "", dataclasses.replace(config, log_file="")
    read = _below(config, inputs, data, config.data_path)
    if not data_url and any(path.is_relative_to(data) for path in map(Path, read.values())):
        raise UserError(f"--data_url is empty, but {entry}.py reads from it: set the job's data set path, or name "
                        f"mounted folders with --{' or --'.join(inputs)}")
    device = environment.get("DEVICE_ID") or environment.get("ASCEND_DEVICE_ID") or 0
    config = replace_texts(config, {**read, **_below(config, paths(entry, "output"), output)})
    config = dataclasses.replace(
        config, enable_modelarts=False,
        device_id=config.device_id or int(device), log_file=str(own / config.log_file) if config.log_file else "")
    name = environment.get("MA_VJ_NAME", "")
    return ModelArtsJob(entry, config, name, rank, data_url, data, models_url, models, train_url, own)


def run_job(job: ModelArtsJob, run: Callable[[Config], None]) -> None:
    """Download, run, upload; the upload also happens when one of the others fails or SIGTERM ends it.

    Raises:
        UserError: a copy failed. If the entry failed, its own error is raised and the upload's is only logged.
    """
    if (job.rank or not job.train_url) and job.entry not in _SEVERAL_RANKS:
        LOG.info("rank %d: %s.py works in one process, that of rank 0; nothing to do here", job.rank, job.entry)
        return
    if job.train_url and (job.rank == 0 or job.config.log_file):
        require_writable(job.train_url)
    with interruptible(True), _results_kept(job):
        for url, folder, flag in ((job.data_url, job.data, "data_url"),
                                  (job.checkpoint_url, job.models, "checkpoint_url")):
            if is_remote(url):
                fetch_once(url, folder, flag, job.config.download_timeout, job.name)
            elif url:
                LOG.info("--%s %s is a local folder: used where it is", flag, url)
        run(_with_models(job))


@contextmanager
def _results_kept(job: ModelArtsJob) -> Iterator[None]:
    """Upload at the end of the block, whatever ended it."""
    def keep() -> None:
        if is_remote(job.train_url):  # else they were written where the platform itself copies from
            upload(job.output, job.train_url)

    def keep_beside() -> None:
        LOG.info("told to end, and blocked for %g s since then, probably waiting for a device that is gone", GRACE)
        keep()

    try:
        with last_words(GRACE, keep_beside):
            yield
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the upload short
        expected = isinstance(error, (UserError, KeyboardInterrupt))
        LOG.info("the job ended early: %s: %s", type(error).__name__, error, exc_info=not expected)
        try:
            keep()
        except UserError as failure:
            LOG.error("error: %s", failure)
        raise
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    keep()


def _unquoted(config: Config) -> Config:
    """Without the quotes around values that the console passes on as they were typed."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return replace_texts(config, {name: value.strip().strip("'\"") for name, value in values.items()
                                  if isinstance(value, str)})


def _source(url: str, flag: str, folder: str) -> tuple[str, Path]:
    """The address of an input ("" without one) and the local folder where it is, or will be."""
    if not url:
        return "", Path(folder)
    url = resolve(url, flag)
    if is_remote(url):
        return url, Path(folder)
    return url, Path(url).parent if Path(url).is_file() else Path(url)


def _destination(config: Config, rank: int) -> tuple[str, Path, Path]:
    """Where this rank uploads to, the folder of the job's results, and the folder that this rank uploads."""
    url = resolve(config.train_url, "train_url")
    output = Path(config.output_path if is_remote(url) else url)
    if rank == 0:
        return url, output, output
    if is_remote(url):
        return f"{url.rstrip('/')}/rank_{rank}", output, output.with_name(f"{output.name}_rank_{rank}")
    return url, output, output / f"rank_{rank}"


def _below(config: Config, settings: Mapping[str, Use], root: Path, documented: str = "") -> dict[str, str]:
    """The settings' values as paths below root; unset ones without a default are left out, absolute ones stay.

    documented: the folder that the user may have written for root, although the input is mounted elsewhere.
    """
    found = {}
    for name, use in settings.items():
        value = getattr(config, name) or use.default
        if value is not None:
            path = Path(value)
            if documented and path.is_relative_to(documented):
                path = path.relative_to(documented)
            found[name] = str(root / path)
    return found


def _with_models(job: ModelArtsJob) -> Config:
    """The config with the model files that its settings name; with none named, the one that checkpoint_url brought.

    Raises:
        UserError: a name or pattern fits no file, or several.
    """
    models = paths(job.entry, "model")
    given = {name: getattr(job.config, name) for name in models if getattr(job.config, name)}
    if not given and job.checkpoint_url:
        given = {name: "" for name, use in models.items() if use.alias}  # the main one
    found = {name: _find_model(job, name, value, models[name].suffixes) for name, value in given.items()}
    for name, path in found.items():
        LOG.info("%s: %s", name, path)
    return replace_texts(job.config, found)


def _find_model(job: ModelArtsJob, name: str, value: str, suffixes: tuple[str, ...]) -> str:
    """The one file that value (a path or pattern, "" for any) fits below checkpoint_url's folder, or below the code."""
    if not value and Path(job.checkpoint_url).is_file():
        return job.checkpoint_url
    if value and job.checkpoint_url and Path(value).is_relative_to(job.config.load_path):
        value = str(Path(value).relative_to(job.config.load_path))
    roots = [job.models] * bool(job.checkpoint_url) + [CODE] * bool(value)
    files = job.models.rglob("*") if job.checkpoint_url else ()
    brought = sorted(str(path) for path in files if path.suffix in suffixes)
    matches: list[str] = [] if value else brought
    for root in roots if value else ():
        path, pattern = root / value, os.path.join(glob.escape(str(root)), value)  # an absolute value stays as it is
        matches = matches or [str(path)] * path.is_file() or sorted(str(Path(match)) for match in glob.glob(pattern))
    if len(matches) == 1:
        return matches[0]
    listed = ", ".join(matches or brought) or "nothing"
    raise UserError(f"--{name} {value or 'is not set'}: {len(matches)} files fit, but it must be one. "
                    f"{'These fit' if matches else f'{job.models} holds'}: {listed}. Looked below "
                    f"{' and '.join(map(str, roots))}; --checkpoint_url is {job.checkpoint_url or 'not set'}")
