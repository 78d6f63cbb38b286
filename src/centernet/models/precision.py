"""Half precision: convolutions in float16 or bfloat16, and what stays in float32."""
from __future__ import annotations

import mindspore as ms
from mindspore import nn

from centernet.errors import UserError
from centernet.models.deform_conv import DeformConv
from centernet.models.heads import Heads

HALF = {"float16": ms.float16, "bfloat16": ms.bfloat16}


def precision_of(level: str, amp_type: str, device_target: str, exact: bool = False) -> str:
    """Return the precision of a training's convolutions: float32, float16 or bfloat16.

    Args:
        level: O0, O2, or auto: O2 on Ascend, O0 on a CPU, where float16 is slower than float32.
        amp_type: a key of HALF, used with O2.
        device_target: Ascend or CPU.
        exact: results are to be compared with those of float32; then auto is O0.

    Raises:
        UserError: the device has no kernels for the chosen precision.
    """
    if level == "auto":
        level = "O2" if device_target == "Ascend" and not exact else "O0"
    if level == "O0":
        return "float32"
    if amp_type == "bfloat16" and device_target == "CPU":
        raise UserError("train_config.amp_type bfloat16 needs --device_target Ascend: MindSpore has no such "
                        "convolutions for CPU. Use float16")
    return amp_type


def lower(network: nn.Cell, amp_type: str) -> None:
    """Let a network compute in half precision, before its first run. All parameters stay float32.

    Convolutions compute in half precision, and so do the layers between them, which have the dtype of their input. In
    float32 are: scale, shift and statistics of batch norm; the predicted positions and masks of deformable layers; the
    last convolution of each head, because a score of float16 has only three digits.

    Args:
        network: see build_centernet; changed in place.
        amp_type: a key of HALF.
    """
    cells = [cell for _, cell in network.cells_and_names()]
    exact = [cell.offset for cell in cells if isinstance(cell, DeformConv)]
    exact += [head[-1] for cell in cells if isinstance(cell, Heads) for head in cell.cells()]
    for cell in cells:
        if isinstance(cell, (nn.Conv2d, nn.Conv2dTranspose)):
            in_float32 = any(cell is one for one in exact)
            cell.to_float(ms.float32 if in_float32 else HALF[amp_type])
        elif isinstance(cell, nn.BatchNorm2d) and amp_type == "bfloat16":
            cell.to_float(ms.float32)  # MindSpore's batch norm does not take bfloat16
