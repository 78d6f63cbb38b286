"""MindSpore Lite in the inference benchmark: the C++ program with a model of the same weights."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from centernet.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
RUNS = 3  # timed runs of the model in each run of the program, after one warm-up run


class LiteProgram:
    """Runs the C++ program on one image. `seconds` has the median time of the model in each call.

    The time of a call itself is no measure, because each call starts a process that builds the model again.
    """

    def __init__(self, export_flags: list[str], x: np.ndarray, folder: Path):
        """Export a checkpoint, and build the program in the parent of folder.

        Args:
            export_flags: flags of export.py, with --export_load_ckpt and without --export_name.
            x: float32 (1,3,h,w), the prepared image.
            folder: folder for the model and its input.

        Raises:
            UserError: MindSpore Lite is not installed, or export or build failed.
        """
        lite = lite_folder()
        if lite is None:
            raise UserError("MindSpore Lite is not installed: run bash scripts/set_up_lite.sh")
        self.seconds: list[float] = []
        self.folder, self.program = folder, folder.parent / "program/centernet_infer"
        run_or_fail([sys.executable, "-m", "tools.export_mindir_lite20", *export_flags, "--export_deform", "gather",
                     "--device_target", "CPU", "--export_name", str(folder / "model")],
                    MINDSPORE20_PYTHON=str(lite / "mindspore20/bin/python"), PYTHONPATH=str(ROOT))
        run_or_fail(["bash", str(ROOT / "ascend310_infer/build.sh"), str(self.program.parent)], MS_LITE_HOME=str(lite),
                    PYTHON=sys.executable)
        (folder / "input").mkdir()
        for number in range(RUNS):
            x.tofile(folder / f"input/{number}.bin")

    def __call__(self) -> None:
        """Run the program once and append its median to `seconds`."""
        run_or_fail([str(self.program), "--model_path", str(self.folder / "model.mindir"), "--input_path",
                     str(self.folder / "input"), "--output_path", str(self.folder), "--device_target", "CPU"],
                    GLOG_v="3")
        report = (self.folder / "time_Result/test_perform_result.txt").read_text(encoding="utf-8")
        self.seconds.append(float(re.findall(r"median ([\d.]+) ms", report)[0]) / 1000)


def lite_folder() -> Path | None:
    """Return the folder of MindSpore Lite and MindSpore 2.0 of set_up_lite.sh (or CENTERNET_LITE); None without it."""
    folder = Path(os.environ.get("CENTERNET_LITE", f"{sys.prefix}-lite"))
    return folder if (folder / "mindspore_lite").is_dir() and (folder / "mindspore20/bin/python").exists() else None


def run_or_fail(command: list[str], **environment: str) -> None:
    """Run a command. Raise UserError with the end of its output if it fails."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise UserError(f"{' '.join(command[:3])} ... failed with status {done.returncode}:\n{output}")
