"""The synthetic mini_dataset: real statistics, colours that tell nothing, tight boxes, the same bytes."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from defusedxml import ElementTree
from PIL import Image, ImageDraw
from scipy.optimize import minimize

from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.errors import UserError
from remoteclip_jax.scenes import draw_dataset, draw_scene
from remoteclip_jax.scenes.deck import recipe
from remoteclip_jax.scenes.picture import layout, pixel_boxes
from remoteclip_jax.scenes.shapes import area, clip, disk, place, rect

ROOT = Path(__file__).parents[2]
REAL = ROOT / "../shared/data/dior_mini"
DEFAULT = (("train", 70), ("val", 15), ("test", 15))

QUANTILES = (5, 10, 25, 50, 75, 90, 95)
# Of DIOR's mini_dataset, 602 boxes, relative to the image's side: sqrt(w·h); w and h pooled; the longer side.
SIZES = (0.0135, 0.0159, 0.0230, 0.0392, 0.1063, 0.2550, 0.4368)
SIDES = (0.0125, 0.0150, 0.0213, 0.0438, 0.1128, 0.2775, 0.4559)
LONGER = (0.0175, 0.0213, 0.0325, 0.0513, 0.1340, 0.3320, 0.5620)
COUNTS = (1, 1, 1, 3, 7, 10.1, 15.1)
MEAN_COUNT = 6.02


def statistics(boxes: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Quantiles from the relative boxes xyxy of each image."""
    wh = np.concatenate([b[:, 2:] - b[:, :2] for b in boxes])
    values = {"sizes": np.sqrt(wh.prod(1)), "sides": wh.ravel(), "longer": wh.max(1), "counts": [len(b) for b in boxes]}
    return {k: np.percentile(v, QUANTILES) for k, v in values.items()}


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real annotations are not at {REAL}")
def test_the_reference_is_that_of_the_real_annotations() -> None:
    boxes = []
    for path in sorted((REAL / "annotations").glob("*.xml")):
        root = ElementTree.parse(path).getroot()
        corners = [[int(b.findtext(k, "")) for k in ("xmin", "ymin", "xmax", "ymax")] for b in root.iter("bndbox")]
        boxes.append(np.array(corners) / 800)
    found = statistics(boxes)
    for name, expected in (("sizes", SIZES), ("sides", SIDES), ("longer", LONGER), ("counts", COUNTS)):
        np.testing.assert_allclose(found[name], expected, rtol=0.01, err_msg=name)
    assert sum(map(len, boxes)) == 602


@pytest.mark.parametrize(
    ("seed", "splits"), [(0, DEFAULT), (1, DEFAULT), (2, DEFAULT), (7, DEFAULT), (3, (("train", 300),))]
)
def test_sizes_and_counts_follow_the_real_annotations(seed: int, splits: tuple[tuple[str, int], ...]) -> None:
    drawn = [(split, *pixel_boxes(layout(seed, split, i), 800)) for split, n in splits for i in range(n)]
    boxes = [b / 800 for _, b, _ in drawn]
    found = statistics(boxes)
    for name, expected in (("sizes", SIZES), ("sides", SIDES), ("longer", LONGER), ("counts", COUNTS)):
        np.testing.assert_allclose(found[name], expected, rtol=0.2, err_msg=name)
    counts = [len(b) for b in boxes]
    assert min(counts) >= 1
    assert 45 <= max(counts) <= 130
    assert abs(np.mean(counts) / MEAN_COUNT - 1) < 0.2
    of_class = Counter(n for _, _, names in drawn for n in names)
    assert set(of_class) == set(DIOR_CLASSES)
    assert {n for split, _, names in drawn if split == "train" for n in names} == set(DIOR_CLASSES)
    assert max(of_class.values()) / sum(of_class.values()) < 0.22  # no class to bet on


def test_every_class_is_the_main_one_equally_often() -> None:
    mains = Counter(recipe(5, split, i).main for split, n in DEFAULT for i in range(n))
    assert mains == dict.fromkeys(DIOR_CLASSES, 5)
    assert {recipe(5, "train", i).main for i in range(20)} == set(DIOR_CLASSES)


def softmax_regression(x: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """Weights [features + 1, classes] of a multinomial logistic regression, hardly regularised."""
    x, target = np.c_[x, np.ones(len(x))], np.eye(classes)[y]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(-1, classes)
        z = x @ w
        z -= z.max(1, keepdims=True)
        p = np.exp(z)
        p /= p.sum(1, keepdims=True)
        value = -np.log(p[np.arange(len(y)), y]).mean() + 5e-4 * (w[:-1] ** 2).sum()
        return value, (x.T @ (p - target) / len(y) + 1e-3 * np.r_[w[:-1], np.zeros((1, classes))]).ravel()

    start = np.zeros((x.shape[1]) * classes)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x.reshape(-1, classes)


@pytest.mark.parametrize("seed", [0, 1])
def test_colour_gives_no_class_away(seed: int) -> None:
    colours, labels, image = [], [], []
    for i, (split, index) in enumerate((s, k) for s, n in DEFAULT for k in range(n)):
        scene = layout(seed, split, index)
        picture = scene.render(200)
        for (x1, y1, x2, y2), name in zip(*pixel_boxes(scene, 200), strict=True):
            colours.append(picture[int(y1) : int(y2), int(x1) : int(x2)].reshape(-1, 3).mean(0))
            labels.append(DIOR_CLASSES.index(name))
            image.append(i)
    x, y, of_image = np.array(colours), np.array(labels), np.array(image)
    x = (x - x.mean(0)) / x.std(0)
    shuffled = np.random.default_rng(0).permutation(len(y)) % 5
    # By box, where the boxes of one image stand on both sides and share its light, and by image, where they do not.
    for fold in (shuffled, of_image % 5, np.where(of_image < 70, 1, 0)):
        hit = np.zeros(len(y), bool)
        tested = [k for k in np.unique(fold) if fold.max() > 1 or k == 0]
        for k in tested:
            w = softmax_regression(x[fold != k], y[fold != k], 20)
            hit[fold == k] = (np.c_[x, np.ones(len(x))] @ w).argmax(1)[fold == k] == y[fold == k]
        seen = np.isin(fold, tested)
        assert hit[seen].mean() < 0.25
        assert np.mean([hit[seen & (y == c)].mean() for c in np.unique(y[seen])]) < 0.15  # with every class alike


def test_boxes_are_tight() -> None:
    side, compared = 1600, 0
    for index in range(40):
        scene = layout(4, "train", index)
        boxes, _ = scene.boxes()
        extents = []
        for _, parts in scene.objects:
            alone = Image.new("L", (side, side))
            draw = ImageDraw.Draw(alone)
            for part in parts:
                if part.solid:
                    draw.polygon((part.points * side - 0.5).ravel().tolist(), fill=1)
            ys, xs = np.nonzero(np.asarray(alone))
            extents.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else (0, 0, 0, 0))
        found = np.array(extents)
        for box in boxes * side:  # hardly visible objects are in `found` only
            assert np.abs(found - box).max(1).min() <= 2.5, (index, box)
            compared += 1
    assert compared > 150


def test_boxes_lie_inside_and_are_annotated_in_whole_pixels(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "d", 20, 2, 2, seed=3, image_size=96)
    lists = {s: (tmp_path / f"d/splits/{s}.txt").read_text().split() for s in ("train", "val", "test")}
    assert {k: len(v) for k, v in lists.items()} == {"train": 20, "val": 2, "test": 2}
    for split, names in lists.items():
        for i, name in enumerate(names):
            with Image.open(tmp_path / f"d/images/{name}.jpg") as image:
                assert (image.size, image.mode) == ((96, 96), "RGB")
            root = ElementTree.parse(tmp_path / f"d/annotations/{name}.xml").getroot()
            assert root.findtext("filename") == f"{name}.jpg"
            assert [root.findtext(f"size/{k}") for k in ("width", "height", "depth")] == ["96", "96", "3"]
            boxes, labels = pixel_boxes(layout(3, split, i), 96)
            assert [o.findtext("name") for o in root.iter("object")] == labels
            corners = [[int(b.findtext(k, "")) for k in ("xmin", "ymin", "xmax", "ymax")] for b in root.iter("bndbox")]
            found = np.array(corners)
            assert found.min() >= 1
            assert found.max() <= 96
            assert (found[:, 2:] > found[:, :2]).all()
            assert np.abs(found - boxes).max() <= 1


def test_an_image_depends_on_seed_split_and_index_only(tmp_path: Path) -> None:
    for name, args in (("one", (8, 2, 0, 0)), ("two", (8, 2, 0, 0)), ("more", (10, 3, 1, 0)), ("other", (8, 2, 0, 1))):
        *counts, seed = args
        draw_dataset(tmp_path / name, *counts, seed=seed, image_size=64, workers=2 if name == "two" else 1)
    one, two, more, other = (files(tmp_path / n) for n in ("one", "two", "more", "other"))
    assert one == two
    drawn = [k for k in one if k.startswith(("images/", "annotations/"))]
    assert len(drawn) == 20
    assert all(one[k] == more[k] != other[k] for k in drawn)
    assert len({one[k] for k in drawn}) == 20  # val_00000 is not train_00000


def test_a_killed_drawing_is_completed_and_a_finished_one_left_alone(tmp_path: Path) -> None:
    settings = {"train": 5, "val": 1, "test": 1, "seed": 0, "image_size": 64, "workers": 1}
    draw_dataset(tmp_path, **settings)
    whole = files(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jpg")}
    draw_dataset(tmp_path, **settings)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.jpg")}
    for lost in ("splits/train.txt", "images/train_00003.jpg", "annotations/train_00001.xml"):
        (tmp_path / lost).unlink()
    (tmp_path / "images/train_00003.jpg.17.part").write_bytes(b"half")
    draw_dataset(tmp_path, **settings)
    assert files(tmp_path) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": -1}, "--train=-1"),
        ({"train": 0, "val": 0, "test": 0}, "all 0"),
        ({"image_size": 63}, "--image_size=63"),
        ({"image_size": 100000}, "--image_size=100000"),
        ({"seed": -3}, "--seed=-3"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_dataset(tmp_path / "d", **{"train": 1, "val": 1, "test": 1, "seed": 0, "image_size": 64, **change})
    assert not (tmp_path / "d").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("ten years of work")
    with pytest.raises(UserError, match="full: is not empty"):
        draw_dataset(tmp_path / "full", 1, 0, 0, seed=0, image_size=64)
    assert files(tmp_path / "full") == {"thesis.tex": b"ten years of work"}
    draw_dataset(tmp_path / "drawn", 1, 0, 0, seed=0, image_size=64)
    with pytest.raises(UserError, match=r"other settings .*seed=0"):
        draw_dataset(tmp_path / "drawn", 1, 0, 0, seed=1, image_size=64)


def test_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "remoteclip_jax.scenes", "--val=0", "--test=0", "--image_size=64"]
    done = subprocess.run([*command, "--train=1", f"--output={tmp_path}/d"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "d/splits/train.txt").read_text() == "train_00000\n"
    bad = subprocess.run([*command, "--train=-1", f"--output={tmp_path}/e"], cwd=ROOT, capture_output=True, text=True)
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    assert bad.stderr.startswith("error: --train=-1")


def test_a_drawing_process_loads_neither_jax_nor_torch() -> None:
    code = "import sys, remoteclip_jax.scenes.workers; print({'jax', 'torch'} & set(sys.modules) or 'neither')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "neither"


def test_a_failing_drawing_process_is_reported(tmp_path: Path) -> None:
    from remoteclip_jax.scenes.workers import draw_all

    with pytest.raises(RuntimeError, match="No such file"):
        draw_all(tmp_path / "nowhere", 0, 64, [("train", 0), ("train", 1)], 2, lambda: None)


def test_a_small_picture_is_the_large_one_scaled_down() -> None:
    small, small_boxes, names = draw_scene(11, 128)
    large, large_boxes, same = draw_scene(11, 512)
    assert names == same
    assert np.abs(large_boxes / 4 - small_boxes).max() <= 1
    reduced = np.asarray(Image.fromarray(large).reduce(8), float).ravel()
    assert np.corrcoef(reduced, np.asarray(Image.fromarray(small).reduce(2), float).ravel())[0, 1] > 0.9


def test_clipping_keeps_what_is_seen() -> None:
    assert area(clip(rect(0.0, 0.5, 0.5, 0.2))) == pytest.approx(0.05)
    assert len(clip(rect(2.0, 2.0, 0.5, 0.5))) == 0
    assert area(clip(rect(0.5, 0.5, 5, 5, 0.3))) == pytest.approx(1)
    assert area(clip(disk(0.0, 0.0, 0.4, n=200))) == pytest.approx(np.pi * 0.16 / 4, rel=1e-2)
    assert place([], 0, 1, (0, 0)) == []
