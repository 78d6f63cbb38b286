"""Static checks: style of Python, shell and C++, types, and links in the documents.

    python -m tools.lint        prints all problems; the exit status is 1 if there are any
"""
from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST_SOURCE = 300  # largest number of lines in a file of Python or C++
LONGEST_FUNCTION = 40  # largest number of lines in a function of Python, without its docstring
# (?!...): links to other sites and within a page are not checked.
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
SCRIPT = re.compile(r"(?:bash|python) ((?:scripts|src)/[\w/]+\.(?:sh|py))")


def tracked(root: Path) -> list[Path]:
    """Return the files that git tracks, relative to root; without a git repository, all files."""
    git = shutil.which("git") or "git"
    listed = run_tool([git, "ls-files", "-z"], root)
    if listed.returncode == 0 and listed.stdout:
        found = [Path(name) for name in listed.stdout.rstrip("\0").split("\0")]
    else:
        found = [path.relative_to(root) for path in root.rglob("*")]
    return sorted(path for path in found if (root / path).is_file() and not path.parts[0].startswith(".venv"))


def commands(shell: Sequence[Path], cpp: Sequence[Path]) -> Iterator[list[str]]:
    """Yield one command for each tool, for all files together."""
    tools = Path(sys.executable).parent
    yield [str(tools / "ruff"), "check", "."]
    yield [str(tools / "mypy")]  # pyproject.toml has its files and options
    if shell:
        yield [str(tools / "shellcheck"), "--external-sources", "--source-path", ".", *map(str, shell)]
    if cpp:
        yield [str(tools / "clang-format"), "--dry-run", "-Werror", *map(str, cpp)]


def run_tool(command: Sequence[str], root: Path) -> subprocess.CompletedProcess[str]:
    """Run a command and return the finished process. The status is 127 if the program is not installed."""
    try:
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "is not installed: pip install -r requirements-test.txt\n")


def shell_problems(path: Path, text: str) -> Iterator[str]:
    """Check that a script stops at its first error, unless other scripts source it."""
    if "set -euo pipefail" not in text and not re.search(r"^# .*\bsource it\b", text, re.MULTILINE):
        yield f"{path}: it has neither 'set -euo pipefail' nor a comment that says to source it"


def length_problems(path: Path, text: str) -> Iterator[str]:
    """Check that a file is short."""
    lines = len(text.splitlines())
    if lines > LONGEST_SOURCE:
        yield f"{path}: {lines} lines, at most {LONGEST_SOURCE} are allowed"


def python_problems(path: Path, text: str) -> Iterator[str]:
    """Check that functions are short. Ruff reports a file that Python cannot parse."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:
        return
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            lines = (node.end_lineno or 0) - first.lineno + 1
            if lines > LONGEST_FUNCTION:
                yield f"{path}: {node.name} has {lines} lines, at most {LONGEST_FUNCTION} are allowed"


def cpp_problems(path: Path, text: str) -> Iterator[str]:
    """Check that headers have a guard with their name."""
    lines = text.splitlines()
    guard = f"#ifndef CENTERNET_{path.stem.upper()}_H_"
    if path.suffix == ".h" and guard not in lines:
        yield f"{path}: the line '{guard}' is missing"


def link_problems(path: Path, text: str, root: Path, files: Sequence[Path]) -> Iterator[str]:
    """Check that relative links lead to a folder or a committed file, and that scripts in a README exist."""
    for target in LINK.findall(text):
        place = (root / path).parent.joinpath(target).resolve()
        if not place.is_dir() and not (place.is_relative_to(root) and place.relative_to(root) in files):
            yield f"{path}: the link to {target} leads nowhere, or to a file that is not committed"
    if path.name == "README.md":
        yield from (f"{path}: there is no {script}" for script in SCRIPT.findall(text) if Path(script) not in files)


def problems(root: Path = ROOT) -> Iterator[str]:
    """Yield one message for each problem in the files below root."""
    files = tracked(root)
    shell = [path for path in files if path.suffix == ".sh" or path == Path(".ci/run")]
    cpp = [path for path in files if path.suffix in (".h", ".cc")]
    for command in commands(shell, cpp):
        done = run_tool(command, root)
        if done.returncode:
            yield f"{Path(command[0]).name} (status {done.returncode}): {done.stdout}{done.stderr}"
    checks = {".py": python_problems, ".cc": cpp_problems, ".h": cpp_problems}
    for path in files:
        if path in shell:
            yield from shell_problems(path, (root / path).read_text(encoding="utf-8"))
        elif path.suffix in checks:
            text = (root / path).read_text(encoding="utf-8")
            yield from length_problems(path, text)
            yield from checks[path.suffix](path, text)
        elif path.suffix == ".md":
            yield from link_problems(path, (root / path).read_text(encoding="utf-8"), root, files)


def main(argv: Sequence[str] = ()) -> int:
    """Print all problems; returns the exit status."""
    argparse.ArgumentParser(prog="python -m tools.lint", description=__doc__.splitlines()[0]).parse_args(argv)
    found = list(problems())
    print("\n".join(found) or "ruff, mypy, shellcheck, clang-format and the documents' links: no problem")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
