"""The checks without running the code: each finds what it is there for."""
import ast
import re
import subprocess
import sys

import pytest

from tools import lint

GOOD = {"a.py": "print(1)\n", "run.sh": "#!/usr/bin/env bash\nset -euo pipefail\necho 1\n",
        "part.sh": "#!/usr/bin/env bash\n# Functions of other scripts; source it.\necho 1\n",
        "inc/a.h": "#ifndef CENTERNET_A_H_\n#define CENTERNET_A_H_\nint a();\n#endif  // CENTERNET_A_H_\n",
        "src/a.cc": "int a() { return 1; }\n", "docs/a.md": "[b](../README.md#top) [c](https://example.org) [d](#e)\n",
        "README.md": "`bash scripts/a.sh`, [docs](docs)\n", "scripts/a.sh": "#!/bin/bash\nset -euo pipefail\n",
        ".clang-format": "BasedOnStyle: Google\n", "pyproject.toml": "[tool.mypy]\nfiles = ['.']\n"}
BAD = {"a.py": ("import os\n", "F401"), "b.py": ("number: int = 'a'\n", "mypy (status 1)"),
       "run.sh": ("#!/usr/bin/env bash\nset -euo pipefail\necho $1\n", "SC2086"),
       "part.sh": ("#!/usr/bin/env bash\necho 1\n", "part.sh: it has neither 'set -euo pipefail' nor"),
       ".ci/run": ("#!/usr/bin/env bash\necho 1\n", ".ci/run: it has neither"),
       "inc/a.h": ("int a();\n", "a.h: the line '#ifndef CENTERNET_A_H_' is missing"),
       "src/a.cc": ("int a() {return 1;}\n", "clang-format (status 1)"),
       "c.py": ("# 1\n" * 301, "c.py: 301 lines, at most 300 are allowed"),
       "d.py": ("def f(x):\n    \"\"\"Say it.\"\"\"\n" + "    print(x)\n" * 41,
                "d.py: f has 41 lines, at most 40 are allowed"),
       "src/b.cc": ("\n" * 301, "b.cc: 301 lines, at most 300 are allowed"),
       "docs/a.md": ("[b](../no.md)\n", "docs/a.md: the link to ../no.md leads nowhere"),
       "docs/b.md": ("[b](../../b.md)\n", "docs/b.md: the link to ../../b.md leads nowhere"),
       "README.md": ("`python src/no.py`\n", "README.md: there is no src/no.py")}


def written(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_nothing_is_found_where_nothing_is_wrong(tmp_path):
    assert list(lint.problems(written(tmp_path, GOOD))) == []


def test_types_are_checked_in_all_folders_but_the_tests():
    settings = (lint.ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^\[tool.mypy\]\nfiles = (\[.*\])$", settings, re.MULTILINE)
    paths = [path for path in lint.tracked(lint.ROOT) if path.suffix == ".py"]
    assert {path.parts[0] if len(path.parts) > 1 else "*.py" for path in paths} == {"tests", *ast.literal_eval(listed)}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The problems of all bad files together."""
    bad = {name: text for name, (text, _) in BAD.items()}
    return list(lint.problems(written(tmp_path_factory.mktemp("bad"), {**GOOD, **bad})))


@pytest.mark.parametrize("name", BAD)
def test_each_check_can_fail(found, name):
    assert any(name in text and BAD[name][1] in text for text in found), found


def test_files_that_are_not_committed_do_not_count(tmp_path):
    written(tmp_path, GOOD)
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    written(tmp_path, {"new.md": "[b](no.md)\n"})
    assert list(lint.problems(tmp_path)) == []
    written(tmp_path, {"README.md": "[new](new.md)\n"})
    assert "the link to new.md leads nowhere, or to a file that is not committed" in "".join(lint.problems(tmp_path))


def test_a_missing_tool_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    found = list(lint.problems(written(tmp_path, GOOD)))
    assert [text.split(" ")[0] for text in found] == ["ruff", "mypy", "shellcheck", "clang-format"]
    assert all("is not installed: pip install -r requirements-test.txt" in text for text in found)


def test_the_exit_status_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lint, "problems", lambda: iter(()))
    assert lint.main() == 0 and "no problem" in capsys.readouterr().out
    monkeypatch.setattr(lint, "problems", lambda: iter(["one", "two"]))
    assert lint.main() == 1 and capsys.readouterr().out == "one\ntwo\n"
