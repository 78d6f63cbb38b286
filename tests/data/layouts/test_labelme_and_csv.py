"""LabelMe's shapes, and rows of CSV files."""
import pytest

from centernet.data.layouts.found import find_layouts, read_layout
from centernet.errors import UserError
from tests.data.layouts.makers import make_images, make_labelme, random_boxes, write


def test_shapes_of_labelme(tmp_path):
    make_labelme(tmp_path, {"t1": random_boxes()["t1"]})
    shapes = [{"label": "dot", "shape_type": "circle", "points": [[20, 20], [23, 24]]},
              {"label": "dot", "shape_type": "line", "points": [[2, 2], [3, 4]]},
              {"label": "ring", "group_id": 1, "points": [[1, 2], [3, 4], [1, 4]]},
              {"label": "ring", "group_id": 1, "points": [[10, 20], [30, 40], [1, 4]]},
              {"label": "ring", "points": [["x", 2], [3, 4]]}, 5]
    write(tmp_path, "train/t1.json", {"shapes": shapes, "imagePath": "t1.png"})
    imported = read_layout(tmp_path)
    assert [box.corners for box in imported.pictures[0].boxes] == [(15, 15, 25, 25), (1, 2, 30, 40)]
    assert list(imported.report.defects.counts.values()) == [3] and len(imported.report.notes.counts) == 2


def test_rows_of_csv_files(tmp_path):
    make_images(tmp_path, ["a.png", "b.png"])
    write(tmp_path, "boxes.csv", "a.png;1;2;5;6;dot\nb.png;;;;;\na.png;1;x;3;4;dot\n;1;2;3;4;dot\nc.png;1;2;3;4;dot\n")
    imported = read_layout(tmp_path / "boxes.csv")
    assert [len(picture.boxes) for picture in imported.pictures] == [1, 0]
    assert list(imported.report.defects.counts.values()) == [1, 1, 1]
    write(tmp_path, "boxes.csv", "a,b\n1,2\n")
    with pytest.raises(UserError, match="the first line must be file,x1,y1"):
        read_layout(tmp_path / "boxes.csv")
    assert find_layouts(tmp_path) == {}


def test_an_image_that_is_named_by_a_link_is_not_left_out(tmp_path):
    (tmp_path / "raw").mkdir()
    make_images(tmp_path / "raw", ["a.png", "b.png"])
    (tmp_path / "photos").symlink_to(tmp_path / "raw")
    write(tmp_path, "boxes.csv", "photos/a.png,1,2,5,6,dot\n")
    notes = read_layout(tmp_path / "boxes.csv").report.notes
    assert list(notes.counts.items()) == [("image without annotation: left out", 1)]
