"""AP against the user's own file: what pycocotools says of it, and what VOC's rule says of it, is what we say."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from remoteclip_jax.data.formats.examples import make_example
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.types import Annotations, Dataset, Example
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.coco_format import coco_ground_truth, coco_predictions
from remoteclip_jax.evaluation.detection import evaluate_detections, table
from remoteclip_jax.tasks.detect.evaluation import write_evaluation

CLASSES = ("ship", "harbor", "plane", "car")
CATEGORIES = (90, 7, 13, 51)  # in another order than the classes, with gaps
KEYS = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")


def annotated(
    boxes: Any,
    labels: Any,
    *,
    image_id: int | str = 1,
    size: tuple[int, int] = (200, 100),
    crowd: Any = (),
    difficult: Any = (),
    areas: Any = None,
) -> Annotations:
    """Boxes are (x, y, width, height); `crowd` and `difficult` are the places of those that are."""
    own = np.array(boxes, np.float64).reshape(-1, 4)
    places = np.arange(len(own))
    areas = own[:, 2:].prod(1) if areas is None else np.asarray(areas, np.float64)
    flags = (np.isin(places, np.array(x, int)) for x in (crowd, difficult))
    return Annotations(image_id, *size, own, areas, np.array(labels, np.int32), *flags)


def example(known: Annotations, size: tuple[int, int] | None = None, image: Path = Path("i.jpg")) -> Example:
    return make_example(image, size or (known.width, known.height), known)[0]


def found(boxes: Any, labels: Any, scores: Any = None) -> Detections:
    """Boxes are (x, y, width, height)."""
    own = np.array(boxes, np.float64).reshape(-1, 4)
    own[:, 2:] += own[:, :2]
    scores = np.linspace(0.9, 0.1, len(own)) if scores is None else scores
    return Detections(own.astype(np.float32), np.array(scores, np.float32), np.array(labels, np.int32), CLASSES)


def random_data(seed: int, flags: str = "crowd") -> tuple[Dataset, list[Detections]]:
    """Images of any size with boxes that cross the border or lie beyond it, areas of outlines, `flags` on some; what is
    found is near the objects, or invented, with many equal scores."""
    rng = np.random.default_rng(seed)
    ids: list[Any] = rng.choice(10**6, 6, replace=False).tolist()
    if seed % 3 == 1:
        ids = [f"scene {number}" for number in ids]
    examples, detections = [], []
    for i, image_id in enumerate(ids):
        size = tuple(rng.integers(80, 400, 2).tolist())
        count = (0, 120 if seed % 4 == 1 else 20, 9, 12, 15, 3)[i]
        corners = rng.uniform(-0.2, 1.05, (count, 2)) * size
        sides = rng.uniform(0, 0.3, (count, 2)) * size
        boxes = np.concatenate([corners, sides], 1)
        labels = rng.integers(0, 3, count)  # there is no car
        if i == 1:
            labels[:] = 0  # more than a hundred of a class
        marked = {flags: np.flatnonzero(rng.random(count) < 0.25)}
        known = annotated(
            boxes, labels, image_id=image_id, size=size, areas=sides.prod(1) * rng.uniform(0.3, 1, count), **marked
        )
        # The image at hand may be a copy of another size.
        at_hand = size if rng.random() < 0.5 else (size[0] * 2, size[1] * 2)
        examples.append(example(known, at_hand, Path(f"{i}.jpg")))
        near = np.concatenate([boxes, boxes[::3]])
        near = near + rng.normal(0, 0.1, near.shape) * np.tile(near[:, 2:], 2)
        invented = np.concatenate([rng.uniform(0, 0.8, (9, 2)), rng.uniform(0, 0.3, (9, 2))], 1) * np.tile(size, 2)
        near = np.concatenate([near, invented])
        near[:, 2:] = np.abs(near[:, 2:])
        labels = np.concatenate([labels, labels[::3], rng.integers(0, 4, 9)])
        scores = rng.random(len(near)).round(1 if seed % 2 else 5)
        detections.append(found(near * (at_hand[0] / size[0]), labels, scores))
    return Dataset("val", CLASSES, tuple(examples), category_ids=CATEGORIES), detections


def user_file(dataset: Dataset, path: Path) -> Path:
    """A file such as the user's, in an order of its own: images, annotations and categories are shuffled."""
    rng = np.random.default_rng(0)
    categories = [{"id": number, "name": name} for number, name in zip(CATEGORIES, CLASSES, strict=True)]
    images, annotations = [], []
    for e in dataset.examples:
        known = e.annotations
        assert known is not None
        images.append({"id": known.image_id, "file_name": e.image.name, "width": known.width, "height": known.height})
        for j, box in enumerate(known.boxes.tolist()):
            annotations.append(
                {
                    "id": 3 * len(annotations) + 11,
                    "image_id": known.image_id,
                    "bbox": box,
                    "area": known.areas[j],
                    "category_id": CATEGORIES[known.labels[j]],
                    "iscrowd": int(known.crowd[j]),
                }
            )
    rng.shuffle(images)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories[::-1]}))
    return path


def by_pycocotools(truth: Path, predictions: Path) -> dict[str, float | None]:
    with contextlib.redirect_stdout(io.StringIO()):
        own = COCO(str(truth))
        evaluation = COCOeval(own, own.loadRes(str(predictions)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        figures = dict(zip(KEYS, evaluation.stats, strict=False))
        evaluation.params.maxDets = [1000]
        evaluation.evaluate()
        evaluation.accumulate()
    every = evaluation.eval["precision"][:, :, :, 0, 0]
    figures |= {"map_all": every[every > -1].mean(), "map_50_all": every[0][every[0] > -1].mean()}
    return {name: None if value == -1 else float(value) for name, value in figures.items()}


@pytest.mark.parametrize("seed", range(20))
def test_pycocotools_on_the_users_file_says_the_same(seed: int, tmp_path: Path) -> None:
    dataset, detections = random_data(seed)
    predictions = tmp_path / "predictions.json"
    predictions.write_text(json.dumps(coco_predictions(dataset, detections)))
    expected = by_pycocotools(user_file(dataset, tmp_path / "user.json"), predictions)
    figures = evaluate_detections(dataset, detections)
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert figures["ignored"] > 0
    assert 0.05 < figures["map"] < 0.95
    if seed % 4 == 1:  # an image with more than a hundred of a class
        assert figures["map_50_all"] != pytest.approx(figures["map_50"], abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_from_the_users_file_on(seed: int, tmp_path: Path) -> None:
    """Read by `read_dataset`, which takes the categories in the order of their ids."""
    dataset, detections = random_data(seed)
    (tmp_path / "val").mkdir()
    (tmp_path / "annotations").mkdir()
    for e in dataset.examples:
        Image.new("RGB", (e.width, e.height)).save(tmp_path / "val" / e.image.name)
    file = user_file(dataset, tmp_path / "annotations" / "instances_val.json")
    read = read_dataset(tmp_path, "val")
    assert read.classes == ("harbor", "plane", "car", "ship")
    labels = np.array([read.classes.index(name) for name in CLASSES], np.int32)
    by_name = {e.image.name: one for e, one in zip(dataset.examples, detections, strict=True)}
    own = [
        Detections(one.boxes, one.scores, labels[one.labels], read.classes)
        for one in (by_name[e.image.name] for e in read.examples)
    ]
    predictions = tmp_path / "predictions.json"
    predictions.write_text(json.dumps(coco_predictions(read, own)))
    expected, figures = by_pycocotools(file, predictions), evaluate_detections(read, own)
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_what_is_written_carries_the_users_ids(tmp_path: Path) -> None:
    """`predictions.json` against the user's file and against `ground_truth.json`: the figures of `metrics.json`."""
    known = [annotated([[-5, 10, 40, 30], [80, 20, 60, 60.5], [150, 60, 90, 30]], [1, 3, 3], image_id="b", crowd=[1])]
    known.append(annotated([[10, 10, 20, 20]], [3], image_id="a", areas=[5000]))
    examples = []
    for i, one in enumerate(known):
        Image.new("RGB", (400, 200)).save(tmp_path / f"{i}.png")  # twice as large as the file says
        examples.append(example(one, (400, 200), tmp_path / f"{i}.png"))
    dataset = Dataset("test", CLASSES, tuple(examples), notes=("test: 2 boxes dropped",), category_ids=CATEGORIES)
    first = found([[0, 20, 70, 60], [200, 60, 50, 50], [310, 120, 90, 60]], [1, 3, 3])
    detections = [first, found([[2, 2, 9, 9]], [0])]
    result = write_evaluation(dataset, detections, tmp_path / "out", {"views": (64,)})
    written = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    assert [item["image_id"] for item in written["predictions"]] == ["b", "b", "b", "a"]
    assert [item["category_id"] for item in written["predictions"]] == [7, 51, 51, 90]
    assert written["predictions"][0]["bbox"] == [0, 10, 35, 30]
    truth = written["ground_truth"]
    assert [image["id"] for image in truth["images"]] == ["b", "a"]
    assert truth["annotations"][0]["bbox"] == [-5, 10, 40, 30]
    assert [item["area"] for item in truth["annotations"]] == [1200, 3630, 2700, 5000]
    assert written["metrics"]["notes"] == ["test: 2 boxes dropped"]
    assert (written["metrics"]["ignored"], written["metrics"]["images"]) == (1, 2)
    for path in (user_file(dataset, tmp_path / "user.json"), tmp_path / "out" / "ground_truth.json"):
        expected = by_pycocotools(path, tmp_path / "out" / "predictions.json")
        assert {name: result[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_what_cannot_be_measured_is_said(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100)).save(tmp_path / "i.png")
    dataset = Dataset("val", CLASSES, (example(annotated([[0, 0, 9, 9]], [0]), image=tmp_path / "i.png"),))
    result = write_evaluation(dataset, [found([[0, 0, np.nan, 9], [0, 0, 9, 9]], [0, 0])], tmp_path / "out", {})
    assert result["notes"] == ["val: 1 detections left out, because their box or score is not finite"]


def test_ids_that_the_file_lacks_or_doubles_are_positions() -> None:
    plain = example(annotated([[0, 0, 9, 9]], [0], image_id=5))
    doubled = Dataset("val", CLASSES, (plain, plain))
    assert [image["id"] for image in coco_ground_truth(doubled)["images"]] == [1, 2]
    assert [item["id"] for item in coco_ground_truth(doubled)["categories"]] == [1, 2, 3, 4]
    unlike = Dataset("val", CLASSES, (plain, example(annotated([[0, 0, 9, 9]], [0], image_id="5"))))
    assert [image["id"] for image in coco_ground_truth(unlike)["images"]] == [5, "5"]
    assert evaluate_detections(unlike, [found([[0, 0, 9, 9]], [0])] * 2)["map"] == pytest.approx(1)


def test_a_crowd_swallows_what_lies_in_it() -> None:
    """COCO's rule: the share of the detection that lies in the crowd, as often as it likes; of its class alone."""
    dataset = Dataset("val", CLASSES, (example(annotated([[5, 5, 40, 20], [60, 0, 100, 100]], [3, 3], crowd=[1])),))
    inside = [[60 + 20 * i, 10, 15, 10] for i in range(4)]
    result = evaluate_detections(dataset, [found([*inside, [5, 5, 40, 20]], [3] * 5)])
    assert [result[key] for key in ("map", "map_50", "map_50_all", "voc_map_50")] == pytest.approx([1] * 4)
    assert result["per_class"]["car"]["objects"] == result["ignored"] == 1
    assert "ignored: 1 (crowds and difficult objects" in table(result)
    other = evaluate_detections(dataset, [found([*inside, [5, 5, 40, 20]], [0] * 4 + [3])])
    assert other["map"] == pytest.approx(1)  # ships: a class without objects has no AP
    halfway = evaluate_detections(dataset, [found([[20, 30, 60, 60], [5, 5, 40, 20]], [3, 3])])  # a third inside
    assert halfway["map_50"] == pytest.approx(0.5)


def test_difficult_objects_are_met_by_iou_and_once_for_coco() -> None:
    boxes = [[100, 100, 40, 20], [300, 300, 20, 10], [400, 300, 20, 10]]
    known = annotated(boxes, [3] * 3, size=(600, 600), difficult=[1, 2])
    dataset = Dataset("val", CLASSES, (example(known),))
    right = evaluate_detections(dataset, [found([boxes[1], boxes[2], boxes[0]], [3] * 3)])
    assert (right["voc_map_50"], right["map"], right["per_class"]["car"]["objects"]) == (1, pytest.approx(1), 1)
    part = evaluate_detections(dataset, [found([[300, 300, 9, 9], boxes[0]], [3] * 2)])  # inside, but an IoU of 0.4
    assert part["map_50"] == part["voc_map_50"] == pytest.approx(0.5, abs=1e-9)
    twice = evaluate_detections(dataset, [found([boxes[1], boxes[1], boxes[0]], [3] * 3)])
    assert (twice["map_50"], twice["voc_map_50"]) == (pytest.approx(0.5), 1)


def test_three_hundred_objects_are_within_reach() -> None:
    grid = [[20 * i, 20 * j, 15, 12] for i in range(20) for j in range(15)]
    dataset = Dataset("val", CLASSES, (example(annotated(grid, [3] * 300, size=(400, 300))),))
    result = evaluate_detections(dataset, [found(grid, [3] * 300)])
    assert result["map_all"] == result["map_50_all"] == pytest.approx(1)
    assert result["voc_map_50"] == 1
    assert result["map_50"] == pytest.approx(34 / 101)  # recalls 0 to 1/3
    assert "in an image: AP 100.0, AP50 100.0" in table(result)


def by_voc(dataset: Dataset, predictions: list[dict[str, Any]], label: int) -> float | None:
    """VOC's rule word by word, one detection after another, from the written files alone."""
    content = coco_ground_truth(dataset)
    objects = [dict(item) for item in content["annotations"] if item["category_id"] == dataset.category_ids[label]]
    positives = sum(not item.get("difficult") for item in objects)
    if not positives:
        return None
    own = [item for item in predictions if item["category_id"] == dataset.category_ids[label]]
    true, false, points = 0, 0, []
    for detection in sorted(own, key=lambda item: -item["score"]):
        x, y, w, h = detection["bbox"]
        best, nearest = -1.0, None
        for item in objects:
            if item["image_id"] != detection["image_id"]:
                continue
            a, b, c, d = item["bbox"]
            width, height = min(x + w, a + c) - max(x, a), min(y + h, b + d) - max(y, b)
            if width > 0 and height > 0 and width * height / (w * h + c * d - width * height) > best:
                best, nearest = width * height / (w * h + c * d - width * height), item
        if nearest is not None and best >= 0.5:
            if nearest.get("difficult"):
                continue
            true, false = true + ("taken" not in nearest), false + ("taken" in nearest)
            nearest["taken"] = True
        else:
            false += 1
        points.append((true / positives, true / (true + false)))
    return sum(max((p for r, p in points if r >= t / 10 - 1e-9), default=0.0) for t in range(11)) / 11


@pytest.mark.parametrize("seed", range(10))
def test_vocs_rule_word_by_word(seed: int) -> None:
    dataset, detections = random_data(seed, "difficult")
    predictions = coco_predictions(dataset, detections)
    figures = evaluate_detections(dataset, detections)
    for label, name in enumerate(CLASSES):
        assert figures["per_class"][name]["voc_ap_50"] == pytest.approx(by_voc(dataset, predictions, label), abs=1e-9)
    assert figures["ignored"] > 0
