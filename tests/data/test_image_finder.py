import json
import shutil

import pytest
from tiny_coco import make_coco

from centernet.cli import convert_dataset
from centernet.data.coco import read_coco
from centernet.errors import UserError


@pytest.fixture
def rename(tmp_path):
    """Gives the first image of a data set another file_name; it returns the arguments of read_coco."""
    labels = make_coco(tmp_path / "coco", num_images=2)
    images = tmp_path / "coco/train2017"

    def change(file_name):
        values = json.loads(labels.read_text())
        values["images"][0]["file_name"] = str(file_name)
        labels.write_text(json.dumps(values))
        return labels, images
    return change


@pytest.mark.fault("a file_name with .., or absolute", "names in an annotation file",
                   "refused, unless --allow_outside true")
@pytest.mark.parametrize("written", ["{out}/private.jpg", "../../private.jpg", "a/../../../private.jpg"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, rename, written):
    shutil.copy(tmp_path / "coco/train2017/000000.jpg", tmp_path / "private.jpg")
    (tmp_path / "coco/train2017/a").mkdir()
    name = written.format(out=tmp_path)
    labels, images = rename(name)
    with pytest.raises(UserError, match=r"image id 100: its file_name .*private.jpg leads out of the image folder .*"
                                        "--allow_outside true"):
        read_coco(labels, images)
    assert len(read_coco(labels, images, allow_outside=True).images) == 2


@pytest.mark.parametrize("written", ["{folder}/{name}", "a/../{name}", "./{name}", "../train2017/{name}"])
def test_other_forms_of_names_inside_the_folder_are_read(tmp_path, rename, monkeypatch, written):
    images = tmp_path / "coco/train2017"
    (images / "a").mkdir()
    labels, folder = rename(written.format(folder=images, name="000000.jpg"))
    dataset = read_coco(labels, folder)
    assert len(dataset.images) == 2 and not dataset.defects.counts
    monkeypatch.chdir(tmp_path)
    assert len(read_coco(labels, folder.relative_to(tmp_path)).images) == 2


def test_links_in_the_folder_may_lead_anywhere(tmp_path, rename):
    images = tmp_path / "coco/train2017"
    shutil.move(images / "000000.jpg", tmp_path / "elsewhere.jpg")
    (images / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    assert len(read_coco(*rename("link.jpg")).images) == 2


@pytest.mark.fault("a file_name with .. behind a link", "a link to a folder, and a private file beside its target",
                   "the file of the folder is read, never the private one")
@pytest.mark.parametrize("written", ["link/../000000.jpg", "link/../../train2017/000000.jpg"])
def test_dots_behind_a_link_lead_back_into_the_folder(tmp_path, rename, written):
    (tmp_path / "other/train2017").mkdir(parents=True)
    (tmp_path / "other/000000.jpg").write_bytes(b"private")
    (tmp_path / "train2017").mkdir()
    (tmp_path / "train2017/000000.jpg").write_bytes(b"private")
    labels, images = rename(written)
    (images / "link").symlink_to(tmp_path / "other/train2017")
    assert read_coco(labels, images).images[0].path.read_bytes() == (images / "000000.jpg").read_bytes()


@pytest.mark.fault("an image that is a link without target", "its file_name in an annotation file", "a listed defect")
def test_a_link_without_target_is_a_missing_image(tmp_path, rename):
    labels, images = rename("link.jpg")
    (images / "link.jpg").symlink_to(tmp_path / "nothing")
    dataset = read_coco(labels, images)
    assert len(dataset.images) == 1 and dataset.defects.counts == {"image file missing": 1}


def test_an_image_of_the_folder_is_taken_before_one_outside(tmp_path, rename):
    shutil.copy(tmp_path / "coco/train2017/000001.jpg", tmp_path / "000000.jpg")
    labels, images = rename(tmp_path / "000000.jpg")
    assert read_coco(labels, images).images[0].path == images / "000000.jpg"


def test_the_flag(tmp_path, rename, capsys):
    shutil.move(tmp_path / "coco/train2017/000000.jpg", tmp_path / "private.jpg")
    labels, images = rename("../../private.jpg")
    words = ["--annotation_file", str(labels), "--image_dir", str(images), "--mindrecord_dir", str(tmp_path / "shards"),
             "--shard_num", "1"]
    assert convert_dataset.main(words) == 2
    assert "leads out of the image folder" in capsys.readouterr().err and not (tmp_path / "shards").exists()
    assert convert_dataset.main([*words, "--allow_outside", "true"]) == 0
