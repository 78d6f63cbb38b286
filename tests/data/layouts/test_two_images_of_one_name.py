"""Annotations that fit images in several folders: their names and folders decide, or it is a defect."""
import pytest

from centernet.data.defects import Report
from centernet.data.layouts.found import READERS, find_layouts, read_layout
from tests.data.layouts.makers import HEIGHT, WIDTH, make_images, make_yolo, random_boxes, voc_text, write


@pytest.mark.parametrize("layout", ["voc", "labelme", "csv"])
def test_equal_names_in_several_folders(tmp_path, layout):
    make_images(tmp_path / "JPEGImages", ["a/0001.jpg", "b/0001.jpg", "c/0001.jpg"])
    rows = []
    for x, folder in enumerate("abc"):
        shape = {"label": "dot", "points": [[x, 1], [x + 9, 20], [x + 3, 30]]}
        if layout == "voc":
            write(tmp_path, f"Annotations/{folder}/0001.xml", voc_text([("dot", (x, 1, x + 9, 20))]))
        elif layout == "labelme":
            write(tmp_path, f"labels/{folder}/0001.json", {
                "shapes": [shape], "imagePath": f"../../JPEGImages/{folder}/0001.jpg", "imageWidth": WIDTH,
                "imageHeight": HEIGHT})
        rows.append(f"{folder}/0001.jpg,{x},1,{x + 9},20,dot")
    if layout == "csv":
        write(tmp_path, "boxes.csv", "\n".join(rows))
    imported = read_layout(tmp_path)
    found = {picture.path.parent.name: picture.boxes[0].corners[0] for picture in imported.pictures}
    assert found == {"a": 0, "b": 1, "c": 2} and not imported.report.notes.counts


def name_of(folder, name):
    return f"<folder>{folder}</folder><filename>{name}</filename><size>"


def labelme_of(name):
    return {"shapes": [{"label": "dot", "points": [[1, 1], [9, 9]]}], "imagePath": name, "imageWidth": WIDTH,
            "imageHeight": HEIGHT}


VOC_BOX = voc_text([("dot", (1, 1, 9, 9))])
# Images, the annotation file, its content, and the image that it means; "": several fit equally.
TWINS = {
    "voc name": (["images/001.jpg", "depth/001.png"], "Annotations/001.xml",
                 VOC_BOX.replace("<size>", name_of("", "001.jpg")), "images/001.jpg"),
    "voc folder": (["RGB/001.jpg", "infrared/001.jpg"], "Annotations/001.xml",
                   VOC_BOX.replace("<size>", name_of("infrared", "001.jpg")), "infrared/001.jpg"),
    "voc nothing decides": (["RGB/001.jpg", "infrared/001.jpg"], "Annotations/001.xml",
                            VOC_BOX.replace("<size>", name_of("photos", "001.jpg")), ""),
    "voc without a name": (["a/001.jpg", "a/001.png"], "Annotations/001.xml", VOC_BOX, ""),
    "voc masks": (["JPEGImages/001.jpg", "Masks/001.png", "A/001.png"], "Annotations/001.xml", VOC_BOX,
                  "JPEGImages/001.jpg"),
    "voc old name": (["images/001.jpg", "images/000.jpg"], "Annotations/001.xml",
                     VOC_BOX.replace("<size>", name_of("", "000.jpg")), "images/001.jpg"),
    "voc folder below": (["photos/small/001.jpg", "photos/001.jpg"], "Annotations/001.xml", VOC_BOX,
                         "photos/001.jpg"),
    "labelme path": (["labels/001.jpg", "photos/001.jpg"], "labels/001.json", labelme_of("../photos/001.jpg"),
                     "photos/001.jpg"),
    "labelme nothing decides": (["RGB/001.jpg", "infrared/001.jpg"], "labels/001.json", labelme_of("001.jpg"), ""),
    "csv folder": (["set/RGB/001.jpg", "set/infrared/001.jpg"], "b.csv", "infrared/001.jpg,1,1,9,9,dot\n",
                   "set/infrared/001.jpg"),
    "csv nothing decides": (["RGB/001.jpg", "infrared/001.jpg"], "b.csv", "001.jpg,1,1,9,9,dot\n", "")}


@pytest.mark.fault("two images with one stem or name (RGB and depth)", "in two folders, for VOC, LabelMe and CSV",
                   "the annotation's name and folder decide; if they do not, the image is a defect")
@pytest.mark.parametrize("case", TWINS)
def test_two_images_with_one_stem(tmp_path, case):
    images, file, text, meant = TWINS[case]
    make_images(tmp_path, images)
    write(tmp_path, file, text)
    report = Report()
    found = READERS[next(iter(find_layouts(tmp_path)))].read(tmp_path, report)
    assert [str(picture.path.relative_to(tmp_path)) for picture in found.pictures] == [meant][:bool(meant)]
    assert list(report.defects.counts) == [
        "annotation that fits several images equally: left out"][bool(meant):]
    assert ("<filename> is another image" in str(report.notes.counts)) == (case == "voc old name")


def test_files_that_belong_to_two_images(tmp_path):
    make_yolo(tmp_path / "yolo", random_boxes())
    make_images(tmp_path / "yolo/train/images", ["t1.jpg"])
    assert read_layout(tmp_path / "yolo").report.defects.examples == {
        "label file of two images: both kept with its boxes": ["t1.txt: t1.jpg, t1.png"]}
    make_images(tmp_path / "voc/JPEGImages", ["a/1.png", "b/1.png", "2.png"])
    for name in ("a/1", "b/1", "2"):
        write(tmp_path / "voc", f"Annotations/{name}.xml", VOC_BOX)
    write(tmp_path / "voc", "ImageSets/Main/train.txt", "1\na/1\n2\n")
    imported = read_layout(tmp_path / "voc")
    assert [picture.path.relative_to(tmp_path / "voc/JPEGImages").as_posix() for picture in imported.pictures] == [
        "a/1.png", "2.png"]
    assert imported.report.defects.examples == {"image of a list with several XML files: left out": ["train.txt: 1"]}
    make_images(tmp_path / "voc/JPEGImages", ["1.png"])
    write(tmp_path / "voc", "Annotations/1.xml", VOC_BOX)  # an exact name wins
    assert not read_layout(tmp_path / "voc").report.defects.examples
