"""The steps from an image to boxes, in words and formulas, for a program that has only a model and its manifest."""
from __future__ import annotations

from centernet.config.sections import CELL_POINT
from centernet.spec import ModelSpec

MAPS_TO_CELLS = {
    "wh_reg": "cx, cy = x + reg[0,y,x], y + reg[1,y,x] (without a map reg: x + 0.5, y + 0.5). The box is cx - w/2, "
              "cy - h/2, cx + w/2, cy + h/2 with w, h = wh[i,y,x], wh[i+1,y,x] and {channel}",
    "ltrb": f"the box is x + p - ltrb[0,y,x], y + p - ltrb[1,y,x], x + p + ltrb[2,y,x], y + p + ltrb[3,y,x] with p = "
            f"{CELL_POINT}",
}


def steps_of(spec: ModelSpec, batch: int, maps: str, K: int, cat_spec_wh: bool) -> dict[str, str]:
    """Return the steps in order, name -> text. examples/run_onnx.py does them with NumPy and OpenCV.

    Args:
        spec: specification of the model.
        batch: images of one run; 0: any number.
        maps: the box head of a model whose outputs are maps, "wh_reg" or "ltrb"; "" if its graph decodes them.
        K: detections per image.
        cat_spec_wh: wh has two channels for each category.
    """
    height, width = spec.input_size
    rows, columns = (side // spec.down_ratio for side in (height, width))
    order = " with the channels reversed to RGB" if spec.to_rgb else ""
    channel = "i = 2 * c" if cat_spec_wh else "i = 0"
    steps = {
        "read": "decode to 8-bit BGR, h x w pixels, turned as EXIF says",
        "resize": f"cv2.warpAffine(image, [[s, 0, {width / 2:g} - s*w/2], [0, s, {height / 2:g} - s*h/2]], "
                  f"({width}, {height}), flags=cv2.INTER_LINEAR) with s = {width} / max(h, w); outside the image 0",
        "normalize": "none: the model takes the 8-bit BGR pixels, NHWC" if spec.raw else
                     f"(pixel / 255 - mean) / std{order}, float32, NCHW",
        "batch": f"{batch} images; fill with copies" if batch else "any number of images",
    }
    if maps:
        steps |= {
            "peaks": "score = 1 / (1 + exp(-hm)). A score that is not the largest of its 3 x 3 cells counts as 0. Take "
                     f"the K = {K} highest over all classes c and cells (y, x)",
            "decode": MAPS_TO_CELLS[maps].format(channel=channel),
        }
    return steps | {
        "detections": "x1, y1, x2, y2 in cells of the output map, score 0..1, class; best first",
        "image": f"x = (x - {columns / 2:g}) * max(h, w) / {columns} + w/2, "
                 f"y = (y - {rows / 2:g}) * max(h, w) / {columns} + h/2: pixels of the image, from the corner of the "
                 "first pixel; boxes can extend beyond the image",
        "classes": "counted from 0; categories[class] has the name, and the id of COCO results",
        "nms": "infer and eval apply soft-NMS unless the manifest's evaluation.SOFT_NMS is false: from the best "
               "box to the worst, multiply the scores of the other boxes of its class by exp(-overlap^2 / 0.5), where "
               "overlap is intersection over union with the sides x2 - x1 + 1 and y2 - y1 + 1; remove scores below "
               "0.001",
    }
