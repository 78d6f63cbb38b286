"""The commands in README.md and docs/: their programs, flags, presets and values exist; those of own_data.md run."""
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from centernet.cli import COMMANDS, main
from centernet.config.declared import SETTINGS, aliases
from centernet.config.load import Config, load_config, write_config
from centernet.config.setting import ENTRIES
from centernet.config.shorthands import SHORTHANDS
from centernet.errors import UserError

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FLAG = re.compile(r"--[a-z][\w.-]*[\w]")
ENTRY_OF = {"src/dataset.py": "dataset", "convert-dataset": "dataset",
            **{name: name.replace("-", "_") for name in COMMANDS if name not in ("compare", "convert-dataset")},
            **{f"{name.replace('-', '_')}.py": name.replace("-", "_") for name in COMMANDS}}
OTHERS = {"docs/migration.md",  # the paper's flags; test_documents_pages.py looks at ours
          "--outfmt", "--output_dirname",  # flags of msame and ais_bench
          "--conf",                        # of other detectors: docs/troubleshooting.md
          "--max_memory"}                  # tools/soak.py makes its flags from a dataclass
FOREIGN = ("cd ", "git ", "pip ", "python main.py", "python test.py", "python demo.py", "python -m pytest", "docker ")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def shell_lines(text):
    """Yield the lines of shell blocks. Continued lines are joined."""
    for language, body in FENCE.findall(text):
        if language in ("", "shell", "bash"):
            yield from body.replace("\\\n", " ").splitlines()


def code_spans(text):
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]


def commands(text):
    """Yield the commands of a page that start a program of ours, as lists of words."""
    for line in [*shell_lines(text), *code_spans(text)]:
        try:
            words = shlex.split(line.removeprefix("$ "), comments=True)
        except ValueError:  # a line of output
            continue
        while words and re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
            words = words[1:]
        if words[:1] in (["python"], ["bash"], ["centernet"]) and len(words) > 1 and not line.startswith(FOREIGN):
            yield words


def entry_of(words):
    """Return the entry that a command starts, and its flags; None for another program."""
    program, rest = words[1], words[2:]
    if program == "-m" and rest[0] == "centernet":
        program, rest = rest[1], rest[2:]
    return (ENTRY_OF[program], rest) if program in ENTRY_OF and words[0] != "bash" else None


def missing_file(words):
    """Return the script or module of a command, if it does not exist; "" otherwise."""
    if words[0] == "centernet":
        return "" if words[1] in COMMANDS or words[1].startswith("-") or words[1].isupper() else words[1]
    if words[1] == "-m":
        name = words[2].replace(".", "/")
        known = words[2] in ("centernet", "pytest", "mypy", "pip", "venv")
        found = [ROOT / f"{name}.py", ROOT / name / "__init__.py", ROOT / "src" / f"{name}.py"]
        return "" if known or any(path.is_file() for path in found) else words[2]
    return "" if (ROOT / words[1]).is_file() else words[1]


def known_flags():
    """Return the names of all flags of our programs, with their dashes: of the entries, and in the code of others."""
    names = {*SETTINGS, *(item.name for item in SHORTHANDS), *(name for entry in ENTRIES for name in aliases(entry))}
    known = {*(f"--{name}" for name in names), *(f"--{name.rpartition('.')[2]}" for name in names), "--config_path"}
    for folder in ("scripts", "tools", "benchmarks", "src", "ascend310_infer/src"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".sh", ".cc", ".h"):
                text = path.read_text(encoding="utf-8")
                known.update(FLAG.findall(text))
                if path.name in ("options.cc", "modelarts.py"):  # they name flags without dashes
                    known.update(f"--{name}" for name in re.findall(r'"(\w+)"', text))
    return known


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the configuration of a run, under all names that the pages give it."""
    monkeypatch.chdir(tmp_path)
    for name in ("config.yaml", "runs/bccd/config.yaml", "run/config.yaml"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_config(Config(), Path(name))


def problems(text):
    """Return what is wrong with the commands of a page, a line each."""
    found = []
    for words in commands(text):
        if missing := missing_file(words):
            found.append(f"{' '.join(words)}: there is no {missing}")
        elif (started := entry_of(words)) and "..." not in words and "--help" not in words:
            entry, flags = started
            try:
                load_config(entry, [word for word in flags if word != "FLAGS"], "")
            except UserError as error:
                found.append(f"{' '.join(words)}: {error}")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_commands_can_be_parsed(folder, page):
    assert problems(read(page)) == []


@pytest.mark.parametrize("command, message", [
    ("python train.py --no_such 3", "unknown argument"), ("python trane.py", "there is no trane.py"),
    ("centernet eval --config_path nothing.yaml", "neither a file nor a preset"),
    ("centernet evaluate", "there is no evaluate"), ("bash scripts/nothing.sh", "there is no scripts/nothing.sh"),
    ("python -m tools.nothing", "there is no tools.nothing"),
    ("centernet train --train_config.PolyDecay.learning_rate 1", "has no effect")])
def test_a_wrong_command_is_found(folder, command, message):
    for text in (f"```shell\n{command}\n```\n", f"Run `{command}` now."):
        assert [message in line for line in problems(text)] == [True]


def test_flags_in_the_text_exist():
    known = known_flags()
    found = {(page, flag) for page in PAGES if page not in OTHERS
             for span in [*shell_lines(read(page)), *code_spans(read(page))] if not span.startswith(FOREIGN)
             for flag in FLAG.findall(span)}
    assert len(found) > 300
    assert sorted((page, flag) for page, flag in found if flag not in known | OTHERS) == []


def own_data_commands():
    return list(commands("".join(re.findall("^```shell.*?^```$", read("docs/own_data.md"), re.MULTILINE | re.DOTALL))))


def test_the_evaluations_that_own_data_compares_have_reports():
    """Without --report true, compare shows neither types of error nor settings."""
    words = own_data_commands()
    compared = next(line for line in words if line[1] == "compare")
    reported = [line[line.index("--out") + 1] for line in words
                if line[1] == "eval" and "--report true" in " ".join(line)]
    assert compared[2:4] == reported


def link_cells(cells, names):
    """Make a VOC data set `bccd` of links to some of its images, by the names of both splits."""
    for split, stems in names.items():
        for stem in stems:
            for part in (f"Annotations/{stem}.xml", f"JPEGImages/{stem}.jpg"):
                Path("bccd", part).parent.mkdir(parents=True, exist_ok=True)
                Path("bccd", part).symlink_to(cells / part)
        path = Path("bccd/ImageSets/Main", f"{split}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{stem}\n" for stem in stems))


def test_photographs_become_shards_as_the_page_says(bccd, tmp_path, monkeypatch, capsys):
    """The first three commands of own_data.md, on 12 images."""
    monkeypatch.chdir(tmp_path)
    stems = sorted(path.stem for path in (bccd / "JPEGImages").iterdir())
    link_cells(bccd, {"trainval": stems[:8], "test": stems[8:12]})
    for words in own_data_commands()[:3]:
        assert main(words[1:]) == 0, capsys.readouterr().err
    assert len(list(Path("shards").glob("*.mind*.db"))) == 8 and Path("report/index.html").stat().st_size > 10_000


@pytest.mark.slow
def test_all_commands_of_own_data_run(bccd, tmp_path):
    """As they stand, on all images: about seven minutes."""
    (tmp_path / "bccd").symlink_to(bccd)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    average = {}
    for words in own_data_commands():
        program = [sys.executable, *(["-m", "centernet"] if words[0] == "centernet" else []), *words[1:]]
        program = [found for word in program
                   for found in (sorted(map(str, tmp_path.glob(word))) if "*" in word else [word])]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
        if words[1] == "eval":
            line = re.search(r"area= +all \| maxDets=100 \] = (\S+)", done.stdout)
            average[words[words.index("--out") + 1]] = line[1]
    assert float(average["results"]) > 0.15 and average["results"] == average["results_onnx"]
    assert (tmp_path / "comparison.html").stat().st_size > 10_000
