"""What is installed fits MindSpore and is locked: every way to install keeps NumPy below 2."""
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.licences import locked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FILES = sorted(ROOT.glob("requirements*.txt"))
LOCKS = sorted((ROOT / "requirements").glob("lock-*.txt"))
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


def test_the_scripts_keep_numpy_below_2_and_lock_what_they_download():
    """With Python 3.9, pip takes NumPy 2 for MindSpore 2.0."""
    assert "mindspore==2.0.0 'numpy<2'" in (ROOT / "scripts/set_up_mindspore20.sh").read_text()
    lite = "requirements/mindspore-lite-2.0.txt"
    assert lite in (ROOT / "scripts/get_mindspore_lite.sh").read_text()
    form = r"^mindspore-lite==2\.0\.0 \\\n +--hash=sha256:[0-9a-f]{64}"
    assert re.search(form, (ROOT / lite).read_text(), re.MULTILINE)


def test_the_package_needs_what_the_files_list():
    assert sorted(PROJECT["dependencies"]) == sorted(lines(ROOT / "requirements.txt"))
    extras = PROJECT["optional-dependencies"]
    own = f"{PROJECT['name']}[onnx]"
    assert {*PROJECT["dependencies"], *extras["onnx"]} >= {*lines(ROOT / "requirements-onnx.txt")}
    assert {*PROJECT["dependencies"], *extras["onnx"], *extras["test"]} - {own} == {
        *lines(ROOT / "requirements-test.txt")}
    assert [name.split("+")[0] for name in lines(ROOT / "requirements-convert.txt")][-1:] == extras["torch"]


def test_each_supported_python_has_a_lock_file():
    low, high = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert [path.name for path in LOCKS] == [f"lock-3.{minor}.txt" for minor in range(int(low), int(high))]


@pytest.mark.fault("a requirements file is changed without the lock files", "the ranges and the locked versions are "
                   "compared", "a package that is not locked, or another version than the ranges allow, is named")
@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_the_lock_file_has_what_is_required(path):
    """After a change of requirements-test.txt: bash scripts/lock_requirements.sh."""
    versions = {name: version for name, (version, _) in locked(path).items()}
    needed = [Requirement(line) for line in lines(ROOT / "requirements-test.txt")]
    assert needed and not [str(one) for one in needed
                           if not one.specifier.contains(versions.get(canonicalize_name(one.name), "0"))]
    direct = {name for name, (_, users) in locked(path).items() if any(user.startswith("-r ") for user in users)}
    assert direct == {canonicalize_name(one.name) for one in needed}


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_each_locked_package_has_hashes(path):
    blocks = re.split(r"^(?=[a-z])", path.read_text(), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked(path)) > 40
    form = r"\S+==\S+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+"
    assert not [block for block in blocks if not re.match(form, block)]


@pytest.mark.fault("the registry gives another file than the locked one",
                   "a wheel whose SHA-256 is not in the lock file", "pip refuses it")
def test_a_file_that_is_not_the_locked_one_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "one-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("one-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: one\nVersion: 1.0\n")
        wheel.writestr("one-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("one-1.0.dist-info/RECORD", "")
    (tmp_path / "lock.txt").write_text(f"one==1.0 --hash=sha256:{'0' * 64}\n")
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--find-links", tmp_path,
                           "-r", tmp_path / "lock.txt"], capture_output=True, text=True)
    digest = hashlib.sha256((tmp_path / "one-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert done.returncode == 1 and "DO NOT MATCH THE HASHES" in done.stderr and digest in done.stderr


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


@pytest.mark.parametrize("words", [["-r", "requirements-onnx.txt"], *(pytest.param(words, marks=pytest.mark.slow)
                                   for words in (["-r", "requirements-convert.txt"], *SLOW))],
                         ids=lambda words: " ".join(words).replace("-r ", ""))
def test_what_pip_chooses_has_numpy_1(words):
    found = resolve(*words)
    assert found["numpy"].startswith("1."), found
