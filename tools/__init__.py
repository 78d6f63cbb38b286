"""Commands for the maintainers of the project. They run from a checkout: `python -m tools.NAME`."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
