"""Build a stand-in for CANN's libraries: `python -m tools.ascend_stub FOLDER`."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from centernet.errors import reports_errors
from tools.ascend_stub.library import build


@reports_errors
def main(argv: list[str] | None = None) -> int:
    """Build the libraries, print their folder, return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.ascend_stub",
                                     description="Build a stand-in for CANN's libraries, for MindSpore's dry run.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the stand-in is FOLDER/cann/latest")
    print(build(parser.parse_args(argv).folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
