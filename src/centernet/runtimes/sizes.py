"""Which input sizes a network takes, and how long its runs took."""
from __future__ import annotations

from centernet.config.schema import NetConfig
from centernet.errors import UserError


def map_size(height: int, width: int) -> tuple[int, int]:
    """Cells (h, w) of the output map: strides halve five times, rounding up, three up-convolutions double.

    A quarter of sizes that are multiples of 32, hence of all that networks but ResNets take.
    """
    return -(-height // 32) * 8, -(-width // 32) * 8


def require_size(height: int, width: int, net: NetConfig) -> None:
    """Raise UserError if an input of height x width pixels is not of a size that the backbone takes."""
    unit = net.size_unit
    if height % unit or width % unit:
        raise UserError(f"{net.backbone} takes inputs whose height and width are multiples of {unit}, found {height} x "
                        f"{width}: set --eval_config.pad to {unit - 1}, or other sizes without eval_config.keep_res")


def require_cells(height: int, width: int, K: int) -> None:
    """Raise UserError if an input of height x width pixels has fewer output cells than K detections need."""
    rows, columns = map_size(height, width)
    if rows * columns < K:
        raise UserError(f"eval_config.K is {K}, but an input of {height} x {width} pixels has only {rows} x {columns} "
                        f"= {rows * columns} output cells: set --eval_config.K to at most {rows * columns}, or use "
                        "a larger input")


def speed(seconds: list[float], batch: int) -> str:
    """A line for the log on the time of each call of a backend with `batch` images.

    The first call, which may compile, is told apart.
    """
    first = f"first run: {seconds[0]:.2f} s"
    if len(seconds) == 1:
        return first
    per_image = sum(seconds[1:]) / (len(seconds) - 1) / batch
    return f"{per_image * 1000:.1f} ms an image, {1 / per_image:.1f} images/s; {first}"
