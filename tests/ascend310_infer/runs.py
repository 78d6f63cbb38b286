"""Runs of the C++ program and their results (`from tests.ascend310_infer.runs import ...`)."""
import numpy as np


def run(program, work, inputs, out, **flags):
    done = program(model_path=work / "model.mindir", input_path=inputs, output_path=out, device_target="CPU", **flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


def detections(folder):
    return {path.name: np.fromfile(path, "<f4").reshape(1, 20, 6) for path in sorted(folder.glob("*.bin"))}
