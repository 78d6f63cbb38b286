import time

import pytest

from centernet.categories import (
    COCO_IDS,
    Categories,
    by_name,
    categories_from_json,
    categories_from_names,
    require_same,
)
from centernet.errors import UserError

ROWS = [{"id": 90, "name": "cross"}, {"id": 1, "name": "disc"}, {"id": 7, "name": "frame"}]


def test_sparse_ids_become_dense_classes_in_order_of_id():
    categories = categories_from_json(ROWS, "file")
    assert categories.names == ("disc", "frame", "cross")
    assert categories.class_of() == {1: 0, 7: 1, 90: 2}
    assert categories_from_json(categories.to_json(), "again") == categories


def test_classes_of_many_categories_in_another_order():
    names = tuple(f"kind {number}" for number in range(20_000))
    one, other = (Categories(order, tuple(range(20_000))) for order in (names, names[::-1]))
    start = time.process_time()
    assert one.classes_in(other).tolist() == list(range(20_000))[::-1]
    assert time.process_time() - start < 1


@pytest.mark.parametrize("rows, words", [
    ([], "empty"),
    ([{"id": 1}], "name"),
    ([{"id": "first", "name": "x"}], "integer"),
    ([{"id": 3, "name": "a"}, {"id": 3, "name": "b"}], r"more than once: \[3\]"),
])
def test_unusable_rows_are_named(rows, words):
    with pytest.raises(UserError, match=f"boxes.json.*{words}"):
        categories_from_json(rows, "boxes.json")


def test_coco_ids_only_for_80_names():
    assert len(COCO_IDS) == 80
    assert COCO_IDS[0] == 1
    assert COCO_IDS[-1] == 90
    assert categories_from_names(tuple(map(str, range(80)))).ids == COCO_IDS
    assert categories_from_names(("a", "b")).ids == (1, 2)


def test_other_categories_are_an_error_with_the_remedy():
    model, data = Categories(("a", "b"), (1, 2)), Categories(("a", "c"), (1, 2))
    require_same(model, Categories(("a", "b"), (5, 6)), "m.ckpt", "shards", "")
    with pytest.raises(UserError, match="m.ckpt detects 2 .* shards has 2 .* not in the model: c. Do this."):
        require_same(model, data, "m.ckpt", "shards", "Do this.")
    with pytest.raises(UserError, match="order"):
        require_same(model, Categories(("b", "a"), (1, 2)), "m.ckpt", "shards", "")


@pytest.mark.fault("a validation file with fewer or other ordered categories", "such lists",
                   "its classes are found by name")
@pytest.mark.parametrize("names, ids, found", [
    (("a", "b", "c"), (5, 6, 7), (5, 6, 7)), (("c", "a"), (1, 9), (9, 10, 1)), (("c", "b", "a"), (1, 2, 3), (3, 2, 1))])
def test_an_evaluation_compares_by_name(names, ids, found):
    model = Categories(("a", "b", "c"), (1, 2, 3))
    assert by_name(model, Categories(names, ids), "m.ckpt", "val.json", "") == Categories(model.names, found)


@pytest.mark.parametrize("names", [("a", "d"), ("a", "a")])
def test_names_that_are_unknown_or_not_unique_are_refused(names):
    with pytest.raises(UserError, match="m.ckpt detects 3 categories .* val.json has 2"):
        by_name(Categories(("a", "b", "c"), (1, 2, 3)), Categories(names, (1, 2)), "m.ckpt", "val.json", "")


@pytest.mark.parametrize("value, found", [("7", 7), (7.0, 7), (2.7, None), (True, None), (None, None), ("x", None)])
def test_ids_are_whole_numbers(value, found):
    rows = [{"id": value, "name": "a"}]
    if found is None:
        with pytest.raises(UserError, match="every category needs an integer 'id'"):
            categories_from_json(rows, "file")
    else:
        assert categories_from_json(rows, "file").ids == (found,)


@pytest.mark.fault("20,000 categories", "a generated list", "below 1.5 s")
def test_many_categories_take_little_time():
    start = time.process_time()
    many = categories_from_json([{"id": number, "name": f"c{number}"} for number in range(20_000)], "boxes.json")
    others = Categories(tuple(f"d{number}" for number in range(20_000)), many.ids)
    with pytest.raises(UserError, match="not in the model: d0, d1"):
        require_same(many, others, "model", "boxes.json", "")
    assert time.process_time() - start < 1.5
