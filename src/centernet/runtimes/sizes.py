"""Checks of input sizes, and the log line about the speed of a model."""
from __future__ import annotations

from centernet.config.schema import NetConfig
from centernet.errors import UserError


def map_size(height: int, width: int) -> tuple[int, int]:
    """Return the size (h, w) of the output map for an input of height x width pixels.

    A ResNet halves the size five times and rounds up; three transposed convolutions double it. For multiples of 32 the
    result is a quarter of the input. The other networks, and necks with shortcuts, allow only multiples of 32.
    """
    return -(-height // 32) * 8, -(-width // 32) * 8


def require_size(height: int, width: int, net: NetConfig) -> None:
    """Raise UserError if the network does not allow an input of height x width pixels."""
    unit = net.size_unit
    if height % unit or width % unit:
        raise UserError(f"{net.title} takes inputs whose height and width are multiples of {unit}, found {height} x "
                        f"{width}: set --eval_config.pad to {unit - 1}, or, without eval_config.keep_res, use other "
                        "sizes")


def possible_detections(height: int, width: int, K: int) -> int:
    """Return the number of detections of an input of height x width pixels: K, or its output cells if fewer."""
    rows, columns = map_size(height, width)
    return min(K, rows * columns)


def require_cells(height: int, width: int, K: int) -> None:
    """Raise UserError if an input of height x width pixels has fewer output cells than K detections need.

    An exported model needs this, because each of its outputs has K rows.
    """
    rows, columns = map_size(height, width)
    if rows * columns < K:
        raise UserError(f"eval_config.K is {K}, but an input of {height} x {width} pixels has only {rows} x {columns} "
                        f"= {rows * columns} output cells: set --eval_config.K to at most {rows * columns}, or use "
                        "a larger input")


def speed(seconds: list[float], batch: int) -> str:
    """Return a log line about the speed of a model.

    Args:
        seconds: time of each call of the backend. The first call may compile, so its time is reported separately.
        batch: number of images in a call.
    """
    first = f"first run: {seconds[0]:.2f} s"
    if len(seconds) == 1:
        return first
    per_image = sum(seconds[1:]) / (len(seconds) - 1) / batch
    return f"{per_image * 1000:.1f} ms an image, {1 / per_image:.1f} images/s; {first}"
