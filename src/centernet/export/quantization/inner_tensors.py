"""Access to the tensors inside a model while it runs."""
from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from onnx import ModelProto, TensorProto, helper

from centernet.export.quantization.calibration import Run
from centernet.runtimes.onnx_session import open_session


def run_inner(model: ModelProto, tensors: Iterable[str], exact: bool = False) -> Run:
    """Return a function that runs a model on images and returns inner float32 tensors by name.

    Args:
        model: the model.
        tensors: names of all tensors that the function can return.
        exact: add 8-bit products without saturation, also on x86 processors without VNNI (there it is slower).

    Raises:
        UserError: onnxruntime cannot run the model, see open_session.
    """
    opened = ModelProto()
    opened.CopyFrom(model)
    present = {output.name for output in opened.graph.output}
    opened.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
                               for name in tensors if name not in present)
    session = open_session(opened.SerializeToString(), {"session.x64quantprecision": str(int(exact))})
    source = session.get_inputs()[0].name

    def run(names: Sequence[str], images: np.ndarray) -> list[np.ndarray]:
        return session.run(list(names), {source: images})

    return run
