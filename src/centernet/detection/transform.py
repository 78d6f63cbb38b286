"""Transform an image to the network's input at test time, and record the transform for the way back.

There are two modes. keep_res keeps the resolution of the image and pads around it. Fixed resolution resizes the
image's longer side to one input size for all images.
"""
from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from centernet.documents import parse_json
from centernet.errors import sentence
from centernet.geometry import affine_matrix
from centernet.json_value import JsonValue
from centernet.program import prepare_again
from centernet.spec import ModelSpec

LOG = logging.getLogger("centernet")

MOST_CELLS = 16384  # of a side of the output map in a meta file


@dataclass(frozen=True)
class Meta:
    """The transform of one prepared image, as post-processing needs it.

    c is the centre (x, y) and s the width (or width and height) of the region that fills the input, in pixels of the
    image after resizing by `scale`. out_height and out_width are the input's size / down_ratio, in output cells.
    """

    c: tuple[float, float]
    s: float | tuple[float, float]
    out_height: int
    out_width: int
    scale: float = 1.0

    def to_json(self) -> str:
        """Return the text of a meta file (meta/<image_id>.json)."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, source: str | Path) -> Meta:
        """Parse a text of to_json. Raise UserError with the name `source` if it has another form."""
        subject = f"{source} is not the meta file of a prepared image (JSON with c, s, out_height, out_width)"
        row = JsonValue(parse_json(text, subject, sentence(prepare_again())), subject, prepare_again())
        center_x, center_y = (value.number() for value in row["c"].items(2))
        sides = [value.positive() for value in row["s"].items(1, 2)] if isinstance(row["s"].value, list) else [
            row["s"].positive()]
        scale = row.get("scale")
        return cls((center_x, center_y), sides[0] if len(sides) == 1 else (sides[0], sides[1]),
                   row["out_height"].whole(1, MOST_CELLS), row["out_width"].whole(1, MOST_CELLS),
                   1.0 if scale is None else scale.positive())


def input_size(height: int, width: int, scale: float, keep_res: bool, pad: int,
               input_res: tuple[int, int]) -> tuple[int, int]:
    """Return (H, W) of the network's input for an image of height x width pixels at a test scale."""
    if not keep_res:
        return input_res
    new_height, new_width = _scaled(height, width, scale)
    return (new_height | pad) + 1, (new_width | pad) + 1


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    return max(1, int(height * scale)), max(1, int(width * scale))


def warn_if_cut(size: tuple[int, int]) -> None:
    """Log a warning if an input of fixed (height, width) shows only a part of high images, see prepare_image."""
    height, width = size
    if height < width:
        LOG.warning("warning: the input is %d x %d pixels (width x height), and the longer side of each image becomes "
                    "%d pixels, as in the paper's code. So square and upright images are seen without their top and "
                    "bottom: only %d %% of their height remain. Use an input that is not wider than high, unless your "
                    "images are as wide", width, height, width, 100 * height // width)


def prepare_image(image: np.ndarray, spec: ModelSpec, *, scale: float = 1.0, keep_res: bool = False, pad: int = 0,
                  ) -> tuple[np.ndarray, Meta]:
    """Resize and centre one image for the network, and normalise it unless the model does.

    Args:
        image: (h, w, 3) uint8 BGR.
        spec: the model's specification; its input_size is used only without keep_res.
        scale: one of eval_config.multi_scales. At fixed resolution, the region is the longer side of the unscaled
            image. So a scale below 1 shrinks the image within the input, and a scale above 1 cuts off its borders, as
            in the paper's code.
        keep_res: keep the resolution and pad to the next multiple of pad + 1.
        pad: a power of two minus 1.

    Returns:
        float32 (3, H, W) in the model's colour order, or uint8 (H, W, 3) BGR if spec.raw; and the Meta that maps
        detections back to the image.
    """
    height, width = image.shape[:2]
    new_height, new_width = _scaled(height, width, scale)
    inp_height, inp_width = input_size(height, width, scale, keep_res, pad, spec.input_size)
    s: float | tuple[float, float]
    if keep_res:
        c, s = (float(new_width // 2), float(new_height // 2)), (float(inp_width), float(inp_height))
    else:
        c, s = (new_width / 2, new_height / 2), float(max(height, width))
    if (new_height, new_width) != (height, width):
        image = cv2.resize(image, (new_width, new_height))
    matrix = affine_matrix(np.array(c), s, 0, (inp_width, inp_height))
    warped = cv2.warpAffine(image, matrix, (inp_width, inp_height), flags=cv2.INTER_LINEAR)
    cells = inp_height // spec.down_ratio, inp_width // spec.down_ratio
    return spec.model_input(warped), Meta(c, s, *cells, float(scale))
