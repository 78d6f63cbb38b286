"""MindSpore Lite as one more runtime of the inference benchmark: the C++ program on a model of the same weights."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from centernet.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
RUNS = 3  # timed runs of the model in each run of the program, after one that does not count


class LiteProgram:
    """Runs the built program on one image; `seconds` has the median of the model's times of each call.

    The program is a process of its own, so what a call takes is no measure: it builds the model again.
    """

    def __init__(self, export_flags: list[str], x: np.ndarray, folder: Path):
        """Export the checkpoint that the flags of export.py name, build the program in folder's parent.

        Args:
            export_flags: flags of export.py, with --export_load_ckpt and without --export_name.
            x: float32 (1,3,h,w), the prepared image.
            folder: for the model and its input.

        Raises:
            UserError: MindSpore Lite is not there, or exporting or building failed.
        """
        lite = lite_folder()
        if lite is None:
            raise UserError("MindSpore Lite is not there: bash scripts/set_up_lite.sh fetches it")
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
        """Run the program once and note its median."""
        run_or_fail([str(self.program), "--model_path", str(self.folder / "model.mindir"), "--input_path",
                     str(self.folder / "input"), "--output_path", str(self.folder), "--device_target", "CPU"],
                    GLOG_v="3")
        report = (self.folder / "time_Result/test_perform_result.txt").read_text(encoding="utf-8")
        self.seconds.append(float(re.search(r"median ([\d.]+) ms", report)[1]) / 1000)


def lite_folder() -> Path | None:
    """Where set_up_lite.sh put MindSpore Lite and MindSpore 2.0 (CENTERNET_LITE names another); None if it did not."""
    folder = Path(os.environ.get("CENTERNET_LITE", f"{sys.prefix}-lite"))
    return folder if (folder / "mindspore_lite").is_dir() and (folder / "mindspore20/bin/python").exists() else None


def run_or_fail(command: list[str], **environment: str) -> None:
    """Run a command; UserError with the end of what it said if it fails."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise UserError(f"{' '.join(command[:3])} ... failed with status {done.returncode}:\n{said}")
