"""Decoding of raw maps to detections in the graph (Zhou et al. 2019, section 4: a peak is a maximum of 3x3 values)."""
from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops

from centernet.config.sections import CELL_POINT
from centernet.models.heads import gather_pairs


class Decode(nn.Cell):
    """The K highest peaks of the heatmaps as boxes.

    Batch size and map size come from the static shapes. MindSpore Lite needs two details: TopK's indices are reshaped
    before they are cast, and there is no integer division.

    Args:
        K: detections per image; at most the number of output cells (h * w).
        cat_spec_wh: wh has two channels for each class.
        from_scores: hm is already after its sigmoid.
        box_head: "wh_reg", or "ltrb": the second map has distances to the sides, see Heads.

    Raises:
        ValueError: at compilation, if K exceeds the number of output cells. An export checks this before, with a
            message for the user; CheckpointBackend uses a smaller K then.
    """

    def __init__(self, K: int, cat_spec_wh: bool = False, from_scores: bool = False,
                 box_head: str = "wh_reg"):
        super().__init__()
        self.K = K
        self.cat_spec_wh = cat_spec_wh
        self.from_scores = from_scores
        self.box_head = box_head
        self.pool = nn.MaxPool2d(3, 1, pad_mode="same")
        self.topk = ops.TopK(sorted=True)

    def construct(self, hm: Tensor, wh: Tensor, reg: Tensor | None = None) -> Tensor:
        """Decode a batch.

        Args:
            hm: (B,C,h,w) logits, or scores with from_scores.
            wh: (B,2,h,w) or (B,2C,h,w), box sizes in output cells; with box_head ltrb (B,4,h,w), distances in cells.
            reg: (B,2,h,w), offset of the centre within its output cell; None: the middle of the cell.

        Returns:
            (B,K,6) float32, best first: x1, y1, x2, y2 in output cells, score, class index.

        Raises:
            ValueError: the map has fewer cells than K.
        """
        batch, classes, height, width = hm.shape
        if height * width < self.K:
            raise ValueError("K exceeds the number of output cells: lower eval_config.K or enlarge the input")
        hm = ops.cast(hm, ms.float32)
        scores = hm if self.from_scores else ops.sigmoid(hm)
        scores = scores * ops.cast(ops.equal(self.pool(scores), scores), ms.float32)
        # The best K of each class, then the best K of these: much faster than to sort all positions of all classes.
        scores, cells = self.topk(ops.reshape(scores, (batch, classes, height * width)), self.K)
        scores, order = self.topk(ops.reshape(scores, (batch, classes * self.K)), self.K)
        ind = ops.gather_elements(ops.reshape(cells, (batch, classes * self.K)), 1, order)
        order = ops.cast(ops.reshape(order, (batch, self.K, 1)), ms.float32)
        cls = ops.floor((order + 0.5) * (1.0 / self.K))
        column = ops.cast(ops.reshape(ind, (batch, self.K, 1)), ms.float32)
        y = ops.floor((column + 0.5) * (1.0 / width))
        cell = ops.concat((column - y * width, y), 2)
        if self.box_head == "ltrb":
            first, last = self._corners(cell, wh, ind)
        else:
            center = cell + (0.5 if reg is None else ops.cast(gather_pairs(reg, ind), ms.float32))
            by_class = ops.cast(ops.reshape(cls, (batch, self.K)), ms.int32) if self.cat_spec_wh else None
            half = ops.cast(gather_pairs(wh, ind, by_class), ms.float32) * 0.5
            first, last = center - half, center + half
        return ops.concat((first, last, ops.reshape(scores, (batch, self.K, 1)), cls), 2)

    def _corners(self, cell: Tensor, ltrb: Tensor, ind: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first (x1, y1) and the last corner (x2, y2) of boxes, (B,K,2)."""
        point = cell + CELL_POINT
        first = point - ops.cast(gather_pairs(ltrb, ind), ms.float32)
        right_bottom = gather_pairs(ltrb, ind + 2 * ltrb.shape[2] * ltrb.shape[3])  # channels 2 and 3
        return first, point + ops.cast(right_bottom, ms.float32)


class Detect(nn.Cell):
    """Network and Decode in one nn.Cell: normalised images (B,3,H,W) -> (B,K,6).

    Args:
        network: returns (hm, wh, reg), (hm, wh) or (hm, ltrb).
        K: detections per image.
        cat_spec_wh: wh has two channels for each class.
        flip_test: average scores and wh (or ltrb) with those of the mirrored image; reg comes from the unmirrored
            image.
        box_head: "wh_reg" or "ltrb", see Heads.
    """

    def __init__(self, network: nn.Cell, K: int, cat_spec_wh: bool = False, flip_test: bool = False,
                 box_head: str = "wh_reg"):
        super().__init__(auto_prefix=False)
        self.network = network
        self.flip_test = flip_test
        self.decode = Decode(K, cat_spec_wh, from_scores=True, box_head=box_head)
        self.box_head = box_head
        self.mirror = ops.ReverseV2(axis=[3])

    def construct(self, x: Tensor) -> Tensor:
        """Return detections with boxes in output cells, see Decode."""
        batch = x.shape[0]
        maps = self.network(ops.concat((x, self.mirror(x)), 0) if self.flip_test else x)
        scores, wh = ops.sigmoid(ops.cast(maps[0], ms.float32)), maps[1]
        reg = maps[2] if len(maps) == 3 else None
        if self.flip_test:
            scores = (scores[:batch] + self.mirror(scores[batch:])) * 0.5
            back = self.mirror(wh[batch:])
            if self.box_head == "ltrb":  # left and right change places
                back = ops.concat((back[:, 2:3], back[:, 1:2], back[:, :1], back[:, 3:]), 1)
            wh = (wh[:batch] + back) * 0.5
            reg = None if reg is None else reg[:batch]
        return self.decode(scores, wh, reg)
