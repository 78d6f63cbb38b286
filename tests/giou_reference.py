"""GIoU from its formula (Rezatofighi et al. 2019) and IoU, in Python's float64."""


def giou_error(ours, box):
    """1 - GIoU of two boxes x1, y1, x2, y2."""
    area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (ours, box)]
    inner = [max(0.0, min(ours[k + 2], box[k + 2]) - max(ours[k], box[k])) for k in (0, 1)]
    outer = [max(ours[k + 2], box[k + 2]) - min(ours[k], box[k]) for k in (0, 1)]
    overlap, enclosing = inner[0] * inner[1], outer[0] * outer[1]
    union = sum(area) - overlap
    return 1 - (overlap / union - (enclosing - union) / enclosing)


def iou(ours, box):
    """Intersection over union of two boxes x1, y1, x2, y2."""
    width, height = (max(0.0, min(ours[k + 2], box[k + 2]) - max(ours[k], box[k])) for k in (0, 1))
    union = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (ours, box)) - width * height
    return width * height / union
