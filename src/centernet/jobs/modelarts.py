"""A ModelArts job: download inputs, run the command on local paths, upload results, also after a failure.

ModelArts starts the boot file once for each device, with RANK_ID, RANK_SIZE and ASCEND_DEVICE_ID set. One process of
each server copies the inputs. Rank 0 uploads output_path, because only rank 0 writes results. Every other rank has its
own folder (OUTPUT_PATH_rank_N, for its log) and uploads it to TRAIN_URL/rank_N. So no two processes copy the same
folder, and no process has to wait for another.
"""
from __future__ import annotations

import argparse
import dataclasses
import glob
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from centernet.config.declared import paths
from centernet.config.load import replace_texts
from centernet.config.schema import Config
from centernet.config.setting import Use
from centernet.config.shorthands import last_checkpoint
from centernet.errors import UserError
from centernet.group import launched_number
from centernet.interrupt import before_forced_end, ignore_signals, signals_set_a_flag
from centernet.jobs.object_store import STORES, fetch_once, is_remote, require_writable, resolve, upload
from centernet.program import program

LOG = logging.getLogger("centernet")
CODE = Path(__file__).resolve().parents[3]

# Flags that the platform adds to the command, besides the flags of the job's inputs and outputs: num_gpus (older
# services, all engines), and the others (engines that are started like PyTorch). Their values are not needed.
PLATFORM_FLAGS = ("num_gpus", "init_method", "rank", "world_size")
# Seconds that a normal end may take after SIGTERM. Then another thread uploads the results.
GRACE = 10.0

_SEVERAL_RANKS = ("train", "eval")


@dataclasses.dataclass(frozen=True)
class ModelArtsJob:
    """Addresses and local folders of a job. URLs are results of resolve(); "" if there is nothing to copy."""

    entry: str
    config: Config  # its paths are local, but model files are still as the user gave them
    name: str  # the platform's name of the job; "" if there is none
    rank: int
    data_url: str
    data: Path  # folder where data_url is mounted or will be copied to
    checkpoint_url: str
    models: Path  # folder where checkpoint_url is mounted or will be copied to
    train_url: str  # "" for a process without results
    output: Path  # folder that this rank uploads to train_url


def split_platform_flags(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    """Split the platform's own flags from a command line. Return the other words, and the flags with their values."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in PLATFORM_FLAGS:
        parser.add_argument(f"--{flag}", nargs="?", const="")
    known, rest = parser.parse_known_args(argv)
    return rest, {flag: value for flag, value in vars(known).items() if value is not None}


def plan(entry: str, config: Config, environment: Mapping[str, str]) -> ModelArtsJob:
    """Return the job: local paths for all paths of config, and the copies to and from them. It copies nothing.

    Raises:
        UserError: data_url or train_url is missing or not a valid address.
    """
    config, inputs = _unquoted(config), paths(entry, "data")
    if not config.train_url:
        raise UserError("--train_url is not set: set the job's output path. Without it all results would be lost")
    data_url, data = _source(config.data_url if inputs else "", "data_url", config.data_path)
    models_url, models = _source(config.checkpoint_url, "checkpoint_url", config.load_path)
    rank = launched_number(environment, "RANK_ID")
    train_url, output, own = _destination(config, rank)
    if environment.get("MS_ROLE") == "MS_SCHED":  # msrun's scheduler also runs the boot file, beside the ranks
        train_url, config = "", dataclasses.replace(config, log_file="")
    read = _below(config, inputs, data, config.data_path)
    places = [place for value in read.values() for place in ([value] if isinstance(value, str) else value)]
    if not data_url and any(Path(place).is_relative_to(data) for place in places):
        raise UserError(f"--data_url is not set, but {program(entry)} reads from it: set the job's data set path, or "
                        f"give mounted folders with --{' or --'.join(inputs)}")
    device = launched_number(environment, "DEVICE_ID" if environment.get("DEVICE_ID") else "ASCEND_DEVICE_ID")
    config = replace_texts(config, {**read, **_below(config, paths(entry, "output"), output)})
    config = dataclasses.replace(
        config, enable_modelarts=False,
        device_id=config.device_id or device, log_file=str(own / config.log_file) if config.log_file else "")
    name = environment.get("MA_VJ_NAME", "")
    return ModelArtsJob(entry, config, name, rank, data_url, data, models_url, models, train_url, own)


def run_job(job: ModelArtsJob, run: Callable[[Config], None]) -> None:
    """Download, run, upload. The upload also happens if the download or the command fails, or after a signal.

    Raises:
        UserError: a copy failed. If the command failed, its error is raised, and an error of the upload is only logged.
    """
    if (job.rank or not job.train_url) and job.entry not in _SEVERAL_RANKS:
        LOG.info("rank %d: %s.py runs only in the process of rank 0; this process has nothing to do", job.rank,
                 job.entry)
        return
    if job.train_url and (job.rank == 0 or job.config.log_file):
        require_writable(job.train_url)
    with signals_set_a_flag(), _results_kept(job):
        for url, folder, flag in ((job.data_url, job.data, "data_url"),
                                  (job.checkpoint_url, job.models, "checkpoint_url")):
            if is_remote(url):
                fetch_once(url, folder, flag, job.config.download_timeout, job.name)
            elif url:
                LOG.info("--%s %s is a local folder: it is used without a copy", flag, url)
        run(_with_models(job))


@contextmanager
def _results_kept(job: ModelArtsJob) -> Iterator[None]:
    """Upload the results at the end of the block, also after an error or a signal."""
    def keep() -> None:
        if is_remote(job.train_url):  # otherwise the results are in a folder that the platform itself copies
            upload(job.output, job.train_url)

    def keep_beside() -> None:
        LOG.info("a signal arrived %g s ago, but this process is still blocked; it probably waits for a lost device",
                 GRACE)
        keep()

    try:
        with before_forced_end(keep_beside, GRACE):
            yield
    except BaseException as error:
        ignore_signals()  # a second signal must not interrupt the upload
        expected = isinstance(error, (UserError, KeyboardInterrupt))
        LOG.info("the job ended early: %s: %s", type(error).__name__, error, exc_info=not expected)
        try:
            keep()
        except UserError as failure:
            LOG.error("error: %s", failure)
        raise
    ignore_signals()
    keep()


def _unquoted(config: Config) -> Config:
    """Remove quotes around values: the console keeps them as the user typed them."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    texts = {name: _bare(value) for name, value in values.items() if isinstance(value, str)}
    lists = {name: tuple(map(_bare, getattr(config, name))) for name in ("image",)}
    return replace_texts(config, {**texts, **lists})


def _bare(value: str) -> str:
    return value.strip().strip("'\"")


def _source(url: str, flag: str, folder: str) -> tuple[str, Path]:
    """Return the address of an input ("" if there is none) and its local folder, now or after the copy."""
    if not url:
        return "", Path(folder)
    url = resolve(url, flag)
    if is_remote(url):
        return url, Path(folder)
    return url, Path(url).parent if Path(url).is_file() else Path(url)


def _destination(config: Config, rank: int) -> tuple[str, Path, Path]:
    """Return the address for this rank's upload, the folder of the job's results, and the folder to upload."""
    url = resolve(config.train_url, "train_url")
    output = Path(config.output_path if is_remote(url) else url)
    if rank == 0:
        return url, output, output
    if is_remote(url):
        return f"{url.rstrip('/')}/rank_{rank}", output, output.with_name(f"{output.name}_rank_{rank}")
    return url, output, output / f"rank_{rank}"


def _below(config: Config, settings: Mapping[str, Use], root: Path, documented: str = ""
           ) -> dict[str, str | tuple[str, ...]]:
    """Return the settings' values as paths below root. Unset ones without a default are omitted.

    Absolute paths stay, and so do URLs of streams. Addresses in the object store do not: only data_url is copied.

    documented: default folder that the user may have written instead of root, although the input is mounted elsewhere.
    """
    def below(value: str) -> str:
        scheme, separator, _ = value.partition("://")
        if separator and scheme.lower() not in STORES:
            return value
        path = Path(value)
        if documented and path.is_relative_to(documented):
            path = path.relative_to(documented)
        return str(root / path)

    found: dict[str, str | tuple[str, ...]] = {}
    for name, use in settings.items():
        value = getattr(config, name) or use.default
        if value is not None:
            found[name] = below(value) if isinstance(value, str) else tuple(map(below, value))
    return found


def _with_models(job: ModelArtsJob) -> Config:
    """Return the config with the paths of its model files; without a setting, the file from checkpoint_url.

    Raises:
        UserError: a name or pattern matches no file, or several files.
    """
    models = paths(job.entry, "model")
    given = {name: getattr(job.config, name) for name in models if getattr(job.config, name)}
    if not given and job.checkpoint_url:
        given = {name: "" for name, use in models.items() if use.alias}  # the main setting for a model
    found = {name: _find_model(job, name, value, models[name].suffixes) for name, value in given.items()}
    for name, path in found.items():
        LOG.info("%s: %s", name, path)
    return replace_texts(job.config, found)


def _find_model(job: ModelArtsJob, name: str, value: str, suffixes: tuple[str, ...]) -> str:
    """Return the file that matches value (path or pattern; "": any) in the folder of checkpoint_url or of the code."""
    if not value and Path(job.checkpoint_url).is_file():
        return job.checkpoint_url
    if value and job.checkpoint_url and Path(value).is_relative_to(job.config.load_path):
        value = str(Path(value).relative_to(job.config.load_path))
    roots = [job.models] * bool(job.checkpoint_url) + [CODE] * bool(value)
    files = job.models.rglob("*") if job.checkpoint_url else ()
    brought = sorted(str(path) for path in files if path.suffix in suffixes)
    matches: list[str] = [] if value else brought
    for root in roots if value else ():
        path, pattern = root / value, os.path.join(glob.escape(str(root)), value)  # an absolute value does not change
        if job.config.resume and path.is_dir():  # --resume FOLDER
            path = last_checkpoint(path) or path
        matches = matches or [str(path)] * path.is_file() or sorted(str(Path(match)) for match in glob.glob(pattern))
    if len(matches) == 1:
        return matches[0]
    listed = ", ".join(matches or brought) or "nothing"
    raise UserError(f"--{name} {value or 'is not set'}: {len(matches)} files match, but it must be one. "
                    f"{'These match' if matches else f'{job.models} contains'}: {listed}. Searched in "
                    f"{' and '.join(map(str, roots))}; --checkpoint_url is {job.checkpoint_url or 'not set'}")
