"""A data set in place of shards: the message names the command that makes shards of it."""
import json
import shlex

import pytest

from centernet.config.load import load_config
from centernet.data.coco import locate
from centernet.data.layouts.found import read_layout
from centernet.data.mindrecord import open_shards
from centernet.errors import UserError


def coco(folder):
    (folder / "annotations").mkdir()
    (folder / "annotations" / "instances_train2017.json").write_text(json.dumps({"images": []}))


def voc(folder):
    (folder / "Annotations").mkdir()
    (folder / "JPEGImages").mkdir()
    (folder / "Annotations" / "a.xml").write_text("<annotation></annotation>")


@pytest.mark.parametrize("make", [coco, voc])
@pytest.mark.fault("train --data with a folder of images", "COCO's layout, VOC's layout, images alone",
                   "an error that names convert-dataset with its flags")
def test_a_data_set_is_named_with_its_conversion(make, tmp_path):
    folder = tmp_path / "my data"
    folder.mkdir()
    make(folder)
    with pytest.raises(UserError, match="is a data set with images. Convert it first: ") as caught:
        open_shards(folder, "coco_det.train.mind", (), 0)
    words = shlex.split(str(caught.value).partition("first: ")[2].partition(", and")[0])
    config = load_config("dataset", words[words.index("--data"):], "")
    assert config.coco_data_dir == str(folder) and config.mindrecord_dir == "SHARDS"


def test_images_alone_and_an_empty_folder(tmp_path):
    for name, message in (("", "an interrupted conversion leaves none: run `"), ("a.JPG", "has images, but no anno")):
        if name:
            (tmp_path / name).touch()
        with pytest.raises(UserError, match=message):
            open_shards(tmp_path, "p", (), 0)


@pytest.mark.fault("a path near the data set is given for it", "shards, the folder of the images, the annotation file",
                   "an error that says what it is and what to name")
def test_other_paths_in_place_of_a_data_set(tmp_path):
    coco(tmp_path)
    (tmp_path / "train2017").mkdir()
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "p.info.json").write_text('{"categories": [], "files": []}')
    file = tmp_path / "annotations" / "instances_train2017.json"
    for path, message in ((tmp_path / "train2017", f"Name its parent folder, which has annotations: {tmp_path}"),
                          (tmp_path / "shards", "train.json. It is a folder of shards. Name the data set that they"),
                          (file, f"is a file. Name its data set's folder, or --annotation_file {file} and --ima"),
                          (tmp_path / "none", "none does not exist")):
        with pytest.raises(UserError) as caught:
            locate(str(path), "train")
        assert message in str(caught.value)
    (tmp_path / "voc").mkdir()
    voc(tmp_path / "voc")
    with pytest.raises(UserError, match="Name its parent folder, which has Annotations"):
        read_layout(tmp_path / "voc" / "Annotations")


@pytest.mark.parametrize("name, content, message", [
    ("data.zip", "PK", "data.zip is an archive. Unpack it. If it has shards, .* convert that first: .*--out SHARDS"),
    ("boxes.csv", "file,x1,y1,x2,y2,label\na.jpg,1,1,9,9,cat\n",
     "boxes.csv is a table of boxes, .*Import it first: .*import.dataset.*--data .*boxes.csv --out DATA, then convert"),
    ("photo.jpg", "", "photo.jpg is a file, but a training needs a folder of shards. Convert a data set first"),
    ("none.jpg", None, "none.jpg: there is no such folder. Convert a data set first"),
])
@pytest.mark.fault("train --data with a file", "an archive, a table, an image", "an error that says what to do with it")
def test_a_file_in_place_of_shards(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=f"^--mindrecord_dir .*{message}"):
        open_shards(path, "p", (), 0)


def test_a_shard_in_place_of_its_folder(tmp_path):
    (tmp_path / "p.info.json").write_text("{}")
    (tmp_path / "p0").touch()
    with pytest.raises(UserError, match=f"p0 is a file. Name its folder, which has shards: {tmp_path}$"):
        open_shards(tmp_path / "p0", "p", (), 0)


def test_an_archive_in_place_of_a_data_set(tmp_path):
    (tmp_path / "coco.zip").touch()
    for read in (lambda path: locate(str(path), "train"), read_layout):
        with pytest.raises(UserError, match="coco.zip is an archive[.:] [uU]npack it, and name "):
            read(tmp_path / "coco.zip")
