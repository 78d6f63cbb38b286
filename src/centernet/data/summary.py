"""What a conversion wrote and left out: the table at its end."""
from __future__ import annotations

from dataclasses import dataclass

from centernet.categories import Categories
from centernet.data.defects import Defects, Report


@dataclass(frozen=True)
class Summary:
    """Numbers of images and boxes that a conversion wrote and left out."""

    image_ids: tuple[int, ...]  # in the annotation file's order
    boxes: tuple[int, ...]      # per class, without ignored regions
    images: tuple[int, ...]     # with that class
    regions: int                # ignored regions
    box_counts: dict[int, int]  # number of boxes, with ignored regions -> images
    empty: int                  # images left out because they have no boxes
    categories: Categories
    report: Report
    content: str                # SHA-256 of all images and boxes, in the order of the image ids

    @property
    def defects(self) -> Defects:
        """Return what was left out, or contradicts itself."""
        return self.report.defects

    def lines(self) -> list[str]:
        """Return the lines of the table that is printed at the end."""
        widest = max(map(len, (*self.categories.names, "category")))
        return [f"{len(self.image_ids):8d}  images written", f"{sum(self.boxes):8d}  boxes written",
                *([f"{self.regions:8d}  boxes marked ignore or iscrowd written as ignored regions, which training "
                   "masks (dataset_config.ignored_regions)"] if self.regions else []),
                f"{self.empty:8d}  images without boxes left out (--keep_empty true keeps them)",
                *([] if self.defects.counts else ["       0  defects"]), *self.report.lines(),
                f"{'category':{widest}s} {'boxes':>8s} {'images':>8s}",
                *(f"{name:{widest}s} {boxes:8d} {images:8d}"
                  for name, boxes, images in zip(self.categories.names, self.boxes, self.images))]
