"""What is installed fits MindSpore: every way to install keeps NumPy below 2."""
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FILES = sorted(ROOT.glob("requirements*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lines(path):
    """The requirements of a file, and of those that it includes, without comments and spaces."""
    for line in path.read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            yield from lines(path.parent / line[3:])
        elif line and not line.startswith("-"):
            yield line.replace(" ", "")


def test_each_file_alone_keeps_numpy_below_2():
    assert len(FILES) == 4
    for path in FILES:
        assert "numpy>=1.25,<2" in lines(path), path.name


def test_the_package_needs_what_the_files_list():
    assert sorted(PROJECT["dependencies"]) == sorted(lines(ROOT / "requirements.txt"))
    extras = PROJECT["optional-dependencies"]
    own = f"{PROJECT['name']}[onnx]"
    assert {*PROJECT["dependencies"], *extras["onnx"]} >= {*lines(ROOT / "requirements-onnx.txt")}
    assert {*PROJECT["dependencies"], *extras["onnx"], *extras["test"]} - {own} == {
        *lines(ROOT / "requirements-test.txt")}
    assert [name.split("+")[0] for name in lines(ROOT / "requirements-convert.txt")][-1:] == extras["torch"]


def resolve(*words):
    """Package -> version that pip would install into an empty environment."""
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
                           "--report", "-", "--retries", "1", *words], capture_output=True, text=True, cwd=ROOT)
    if done.returncode and re.search("connection|resolve host|No matching distribution", done.stderr, re.IGNORECASE):
        pytest.skip(f"the package registry does not answer: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return {row["metadata"]["name"].lower(): row["metadata"]["version"] for row in report["install"]}


SLOW = [["-r", "requirements.txt", "-r", "requirements-onnx.txt"], ["-r", "requirements-test.txt"], [".[onnx]"],
        [".[test]"]]


@pytest.mark.parametrize("words", [["-r", "requirements-onnx.txt"], ["-r", "requirements-convert.txt"],
                                   *(pytest.param(words, marks=pytest.mark.slow) for words in SLOW)],
                         ids=lambda words: " ".join(words).replace("-r ", ""))
def test_what_pip_chooses_has_numpy_1(words):
    found = resolve(*words)
    assert found["numpy"].startswith("1."), found
