"""From one format to another and back, nothing is lost that both can express."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.dataset_conversion import TARGETS, convert_dataset
from convert.dataset_writers.items import Item, Split, Target
from convert.dataset_writers.names import one_word
from convert.dataset_writers.numbers import far_side, number_text
from remoteclip_jax.data.reading import read_dataset, recognised_format, split_names
from remoteclip_jax.data.types import Annotations
from tests.data.sample_datasets import write_image

SIZES = {"a.png": (64, 48), "b.png": (50, 70), "c é.d.png": (600, 500)}
# An object is (image, class, x1, y1, x2, y2, crowd, difficult).
Object = tuple[str, int, float, float, float, float, bool, bool]
Contents = dict[tuple[str, str], list[Any]]


def side(length: int) -> st.SearchStrategy[tuple[float, float]]:
    """Two coordinates that are at least a pixel apart: whole numbers, two decimals, or as many as there are."""
    number = st.one_of(
        st.integers(0, length).map(float),
        st.integers(0, 100 * length).map(lambda n: n / 100),
        st.floats(0, length),
    )
    return st.tuples(number, number).map(lambda p: (min(p), max(p))).filter(lambda p: p[1] - p[0] >= 1)


@st.composite
def objects(draw: Callable[..., Any], classes: int) -> list[Object]:
    found = []
    for _ in range(draw(st.integers(0, 8))):
        image = draw(st.sampled_from(sorted(SIZES)))
        (x1, x2), (y1, y2) = draw(side(SIZES[image][0])), draw(side(SIZES[image][1]))
        label = draw(st.integers(0, classes - 1))
        found.append((image, label, x1, y1, x2, y2, draw(st.booleans()), draw(st.booleans())))
    return found


def names() -> st.SearchStrategy[tuple[str, ...]]:
    """Class names of any characters, some of which look like something else to a parser."""
    odd = [
        "no",
        "1e3",
        "~",
        "- a: b",
        "'",
        '"',
        "<a&b>",
        "{x}",
        "#",
        "storage tank",
        "a\u2028b",
        "a\x85b",
        "\ufeffb",
        "7",
        "飞机",
    ]
    text = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
    name = st.one_of(st.sampled_from(odd), text).filter(lambda name: bool(name.strip()))
    return st.lists(name, min_size=1, max_size=5).map(distinct)


def distinct(found: list[str]) -> tuple[str, ...]:
    """The names that readers take for different ones, also as words."""
    return tuple({re.sub("[-_ ]", "", normalize("NFC", one_word(name).casefold())): name for name in found}.values())


def can_write(target: Target, one: Object) -> bool:
    return (target.has_crowds or not one[6]) and (target.has_difficult or not one[7])


def write(root: Path, to: str, classes: tuple[str, ...], found: list[Object]) -> None:
    """The objects as a data set in the format `to`."""
    target = TARGETS[to]
    items = []
    for name, (width, height) in SIZES.items():
        own = [o for o in found if o[0] == name and can_write(target, o)]
        boxes = np.array([[o[2], o[3], o[4] - o[2], o[5] - o[3]] for o in own], np.float64).reshape(-1, 4)
        labels, crowd, difficult = ([o[i] for o in own] for i in (1, 6, 7))
        areas = boxes[:, 2] * boxes[:, 3] * 0.7
        columns = (boxes, areas, np.array(labels, np.int32), np.array(crowd, bool), np.array(difficult, bool))
        items.append(Item(Path(name), name, Annotations(f"id {name}", width, height, *columns)))
        write_image(root / target.image_directory("train") / name, size=(width, height))
    forms = tuple(map(target.class_name, classes))
    target.write(root, [Split("train", forms, tuple(range(3, 3 + len(forms))), tuple(items))])


def contents(root: Path) -> Contents:
    """All that a data set says: for each split and image, the objects in order."""
    result: Contents = {}
    for split in split_names(root):
        dataset = read_dataset(root, split)
        for example in dataset.examples:
            a = example.annotations
            assert a is not None
            columns = (a.boxes.tolist(), a.labels.tolist(), a.crowd.tolist(), a.difficult.tolist())
            rows = [(dataset.classes[label], box, c, d) for box, label, c, d in zip(*columns, strict=True)]
            result[split, example.image.name] = rows
    return result


def expressed(before: Contents, through: Target, into: Target) -> Contents:
    """What is left of `before` after it was in the format `through`."""
    result: Contents = {}
    for key, rows in before.items():
        kept = [row for row in rows if through.has_difficult or not (row[2] or row[3])]
        result[key] = [
            (
                into.class_name(through.class_name(name)),
                box,
                crowd and through.has_crowds,
                difficult or (crowd and not through.has_crowds),
            )
            for name, box, crowd, difficult in kept
        ]
    return result


@pytest.mark.parametrize("through", TARGETS)
@pytest.mark.parametrize("first", TARGETS)
@settings(max_examples=5, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_there_and_back(first: str, through: str, data: st.DataObject) -> None:
    classes = data.draw(names())
    found = data.draw(objects(len(classes)))
    with tempfile.TemporaryDirectory() as directory:
        roots = [Path(directory, name) for name in ("first", "through", "last")]
        write(roots[0], first, classes, found)
        convert_dataset(roots[0], through, roots[1])
        convert_dataset(roots[1], first, roots[2])
        assert [recognised_format(root) for root in roots] == [
            {"voc": "dior"}.get(name, name) for name in (first, through, first)
        ]
        before = contents(roots[0])
        assert sum(map(len, before.values())) == sum(can_write(TARGETS[first], one) for one in found)
        after, expected = contents(roots[2]), expressed(before, TARGETS[through], TARGETS[first])
        assert after.keys() == expected.keys()
        # A sum of two floats may be rounded: where a format has sides and not sizes, and where it has fractions.
        exact = first == through == "coco" or (first in ("voc", "dota") and through != "yolo")
        for key, rows in expected.items():
            assert [(row[0], *row[2:]) for row in after[key]] == [(row[0], *row[2:]) for row in rows]
            boxes, others = (np.array([row[1] for row in one]).reshape(-1, 4) for one in (after[key], rows))
            np.testing.assert_allclose(boxes, others, rtol=0, atol=0 if exact else 1e-9)


def test_coco_keeps_ids_and_areas_and_yolo_its_numbers(tmp_path: Path) -> None:
    found: list[Object] = [("a.png", 1, 1.0, 2.0, 11.0, 12.0, False, False)]
    for to in ("coco", "yolo"):
        write(tmp_path / to, to, ("ship", "dam"), found)
        convert_dataset(tmp_path / to, to, tmp_path / f"{to}-again")
        datasets = [read_dataset(tmp_path / name, "train") for name in (to, f"{to}-again")]
        assert [d.category_ids for d in datasets] == [(3, 4), (3, 4)]
        ids = [[e.annotations and e.annotations.image_id for e in d.examples] for d in datasets]
        assert ids[0] == ids[1]
    again = read_dataset(tmp_path / "coco-again", "train").examples[0].annotations
    assert again is not None
    assert (again.image_id, again.areas.tolist()) == ("id a.png", [70.0])


@pytest.mark.parametrize("to", TARGETS)
def test_thousands_of_boxes(tmp_path: Path, to: str) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 590, (5000, 2)).round(3)
    found: list[Object] = [
        ("c é.d.png", int(rng.integers(2)), x, y * 0.8, x + w, y * 0.8 + h, False, False)
        for (x, y), (w, h) in zip(corners.tolist(), rng.uniform(1, 10, (5000, 2)).tolist(), strict=True)
    ]
    write(tmp_path / "data", "coco", ("ship", "dam"), found)
    convert_dataset(tmp_path / "data", to, tmp_path / to / "there")
    before, after = contents(tmp_path / "data"), contents(tmp_path / to / "there")
    for key, rows in before.items():
        assert [row[0] for row in rows] == [row[0] for row in after[key]]
        boxes, others = (np.array([row[1] for row in one]).reshape(-1, 4) for one in (after[key], rows))
        np.testing.assert_allclose(boxes, others, rtol=0, atol=1e-9)


@given(st.floats(-1e4, 1e4), st.floats(0.5, 1e4))
@settings(database=None, derandomize=True)
def test_numbers_are_read_back(start: float, size: float) -> None:
    assert float(number_text(start)) == start
    end = start + size
    assert far_side(start, end - start) - start == end - start


def test_numbers_are_short() -> None:
    assert [number_text(x) for x in (12.0, -0.0, 0.5, 1e-7)] == ["12", "0", "0.5", "0.0000001"]
    assert far_side(12.3, 45.67 - 12.3) == 45.67
