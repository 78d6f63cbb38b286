"""The rows file of benchmarks/real_data.py: which trainings, with which settings, budgets and seeds."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from centernet.config.load import Config, find_config, load_config, settings_of
from centernet.config.values import dotted, flag_words, plain
from centernet.errors import UserError
from centernet.files import read_yaml

ENGINES = ("ours", "torch")
KEYS = {"seeds", "budgets", "rows", "flags"}
ROW_KEYS = {"name", "config", "engine", "flags"}


@dataclass(frozen=True)
class Run:
    """One training with its evaluation.

    Attributes:
        row: name of the row.
        engine: "ours" is train.py, "torch" is benchmarks/torch_training.py.
        epochs: length of the training.
        seed: seed of the initial weights, the order of the images and the augmentation.
        settings: flags of the training, with --config_path, without data and folders.
        config: the configuration that these flags give.
    """

    row: str
    engine: str
    epochs: int
    seed: int
    settings: tuple[str, ...]
    config: Config

    @property
    def key(self) -> str:
        """Return the name of the run's folder."""
        plain = "".join(letter if letter.isalnum() else "_" for letter in self.row)
        return f"{plain}-{self.epochs}-{self.seed}"

    @property
    def identity(self) -> tuple[str, int, int]:
        """Return row, epochs and seed: there is one result for them."""
        return self.row, self.epochs, self.seed

    def as_json(self) -> dict[str, Any]:
        """Return what identifies the run, for results.jsonl, with all values that are not the defaults."""
        default, own = (dotted(plain(settings_of(config))) for config in (Config(), self.config))
        other = {name: value for name, value in own.items() if value != default[name]}
        return {"row": self.row, "engine": self.engine, "epochs": self.epochs, "seed": self.seed, "settings": other}


def read_rows(path: Path) -> list[Run]:
    """Return the runs of a rows file: for each seed all budgets and rows, so that a part of them can be compared.

    The file is YAML: `seeds`, a list; `budgets`, a mapping from a number of epochs to flags; `rows`, a list of name,
    config (a preset, or a file beside the rows file), engine (ours or torch) and flags; and `flags` for all rows. If a
    flag is given several times, the one of the row counts, then that of the budget. The value null takes a flag away.

    Raises:
        UserError: the file cannot be read, or it has unknown keys or values.
    """
    document = _mapping(next(iter(read_yaml(path)), None), KEYS, str(path))
    seeds, budgets, rows = (document.get(key) for key in ("seeds", "budgets", "rows"))
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise UserError(f"{path}: seeds must be a list of numbers from 0 on, found {seeds!r}")
    if not isinstance(budgets, dict) or not budgets or not all(type(key) is int and key > 0 for key in budgets):
        raise UserError(f"{path}: budgets must map numbers of epochs to flags, for example {{30: {{}}}}; found "
                        f"{budgets!r}")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: rows must be a list with name and config of each row, found {rows!r}")
    common = document.get("flags")
    runs = [_run(path, row, epochs, seed, [common, budgets[epochs]])
            for seed in seeds for epochs in budgets for row in rows]
    keys = [run.key for run in runs]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise UserError(f"{path}: these runs have the same folder: {', '.join(repeated)}. Give the rows other names")
    return runs


def _run(path: Path, row: Any, epochs: int, seed: int, flags: list[Any]) -> Run:
    place = f"{path}, row {row.get('name', row)!r}" if isinstance(row, dict) else f"{path}, row {row!r}"
    row = _mapping(row, ROW_KEYS, place)
    name, engine = row.get("name"), row.get("engine", "ours")
    if not isinstance(name, str) or not isinstance(row.get("config"), str):
        raise UserError(f"{place}: name and config are needed")
    if engine not in ENGINES:
        raise UserError(f"{place}: engine must be one of {', '.join(ENGINES)}; found {engine!r}")
    config = path.parent / row["config"]
    if not config.is_file():
        config = find_config(row["config"], f"{place}: config ")
    merged: dict[str, Any] = {}
    for given in (*flags, row.get("flags")):
        if not isinstance(given or {}, dict):
            raise UserError(f"{place}: flags must be a mapping from settings to values, found {given!r}")
        merged.update(given or {})
    settings = ["--config_path", str(config.resolve()), "--seed", str(seed), "--epoch_size", str(epochs)]
    for setting, value in merged.items():
        if value is not None:
            settings += [f"--{setting}", *flag_words(value)]
    try:
        loaded = load_config("train", settings, "")
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    return Run(name, engine, epochs, seed, tuple(settings), loaded)


def _mapping(found: object, known: set[str], place: str) -> dict[str, Any]:
    """Return what was found. Raise UserError if it is no mapping, or has an unknown key."""
    if not isinstance(found, dict):
        raise UserError(f"{place}: a mapping with the keys {', '.join(sorted(known))} is needed, found {found!r}")
    if unknown := sorted(str(key) for key in found if key not in known):
        raise UserError(f"{place}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return found
