import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = subprocess.run(["git", "ls-files", "*.sh", ".ci/run"], cwd=ROOT, capture_output=True, text=True).stdout
SCRIPTS = TRACKED.split() or [str(path.relative_to(ROOT)) for path in ROOT.glob("scripts/**/*.sh")]
SHELLCHECK = Path(sys.executable).parent / "shellcheck"


@pytest.mark.skipif(not SHELLCHECK.exists(), reason="shellcheck is not in this environment (requirements-test.txt)")
@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script):
    found = subprocess.run([SHELLCHECK, "--external-sources", "--source-path", ROOT, script], cwd=ROOT,
                           capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_stop_at_the_first_error(script):
    text = (ROOT / script).read_text(encoding="utf-8")
    sourced = re.search(r"^# .*\bsource it\b", text, re.MULTILINE)
    assert sourced or "set -euo pipefail" in text
