"""From an image to the network's input at test time, and what leads back.

Two modes. keep_res keeps every pixel and pads around the image; fixed
resolution fits the image's longer side into one input size for all images.
"""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from centernet.errors import UserError
from centernet.geometry import affine_matrix
from centernet.spec import ModelSpec


@dataclass(frozen=True)
class Meta:
    """What post-processing needs to know of one prepared image.

    c is the centre (x, y) and s the width (or width and height) of the region
    that fills the input, in pixels of the image after it was resized by
    `scale`; out_height, out_width are the input's size / down_ratio, in cells.
    """

    c: tuple[float, float]
    s: float | tuple[float, float]
    out_height: int
    out_width: int
    scale: float = 1.0

    def to_json(self) -> str:
        """The text of a sidecar file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str | Path) -> Meta:
        """Read what to_json wrote; UserError naming source if it is something else."""
        try:
            row = json.loads(text)
            center_x, center_y = map(float, row["c"])
            sides = row["s"] if isinstance(row["s"], list) else [row["s"]]
            if len(sides) > 2:
                raise ValueError(f"s must be one or two numbers, found {sides!r}")
            s = float(sides[0]) if len(sides) == 1 else (float(sides[0]), float(sides[1]))
            return cls((center_x, center_y), s, int(row["out_height"]), int(row["out_width"]),
                       float(row.get("scale", 1.0)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{source} is not a sidecar of a prepared image (JSON with c, s, out_height, out_width): "
                            f"{error!r}. Run preprocess.py again.") from error


def input_size(height: int, width: int, scale: float, keep_res: bool, pad: int,
               input_res: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the network's input for an image of height x width pixels tested at a scale."""
    if not keep_res:
        return input_res
    new_height, new_width = _scaled(height, width, scale)
    return (new_height | pad) + 1, (new_width | pad) + 1


def _scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    return max(1, int(height * scale)), max(1, int(width * scale))


def prepare_image(image: np.ndarray, spec: ModelSpec, *, scale: float = 1.0, keep_res: bool = False, pad: int = 0,
                  ) -> tuple[np.ndarray, Meta]:
    """Resize, centre and normalise one image for the network.

    Args:
        image: (h, w, 3) uint8 BGR.
        spec: of the model; its input_size counts without keep_res.
        scale: one of eval_config.multi_scales. At fixed resolution the region is
            the longer side of the unscaled image, so that a scale below 1
            shrinks the image within the input and one above 1 cuts its borders,
            as the paper's code does.
        keep_res: keep the resolution and pad to the next multiple of pad + 1.
        pad: a power of two minus 1.

    Returns:
        float32 (3, H, W), and the Meta that leads back to the image.
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
    return spec.normalize(warped), Meta(c, s, *cells, float(scale))
