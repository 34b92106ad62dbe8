"""Average precision of a split, without a detector: values by hand, and what must not shift, crash or become NaN."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.data.formats.voc import normalise_boxes, parse_voc
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.detector.detections import Detections, true_objects
from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.coco_format import coco_ground_truth, coco_predictions
from remoteclip_jax.evaluation.curves import precision_recall_figure
from remoteclip_jax.evaluation.detection import (
    Curve,
    curves,
    evaluate_detections,
    harmonic_mean,
    metrics,
    precision_recall,
    score,
    table,
)
from remoteclip_jax.evaluation.voc import eleven_points
from tests.shared_data import SHARED, requires_shared

LETTERS = ("a", "b", "c", "d")


def example(boxes: object, labels: object, size: tuple[int, int] = (100, 100), name: str = "i.jpg") -> Example:
    """An image with objects given as corners in pixels."""
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    centred = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)
    relative = (centred / [*size, *size]).astype(np.float32)
    return Example(Path(name), *size, relative, np.array(labels, np.int32))


def detections(boxes: object, scores: object, labels: object, classes: tuple[str, ...] = LETTERS) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(corners, np.array(scores, np.float32), np.array(labels, np.int32), classes)


def perfect(dataset: Dataset) -> list[Detections]:
    return [true_objects(e, dataset.classes) for e in dataset.examples]


def random_split(seed: int = 0, images: int = 12, classes: tuple[str, ...] = DIOR_CLASSES) -> Dataset:
    rng = np.random.default_rng(seed)
    examples = []
    for i, count in enumerate([100, 0, *rng.integers(0, 40, images - 2)]):
        width, height = rng.integers(200, 1200, 2).tolist()
        corners = rng.uniform(0, 0.6, (count, 2)) * [width, height]
        corners = np.concatenate([corners, corners + rng.uniform(0.005, 0.4, (count, 2)) * [width, height]], 1)
        labels = rng.integers(0, len(classes), count)
        examples.append(example(corners, labels, (width, height), f"{i}.jpg"))
    return Dataset("val", classes, tuple(examples))


def noisy(dataset: Dataset, seed: int = 1) -> list[Detections]:
    """Objects moved a little, some missing, some invented, with random scores."""
    rng = np.random.default_rng(seed)
    result = []
    for e in dataset.examples:
        true = true_objects(e, dataset.classes)
        keep = rng.random(len(true)) < 0.8
        sides = np.tile(true.boxes[:, 2:] - true.boxes[:, :2], 2)
        boxes = (true.boxes + rng.normal(0, 0.08, true.boxes.shape) * sides)[keep]
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
        invented = np.array([[5, 5, 60, 70], [20, 10, 90, 40]], np.float32)
        labels = np.concatenate([true.labels[keep], rng.integers(0, len(dataset.classes), 2)])
        result.append(detections(np.concatenate([boxes, invented]), rng.random(len(labels)), labels, dataset.classes))
    return result


def numbers(figures: object) -> list[float | None]:
    if isinstance(figures, dict):
        return [x for key, value in figures.items() if key != "objects" for x in numbers(value)]
    return [figures] if figures is None or isinstance(figures, float) else []


def assert_in_range(figures: object) -> None:
    assert all(x is None or 0 <= x <= 1 for x in numbers(figures))  # NaN is in no range


def test_ground_truth_as_predictions() -> None:
    dataset = random_split()
    assert max(len(e.labels) for e in dataset.examples) == 100
    result = evaluate_detections(dataset, perfect(dataset), ["ship", "dam"])
    for key in ("map", "map_50", "map_75", "map_small", "map_medium", "map_large", "voc_map_50", "harmonic_map"):
        assert result[key] == pytest.approx(1, abs=1e-6), key
    assert set(result["per_class"]) == set(DIOR_CLASSES)
    assert sum(row["objects"] for row in result["per_class"].values()) == sum(len(e.labels) for e in dataset.examples)
    assert_in_range(result)


@requires_shared
def test_the_real_annotations_as_predictions() -> None:
    """One image has 123 objects, more than the 100 of a class that COCO counts."""
    examples = []
    for path in sorted((SHARED / "dior_mini" / "annotations").glob("*.xml")):
        parsed = parse_voc(path)
        boxes, keep = normalise_boxes(parsed.boxes.astype(np.float32), 800, 800)
        labels = np.array([DIOR_CLASSES.index(name) for name in parsed.names], np.int32)[keep]
        examples.append(Example(Path(f"{path.stem}.jpg"), 800, 800, boxes, labels))
    dataset = Dataset("all", DIOR_CLASSES, tuple(examples))
    result = evaluate_detections(dataset, perfect(dataset))
    assert result["map"] == pytest.approx(0.995, abs=0.001)
    # Whole pixels come out whole, as the annotations have them.
    assert all(x == round(x) for item in coco_ground_truth(dataset)["annotations"] for x in item["bbox"])


def test_category_ids_survive() -> None:
    """A class without objects, or without detections, must not move the others."""
    boxes = [[0, 0, 20, 20], [40, 40, 80, 80]]
    dataset = Dataset("val", LETTERS, (example(boxes, [0, 3]),))
    result = evaluate_detections(dataset, [detections(boxes, [0.9, 0.8], [0, 3])])
    assert {name: row["map"] for name, row in result["per_class"].items()} == pytest.approx(
        {"a": 1.0, "b": None, "c": None, "d": 1.0}
    )
    assert [row["objects"] for row in result["per_class"].values()] == [1, 0, 0, 1]
    missing = evaluate_detections(dataset, [detections(boxes[1:], [0.8], [3])])
    assert [row["map_50"] for row in missing["per_class"].values()] == [0, None, None, pytest.approx(1)]
    assert [row["voc_ap_50"] for row in missing["per_class"].values()] == [0, None, None, 1]
    assert [missing["map"], missing["voc_map_50"]] == pytest.approx([0.5, 0.5])
    permuted = evaluate_detections(dataset, [detections(boxes, [0.9, 0.8], [1, 0])])
    assert permuted["map"] == permuted["voc_map_50"] == 0


def test_shifted_boxes_score_less() -> None:
    dataset = random_split()
    shifted = []
    for true in perfect(dataset):
        boxes = true.boxes.copy()
        boxes[:, [0, 2]] += (true.boxes[:, 2:3] - true.boxes[:, :1]) / 2
        shifted.append(detections(boxes, true.scores, true.labels, dataset.classes))
    assert evaluate_detections(dataset, shifted)["map_50"] < 0.2  # an IoU of a third finds a neighbour at best


def test_areas_are_those_of_the_stored_image() -> None:
    """A small, a medium and a large object in an image of 800 pixels, of which the medium one alone is found."""
    boxes = [[0, 0, 20, 20], [100, 100, 150, 150], [300, 300, 500, 500]]
    dataset = Dataset("val", LETTERS, (example(boxes, [0, 0, 0], (800, 800)),))
    result = evaluate_detections(dataset, [detections(boxes[1:2], [0.9], [0])])
    assert (result["map_small"], result["map_medium"], result["map_large"]) == (0, pytest.approx(1), 0)


def test_eleven_points_by_hand() -> None:
    # Hit, miss, hit with four objects: precision 1 at recall 0.25, 2/3 at 0.5; recalls 0, .1, .2 and .3, .4, .5.
    assert eleven_points([True, False, True], 4) == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)
    assert eleven_points([True] * 3, 10) == pytest.approx(4 / 11)  # 3 of 10 is a recall of 0.3
    assert eleven_points([], 3) == 0
    assert eleven_points([True, True], 2) == 1


def test_voc_by_hand() -> None:
    """The same case over two images: scores order the detections of all images together, and an object counts once."""
    far = [[60, 60, 90, 90]]
    dataset = Dataset(
        "val",
        LETTERS,
        (
            example([[0, 0, 20, 20], [40, 0, 60, 20]], [1, 1]),
            example([[0, 0, 20, 20], [40, 0, 60, 20]], [1, 1]),
        ),
    )
    first = detections([[0, 0, 20, 20], [0, 0, 20, 19]], [0.9, 0.7], [1, 1])  # the second finds the same object again
    second = detections([[40, 0, 60, 20], *far], [0.5, 0.4], [1, 1])
    result = evaluate_detections(dataset, [first, second])
    assert result["voc_map_50"] == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)
    assert result["per_class"]["b"]["voc_ap_50"] == result["voc_map_50"]
    # COCO's 101 points: recalls 0 to 0.25 and 0.26 to 0.50.
    assert result["map_50"] == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)


def test_base_and_novel() -> None:
    boxes = [[0, 0, 20, 20], [40, 40, 80, 80], [0, 50, 20, 90]]
    dataset = Dataset("val", LETTERS, (example(boxes, [0, 1, 2]),))
    found = [detections(boxes[1:], [0.9, 0.8], [1, 2])]
    result = evaluate_detections(dataset, found, ["C", "d"])
    assert result["novel"] == ["c", "d"]
    for key in ("map", "map_50"):
        assert result[f"base_{key}"] == pytest.approx(0.5)
        assert result[f"novel_{key}"] == pytest.approx(1)  # of c alone: there is no d
        assert result[f"harmonic_{key}"] == pytest.approx(2 / 3)
    assert "novel_map" not in evaluate_detections(dataset, found)
    nothing = evaluate_detections(dataset, found, ["d"])
    assert nothing["novel_map"] is nothing["harmonic_map"] is None
    with pytest.raises(UserError, match=r"'zebra'.* a, b, c, d"):
        evaluate_detections(dataset, found, ["a", "zebra"])
    assert [harmonic_mean(0.0, 0.0), harmonic_mean(0.2, 0.6), harmonic_mean(None, 1.0)] == [0, pytest.approx(0.3), None]


@pytest.mark.parametrize("examples", [random_split(3, 3, LETTERS).examples, (example([], []),), ()])
def test_nothing_found(examples: tuple[Example, ...]) -> None:
    dataset = Dataset("val", LETTERS, examples)
    found = [detections([], [], [])] * len(dataset)
    result = evaluate_detections(dataset, found, ["a"])
    assert_in_range(result)
    some = any(len(e.labels) for e in dataset.examples)
    assert result["map"] == result["voc_map_50"] == (0 if some else None)
    assert "class" in table(result)
    assert len(precision_recall(dataset, found)) == (4 if some else 0)


def test_detections_without_any_object() -> None:
    dataset = Dataset("val", LETTERS, (example([], []),))
    result = evaluate_detections(dataset, [detections([[0, 0, 9, 9]], [0.5], [2])])
    assert set(numbers(result)) == {None}


def test_useless_boxes_are_left_out() -> None:
    boxes = [[0, 0, 20, 20]]
    dataset = Dataset("val", LETTERS, (example(boxes, [0]),))
    useless = [[np.nan, 0, 20, 20], [30, 0, 20, 20], [0, 0, 20, np.inf], [0, 0, 20, 20]]
    found = detections([*useless, *boxes], [1, 1, 1, np.nan, 0.5], [0] * 5)
    assert len(coco_predictions(dataset, [found])) == 1
    assert evaluate_detections(dataset, [found])["map"] == pytest.approx(1)
    point = evaluate_detections(dataset, [detections([[5, 5, 5, 5]], [1], [0])])
    assert point["map"] == 0
    assert_in_range(point)


def test_mismatched_input() -> None:
    dataset = random_split(classes=LETTERS)
    with pytest.raises(ValueError, match="shorter"):
        coco_predictions(dataset, perfect(dataset)[:-1])
    with pytest.raises(ValueError, match="classes"):
        coco_predictions(dataset, perfect(random_split(classes=("x", "b", "c", "d"))))
    with pytest.raises(ValueError, match="labels"):
        detections([[0, 0, 1, 1]], [1], [4])
    with pytest.raises((ValueError, TypeError), match="scores"):  # TypeError where shapes are checked as tests run
        detections([[0, 0, 1, 1]], [1, 2], [0])


def test_anyone_can_score_the_files(tmp_path: Path) -> None:
    """Ground truth and predictions as JSON, read and scored by pycocotools alone."""
    dataset = random_split()
    found = noisy(dataset)
    (tmp_path / "truth.json").write_text(json.dumps(coco_ground_truth(dataset)))
    (tmp_path / "found.json").write_text(json.dumps(coco_predictions(dataset, found)))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "truth.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ours = evaluate_detections(dataset, found)
    keys = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
    np.testing.assert_allclose([ours[key] for key in keys], evaluation.stats[:6], atol=1e-12)
    assert 0.2 < ours["map"] < 0.8
    assert [image["file_name"] for image in truth.dataset["images"]] == [e.image.name for e in dataset.examples]


def test_one_evaluation_gives_figures_and_curves(capsys: pytest.CaptureFixture[str]) -> None:
    dataset = random_split()
    scores = score(dataset, noisy(dataset))
    figures = metrics(scores)
    assert_in_range(figures)
    for name, curve in curves(scores).items():
        assert curve.recall.shape == curve.precision.shape == (101,)
        assert (np.diff(curve.precision) <= 0).all()
        assert curve.precision.mean() == pytest.approx(figures["per_class"][name]["map_50"])
    assert capsys.readouterr().out == ""


def test_table() -> None:
    boxes = [[0, 0, 20, 20], [40, 40, 80, 80]]
    dataset = Dataset("val", LETTERS, (example(boxes, [1, 2]),))
    text = table(evaluate_detections(dataset, [detections(boxes[1:], [0.9], [2])], ["c"]))
    lines = text.splitlines()
    assert lines[0].startswith("AP 50.0   AP50 50.0   AP75 50.0   small 0.0   medium 100.0   large —")
    assert lines[3].startswith("harmonic mean: AP 0.0")
    assert [line.split()[0] for line in lines[-4:]] == ["c", "b", "a", "d"]
    assert lines[-4].split() == ["c", "(novel)", "100.0", "100.0", "100.0", "1"]
    assert lines[-1].split() == ["d", "—", "—", "—", "0"]
    assert len({len(line) for line in lines[-5:]}) == 1


def test_detections() -> None:
    found = detections([[0, 1, 2.3456, 4], [5, 6, 7, 8]], [0.25, 0.123456], [1, 3])
    assert found.to_json() == [
        {"label": "b", "score": 0.25, "box": [0.0, 1.0, 2.35, 4.0]},
        {"label": "d", "score": 0.1235, "box": [5.0, 6.0, 7.0, 8.0]},
    ]
    assert len(found.above(0.25)) == 1
    assert found.above(0.9).to_json() == []
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("classes", [0, 1, 20, 30])
def test_curves_as_a_picture(classes: int) -> None:
    recall = np.linspace(0, 1, 101)
    by_class = {f"class {i}": Curve(recall, np.linspace(1, i / 30, 101)) for i in range(classes)}
    with Image.open(io.BytesIO(precision_recall_figure(by_class))) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 400
