"""Training samples: objects at the scale of their view, classes drawn equally often, and background."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.cache import ImageCache
from remoteclip_jax.data.sampling import Sampler, SamplingConfig
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.data.views import MIN_OBJECT_PIXELS
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import write_image

VIEWS = (128, 256, 896)


def grey_dataset(folder: Path, *boxes: list[list[float]]) -> Dataset:
    """Grey images with these boxes (cx, cy, w, h). A label is the index of the box in its image."""
    examples = []
    for i, found in enumerate(boxes):
        path = folder / f"{i}.png"
        Image.new("RGB", (400, 400), (90, 90, 90)).save(path)
        labels = np.arange(len(found), dtype=np.int32)
        examples.append(Example(path, 400, 400, np.array(found, np.float32).reshape(-1, 4), labels))
    return Dataset("train", ("a", "b", "c"), tuple(examples))


def sizes_by_class(dataset: Dataset, sampling: SamplingConfig, count: int = 60) -> dict[int, np.ndarray]:
    sampler, rng = Sampler(dataset, sampling), np.random.default_rng(0)
    sizes: dict[int, list[float]] = {}
    for _ in range(count):
        pixels, boxes, labels, _ = sampler.sample(dataset.examples[rng.integers(len(dataset))], rng)
        assert pixels.shape == (sampling.size, sampling.size, 3)
        for label, (_, _, w, h) in zip(labels.tolist(), boxes, strict=True):
            sizes.setdefault(label, []).append(float(np.sqrt(w * h)) * sampling.size)
    return {label: np.array(values) for label, values in sizes.items()}


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_objects_are_at_the_scale_of_their_view(tmp_path: Path, mosaic: float) -> None:
    """A small object mostly in the finest view, a large one in the coarsest view that fills the window."""
    small, large = [[0.3, 0.3, 0.03, 0.03]], [[0.5, 0.5, 0.4, 0.4]]
    for boxes, view in ((small, 896), (large, 128 if mosaic else 256)):
        found = sizes_by_class(grey_dataset(tmp_path, boxes), SamplingConfig(256, VIEWS, 1.1, "none", mosaic))[0]
        expected = boxes[0][2] * view
        assert np.median(found) == pytest.approx(expected, rel=0.15)
        assert np.mean(found < 8 * MIN_OBJECT_PIXELS) > 0.5  # larger: parts of the large one in background windows


def test_a_rare_class_is_drawn_about_as_often_as_a_common_one(tmp_path: Path) -> None:
    common = [[0.2 * x, 0.2 * y, 0.05, 0.05] for x in range(1, 5) for y in range(1, 5)]
    dataset = grey_dataset(tmp_path, [*common, [0.9, 0.9, 0.05, 0.05]])
    example = dataset.examples[0]
    one = Example(example.image, 400, 400, example.boxes, np.array([0] * 16 + [1], np.int32))
    found = sizes_by_class(Dataset("train", ("a", "b", "c"), (one,)), SamplingConfig(256, (1600,), 1.0, "none"))
    assert 0.3 < len(found[1]) / len(found[0]) < 1.2  # 1 to 16 in the data, but drawn equally often


def test_object_crops_contain_their_object_and_draw_classes_equally(tmp_path: Path) -> None:
    """Dark objects on a grey background: one class has one large object, the other three small ones."""
    path, rng = tmp_path / "dark.png", np.random.default_rng(0)
    boxes = np.array([[0.5, 0.5, 0.5, 0.4], [0.1, 0.1, 0.05, 0.05], [0.9, 0.1, 0.05, 0.05], [0.1, 0.9, 0.05, 0.05]])
    image = Image.new("RGB", (400, 400), (90, 90, 90))
    for x, y, w, h in boxes * 400:
        image.paste((0, 0, 0), tuple(round(v) for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)))
    image.save(path)
    example = Example(path, 400, 400, boxes.astype(np.float32), np.array([0, 1, 1, 1], np.int32))
    sampler = Sampler(Dataset("train", ("a", "b"), (example,)), SamplingConfig(256, VIEWS, 1.1, "none"))
    labels = []
    for _ in range(90):
        (pixels, _, visible, _), label = sampler.object_crop(example, 64, rng)
        assert label >= 0 or not len(visible)
        labels.append(label)
        if label < 0:  # background, or the inside of an object far too large for its view
            continue
        dark = (pixels.max(-1) < 45).sum()
        expected = [0.5 * 0.4 * 128**2, (0.05 * 896) ** 2][label]
        assert pixels.shape == (64, 64, 3)
        assert 0.5 * min(expected, 0.5 * 64**2) < dark < 1.6 * expected
    assert [12 < labels.count(label) < 48 for label in (-1, 0, 1)] == [True] * 3


def test_background_without_any_object(tmp_path: Path) -> None:
    for mosaic in (0.0, 1.0):
        assert not sizes_by_class(grey_dataset(tmp_path, [], []), SamplingConfig(256, VIEWS, 1.1, "none", mosaic), 10)


def test_the_cache_reads_once_within_its_limit(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        write_image(path, size=(40, 30))
    cache = ImageCache(64, limit=2 * 3 * 40 * 30)
    first = [cache.read(path, 1) for path in paths]
    for path in paths:
        path.write_bytes(b"gone")
    assert [cache.read(path, 1) is image for path, image in zip(paths[:2], first, strict=False)] == [True, True]
    with pytest.raises(UserError, match=r"2\.png"):  # it did not fit
        cache.read(paths[2], 1)


def test_the_cache_returns_the_smallest_sufficient_level(tmp_path: Path) -> None:
    write_image(tmp_path / "0.png", size=(500, 400))
    cache = ImageCache(1000)
    sizes = [cache.read(tmp_path / "0.png", needed).shape for needed in (400, 1, 100, 101, 200, 201, 900)]
    halves = [(400, 500, 3), (200, 250, 3), (100, 125, 3)]
    assert sizes == [halves[i] for i in (0, 2, 2, 1, 1, 0, 0)]


def test_samples_do_not_depend_on_the_cache(tmp_path: Path) -> None:
    """Nor on the cache: a resumed run starts with an empty one, and may have less memory."""
    rng, examples = np.random.default_rng(0), []
    for name in ("a.jpg", "b.png"):
        pixels = np.kron(rng.integers(0, 256, (60, 60, 3)), np.ones((10, 10, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
        boxes = np.array([[0.5, 0.5, 0.05, 0.05], [0.3, 0.6, 0.4, 0.4], [0.8, 0.2, 0.1, 0.1]], np.float32)
        examples.append(Example(tmp_path / name, 600, 600, boxes, np.array([0, 1, 2], np.int32)))
    data = Dataset("train", ("a", "b", "c"), tuple(examples))
    sampling = SamplingConfig(128, (64, 128, 256, 512), 1.1, "none", mosaic=0.5)

    def sample_pixels(sampler: Sampler, position: int) -> np.ndarray:
        return sampler.sample(data.examples[position % 2], np.random.default_rng(position)).pixels

    cached, uncached = Sampler(data, sampling), Sampler(data, sampling)
    uncached._cache = ImageCache(512, limit=0)
    samples = [sample_pixels(cached, position) for position in range(24)]
    for position in (0, 11, 23):
        np.testing.assert_array_equal(sample_pixels(Sampler(data, sampling), position), samples[position])
    for position, sample in enumerate(samples):
        np.testing.assert_array_equal(sample_pixels(uncached, position), sample)
