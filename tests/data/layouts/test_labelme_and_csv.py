"""LabelMe's shapes, and rows of CSV files."""
import pytest

from centernet.data.layouts.found import find_layouts, read_layout
from centernet.errors import UserError
from tests.data.layouts.makers import coco_document, make_images, make_labelme, random_boxes, write


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


SHAPE = {"label": "dot", "shape_type": "rectangle", "points": [[1, 1], [9, 9]]}


@pytest.mark.parametrize("names", [("a", "coconut_1", "instances_2"), ("coconut_1", "instances_2")])
def test_labelme_files_with_names_of_coco_are_read(tmp_path, names):
    make_images(tmp_path, [f"{name}.png" for name in names])
    for name in names:
        write(tmp_path, f"{name}.json", {"version": "5.0", "shapes": [SHAPE], "imagePath": f"{name}.png"})
    write(tmp_path, "a_coco.json", {"note": "of another program"})
    assert find_layouts(tmp_path) == {"labelme": "*.json"}
    imported = read_layout(tmp_path)
    assert [picture.path.stem for picture in imported.pictures] == sorted(names)
    assert "image without annotation: left out" not in imported.report.notes.counts
    assert imported.report.defects.counts == {"JSON file without the list shapes: left out": 1}


@pytest.mark.parametrize("first", ["version", "imageData"])  # the pixels can come before all else
@pytest.mark.parametrize("folder", ["annotations", "train/annotations"])
def test_labelme_files_in_a_folder_annotations(tmp_path, folder, first):
    make_images(tmp_path / folder / "../images", ["a.png", "train.png"])
    for name in ("a", "train"):
        start = {first: "5.0" if first == "version" else "A" * 70000}
        write(tmp_path, f"{folder}/{name}.json", {**start, "shapes": [SHAPE], "imagePath": f"../images/{name}.png"})
    write(tmp_path, f"{folder}/captions_train2017.json", {"images": []})
    if folder != "annotations":
        write(tmp_path, f"{folder}/0.json", {"note": "of another program"})
    assert find_layouts(tmp_path) == {"labelme": f"{folder}/*.json"}
    imported = read_layout(tmp_path)
    assert [picture.path.stem for picture in imported.pictures] == ["a", "train"]


@pytest.mark.fault("an empty file among LabelMe's in annotations/", "a file of 0 bytes that comes first",
                   "its image is counted as lost, the others are read")
def test_a_damaged_file_among_labelme_files_in_annotations(tmp_path):
    make_images(tmp_path / "images", ["a.png", "b.png"])
    write(tmp_path, "annotations/a.json", "")
    write(tmp_path, "annotations/b.json", {"shapes": [SHAPE], "imagePath": "../images/b.png"})
    assert find_layouts(tmp_path) == {"labelme": "annotations/*.json"}
    imported = read_layout(tmp_path)
    assert [picture.path.stem for picture in imported.pictures] == ["b"]
    assert imported.report.defects.counts == {"JSON file that cannot be read: image left out": 1}


@pytest.mark.parametrize("name", ["annotations/instances_default.json", "instances_default.json", "my_coco.json"])
def test_files_in_cocos_format_are_not_taken_for_labelme(tmp_path, name):
    make_images(tmp_path, [f"{name}.png" for name in random_boxes()])
    write(tmp_path, name, coco_document(random_boxes()))
    assert find_layouts(tmp_path) == {"coco": name}
    write(tmp_path, "t1.json", {"shapes": [SHAPE], "imagePath": "t1.png"})
    assert list(find_layouts(tmp_path)) == ["coco", "labelme"]
    assert not read_layout(tmp_path, "labelme").report.defects.counts


def test_a_file_in_annotations_of_no_known_format_is_named(tmp_path):
    make_images(tmp_path, ["a.png"])
    write(tmp_path, "annotations/a.json", {"boxes": []})
    with pytest.raises(UserError, match="annotations/a.json is not in COCO's format"):
        read_layout(tmp_path)


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
