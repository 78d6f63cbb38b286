"""The documents: every relative link leads to a tracked file."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("scripts/**/*.md")])
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8")):
        path = (document.parent / target).resolve()
        assert path.exists(), target
        assert not TRACKED or str(path.relative_to(ROOT)) in TRACKED or path.is_dir(), f"{target} is not committed"


@pytest.mark.parametrize("script", re.findall(r"(?:bash|python) ((?:scripts|src)/[\w/]+\.(?:sh|py))",
                                              (ROOT / "README.md").read_text(encoding="utf-8")))
def test_scripts_of_the_readme_exist(script):
    assert (ROOT / script).is_file()
