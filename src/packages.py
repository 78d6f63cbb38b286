"""Whether this Python has the packages of requirements.txt: src.config imports this before any of them is needed."""
import importlib.util
import sys

REQUIRED = ("cv2", "numpy", "tqdm", "yaml")  # mindspore: see runtime.device

if missing := [name for name in REQUIRED if importlib.util.find_spec(name) is None]:
    print(f"error: {sys.executable} lacks the packages {', '.join(missing)}: activate the project's environment, or "
          "install them with pip install -r requirements.txt", file=sys.stderr)
    raise SystemExit(2)
