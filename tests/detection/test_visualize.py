"""Pictures of boxes."""
import cv2
import numpy as np
import pytest

from centernet.data_check.sheets import _sample
from centernet.detection import labels
from centernet.detection.visualize import category_colors, draw_boxes, enlargement, place_labels, save_picture
from centernet.errors import UserError
from centernet.evaluation.html_report.report_plots import class_colors

NAMES = ("disc", "frame")


def test_a_box_in_its_class_colour_and_the_image_untouched():
    image = np.full((100, 120, 3), 90, np.uint8)
    picture = draw_boxes(image, np.array([[20, 40, 80, 90]], np.float32), [1], NAMES, [0.5])
    assert (image == 90).all() and picture.shape == image.shape
    assert tuple(picture[90, 50]) == tuple(picture[70, 80]) == category_colors(NAMES)[1]
    assert (picture[60, 50] == 90).all() and (picture[95] == 90).all()
    assert (picture[30:40, 20:50] != 90).any()  # the label stands above the box


def test_neighbouring_classes_differ():
    every = category_colors(tuple(f"{number:02}" for number in range(80)))
    colors = set(every)
    assert len(colors) > 75
    assert all(np.abs(np.subtract(every[k], every[k + 1])).max() > 60 for k in range(79))


def test_the_best_box_is_on_top():
    image = np.zeros((60, 60, 3), np.uint8)
    boxes = np.array([[10, 25, 50, 50]] * 2, np.float32)
    picture = draw_boxes(image, boxes, [0, 1], NAMES, [0.9, 0.1])
    assert tuple(picture[50, 30]) == category_colors(NAMES)[0]


@pytest.mark.parametrize("size", [(1, 1), (30, 20), (500, 700)])
@pytest.mark.parametrize("box", [[-1e9, -1e9, 1e9, 1e9], [0, 0, 0, 0], [5, 5, -3, -3], [1e6, 1e6, 2e6, 2e6]])
def test_any_box_on_any_image(size, box):
    picture = draw_boxes(np.zeros((*size, 3), np.uint8), np.array([box], np.float32), [0], NAMES)
    assert picture.shape == (*size, 3)


def test_no_box():
    image = np.full((8, 8, 3), 7, np.uint8)
    np.testing.assert_array_equal(draw_boxes(image, np.zeros((0, 4)), [], NAMES, []), image)


def test_saving(tmp_path):
    picture = np.full((8, 8, 3), 70, np.uint8)
    for name, written in (("a/b.png", "a/b.png"), ("a/c.jpg", "a/c.jpg"), ("d.webp", "d.webp.jpg"), ("e", "e.jpg")):
        save_picture(tmp_path / name, picture)
        assert (cv2.imread(str(tmp_path / written)) == 70).all()
    with pytest.raises(UserError, match="cannot write"):
        save_picture(tmp_path / "e.jpg" / "f.jpg", picture)


def label_of(name, monkeypatch=None, fonts=None):
    """The picture of one box of class 0 with this name."""
    if fonts is not None:
        monkeypatch.setattr(labels, "_candidates", lambda: fonts)
        labels._font_file.cache_clear()
    box = np.array([[20, 40, 80, 70]], np.float32)
    try:
        return draw_boxes(np.full((80, 120, 3), 90, np.uint8), box, [0], [name], [0.5])
    finally:
        if fonts is not None:
            labels._font_file.cache_clear()


def test_a_name_without_a_font_is_the_number_of_its_class(monkeypatch, caplog):
    labels._note_once.cache_clear()
    for name in ("\u732b", "\u72d7", "\ud800"):
        np.testing.assert_array_equal(label_of(name, monkeypatch, ()), label_of("0"))
    assert [record.message[:4] for record in caplog.records] == ["note"]


def test_a_name_in_another_script_is_drawn_in_a_font_of_the_system(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    font = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    pictures = [label_of(name, monkeypatch, (font,)) for name in ("\u043a\u043e\u0442", "\u043f\u0435\u0441", "???")]
    assert all((one != other).any() for one, other in ((pictures[0], pictures[1]), (pictures[0], pictures[2])))
    for size in ((1, 1), (12, 9), (500, 700)):
        draw_boxes(np.zeros((*size, 3), np.uint8), np.array([[-5, -5, 3, 3]], np.float32), [0], ["\u043a\u043e\u0442"])


@pytest.mark.parametrize(("size", "factor"), [((45, 60), 7), ((300, 400), 1), ((399, 100), 2), ((3000, 4000), 1),
                                               ((1, 1), 10)])
def test_small_images_are_enlarged_so_that_labels_fit(size, factor):
    image = np.full((*size, 3), 90, np.uint8)
    assert enlargement(image) == factor
    if factor < 8:
        box = np.array([[size[1] / 3, size[0] / 3, size[1] / 2, size[0] / 2]], np.float32)
        picture = draw_boxes(image, box, [0], ["disc"], [0.5], factor)
        assert picture.shape == (size[0] * factor, size[1] * factor, 3)
        rows = np.flatnonzero((picture != 90).any(axis=(1, 2)))
        left = np.argwhere((picture == category_colors(("disc",))[0]).all(axis=2)).min(axis=0)[1]
        assert abs(left - round(size[1] / 3 * factor)) <= max(2, picture.shape[1] // 500)
        assert rows[0] < size[0] / 3 * factor
        # Letters grow with the picture: the label has about 2 % of its height.
        drawn = (picture == category_colors(("disc",))[0]).all(axis=2)
        assert np.count_nonzero(drawn.any(axis=1)) > max(30, picture.shape[0] // 10)


def test_labels_cover_neither_boxes_nor_each_other_where_that_is_possible():
    rng = np.random.default_rng(3)
    corners = np.array([[x, y] for y in range(60, 900, 120) for x in range(60, 900, 120)])
    corners += rng.integers(0, 20, (49, 2))
    boxes = np.concatenate([corners, corners + 40], axis=1)
    sides = [(70, 10)] * len(boxes)
    places = np.array(place_labels(boxes, sides, [4] * len(boxes), 1000, 1000))
    areas = np.concatenate([places, places + [70, 14]], axis=1)
    common = [np.prod(np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0))
              for others in (boxes, areas) for number, one in enumerate(areas) for index, other in enumerate(others)
              if others is boxes or index != number]
    assert max(common) == 0
    crowd = place_labels(np.array([[100, 100, 200, 200]] * 4), sides[:4], [4] * 4, 400, 400)
    assert len(set(crowd)) == 4 and crowd[0] == (100, 86)
    assert place_labels(np.array([[0, 0, 400, 400]]), [(70, 10)], [4], 400, 400)[0][0] in (0, 330)  # within the picture


def test_a_category_has_one_colour_in_every_order_and_in_every_command():
    """Infer draws with the order of the model, check-data with that of the annotation file, the report with ids."""
    model, file = ("RBC", "WBC", "Platelets"), ("Platelets", "RBC", "WBC")
    assert dict(zip(model, category_colors(model))) == dict(zip(file, category_colors(file)))
    image, box = np.zeros((400, 400, 3), np.uint8), np.array([[50, 100, 300, 300]])
    np.testing.assert_array_equal(draw_boxes(image, box, [1], model), draw_boxes(image, box, [2], file))
    samples = [_sample({"image": np.zeros((8, 8, 3), np.uint8), "colors": np.zeros((3, 4), np.float32),
                        "reg_mask": np.zeros(1)},
                       np.eye(3, dtype=np.float32)[number][:, None, None] * np.ones((3, 2, 2)),
                       category_colors(names)) for names, number in ((model, 1), (file, 2))]
    np.testing.assert_array_equal(*samples)
    rows = [{"name": name, "curve": [1.0], "AP50": 0.5} for name in file]
    blue, green, red = category_colors(model)[1]
    assert class_colors(rows)[2] == f"#{red:02x}{green:02x}{blue:02x}"
    three = np.array(category_colors(model), int)
    assert min(np.abs(three[a] - three[b]).sum() for a, b in ((0, 1), (0, 2), (1, 2))) > 250
