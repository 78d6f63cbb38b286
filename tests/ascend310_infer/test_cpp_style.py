import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "ascend310_infer"
SOURCES = sorted([*FOLDER.glob("inc/*.h"), *FOLDER.glob("src/*.cc")])
CLANG_FORMAT = shutil.which("clang-format", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(CLANG_FORMAT is None, reason="clang-format is not in this environment (requirements-test.txt)")
def test_the_sources_keep_the_style():
    assert len(SOURCES) > 15
    found = subprocess.run([CLANG_FORMAT, "--dry-run", "-Werror", *SOURCES], cwd=FOLDER, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_files_are_small_and_guarded():
    for path in SOURCES:
        lines = path.read_text().splitlines()
        assert len(lines) <= 300, path
        assert path.suffix != ".h" or f"#ifndef CENTERNET_{path.stem.upper()}_H_" in lines, path
