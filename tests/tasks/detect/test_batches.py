"""Batches for detection: padded boxes on their pixels, and the same from the same seed and place."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.pipeline import Batch
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.sampling import MIN_BOX_PIXELS, Sampler, SamplingConfig
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.data.windows import PADDING, square_to_pixels
from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.detect.batches import (
    MAX_IGNORED,
    Slots,
    box_slots,
    detection_batches,
    object_crop_batches,
    pad_boxes,
    surplus_notes,
    whole_image_batches,
)
from tests.data.batches import assert_batches_equal
from tests.data.sample_datasets import truncate, write_noise

FULL = SamplingConfig(size=64, views=(32, 64, 128), jitter=1.15)


@pytest.fixture(scope="module")
def synthetic(synthetic_data: Path) -> Dataset:
    return read_dataset(synthetic_data, "train")


def batches(dataset: Dataset, count: int = 3, sampling: SamplingConfig = FULL, **options: Any) -> list[Batch]:
    settings = {"batch_size": 4, "slots": Slots(16, 8), "seed": 0} | options
    return list(itertools.islice(detection_batches(dataset, Sampler(dataset, sampling), **settings), count))


def with_boxes(dataset: Dataset, *boxes: Any) -> Dataset:
    """The first images of `dataset`, with these boxes, whose labels count up."""
    examples = [
        dataclasses.replace(
            example, boxes=np.array(b, np.float32).reshape(-1, 4), labels=np.arange(len(b), dtype=np.int32)
        )
        for example, b in zip(dataset.examples, boxes, strict=False)
    ]
    return dataclasses.replace(dataset, examples=tuple(examples))


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_shapes_and_padding(synthetic: Dataset, mosaic: float) -> None:
    shown = 0
    for batch in batches(synthetic, 6, dataclasses.replace(FULL, mosaic=mosaic)):
        kinds = {name: (value.shape, value.dtype) for name, value in batch.items()}
        assert kinds == {
            "image": ((4, 64, 64, 3), np.uint8),
            "boxes": ((4, 16, 4), np.float32),
            "labels": ((4, 16), np.int32),
            "real": ((4, 16), bool),
            "ignored": ((4, 8, 4), np.float32),
            "ignored_labels": ((4, 8), np.int32),
        }
        real, boxes, labels = batch["real"], batch["boxes"], batch["labels"]
        assert (boxes[~real] == 0.5).all()
        assert (labels[~real] == 0).all()
        assert (np.diff(real.astype(int), axis=1) <= 0).all()  # real ones first
        low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
        assert low[real].min() > -1e-5
        assert high[real].max() < 1 + 1e-5
        assert boxes[real][:, 2:].min() * 64 >= MIN_BOX_PIXELS - 0.01
        assert ((labels >= 0) & (labels < len(synthetic.classes))).all()
        shown += real.any(1).sum()
    assert shown > 12


@pytest.mark.parametrize("mosaic", [0.0, 0.5])
def test_batches_follow_from_seed_and_place(synthetic: Dataset, mosaic: float) -> None:
    sampling = dataclasses.replace(FULL, mosaic=mosaic)
    unbroken = batches(synthetic, 9, sampling)
    assert_batches_equal(batches(synthetic, 9, sampling), unbroken)
    for start in (1, 5, 7):  # within and beyond the first epoch of six
        assert_batches_equal(batches(synthetic, 9 - start, sampling, start_step=start), unbroken[start:])
    other = batches(synthetic, 1, sampling, seed=1)[0]
    assert (other["image"] != unbroken[0]["image"]).mean() > 0.5


def red_corners(pixels: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero((pixels[..., 0] > 140) & (pixels[..., 1] < 64))
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / len(pixels)


@pytest.mark.parametrize("size", [(500, 300), (301, 499)])
def test_boxes_follow_the_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    """Through reduced decoding, window, flips and turns."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[100:180, 120:240, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    box = np.array([[180 / width, 140 / height, 120 / width, 80 / height]], np.float32)
    one = Dataset("train", ("red",), (Example(tmp_path / "a.jpg", width, height, box, np.zeros(1, np.int32)),))
    checked = 0
    for batch in batches(one, 40, SamplingConfig(64, (96,), 1.5, "flip"), batch_size=1):
        if not batch["real"][0, 0]:
            continue
        found = batch["boxes"][0, 0]
        expected = np.concatenate([found[:2] - found[2:] / 2, found[:2] + found[2:] / 2])
        np.testing.assert_allclose(red_corners(batch["image"][0]), expected, atol=2 / 64)
        checked += 1
    assert checked > 25


def test_boxes_follow_the_pixels_in_a_mosaic(tmp_path: Path) -> None:
    """Every tile, quartered or not, shows its red square under its box."""
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[40:80, 100:140, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    box = np.array([[0.6, 0.3, 0.2, 0.2]], np.float32)
    one = Dataset("train", ("red",), (Example(tmp_path / "a.png", 200, 200, box, np.zeros(1, np.int32)),))
    shown, counts = 0, set()
    for batch in batches(one, 20, SamplingConfig(256, (128,), 1.1, "flip", mosaic=1.0), batch_size=1):
        image, real = batch["image"][0], batch["real"][0]
        red = (image[..., 0] > 140) & (image[..., 1] < 64)
        counts.add(int(real.sum()))
        for x, y, w, h in batch["boxes"][0][real] * 256:
            inside = red[round(y - h / 2) : round(y + h / 2), round(x - w / 2) : round(x + w / 2)]
            assert inside.mean() > 0.85
            red[round(y - h / 2) - 1 : round(y + h / 2) + 1, round(x - w / 2) - 1 : round(x + w / 2) + 1] = False
            shown += 1
        assert red.mean() < 0.01  # nothing red is left out
    assert shown > 40
    assert max(counts) > 4  # a quartered tile


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_images_without_objects_are_ordinary(synthetic: Dataset, mosaic: float) -> None:
    mixed = with_boxes(synthetic, [], [[0.5, 0.5, 0.4, 0.4]])
    sampling = dataclasses.replace(FULL, mosaic=mosaic)
    counts = np.concatenate([batch["real"].sum(1) for batch in batches(mixed, 4, sampling, batch_size=2)])
    assert counts.max() >= 1
    if not mosaic:
        assert counts.min() == 0


def test_more_boxes_than_slots(synthetic: Dataset) -> None:
    """A random choice stays, each box with its own label; the others are ignored."""
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(4)), -1).reshape(20, 2)
    boxes = np.concatenate([0.1 + 0.2 * grid, np.full((20, 2), 0.1)], -1).astype(np.float32)
    full = with_boxes(synthetic, boxes)
    seen = []
    for batch in batches(full, 12, SamplingConfig(64, (64,), level="none"), batch_size=1, slots=Slots(8, 16)):
        assert batch["real"].all()
        ignored = batch["ignored_labels"][0]
        assert sorted([*batch["labels"][0].tolist(), *ignored[ignored >= 0].tolist()]) == list(range(20))
        np.testing.assert_allclose(batch["ignored"][0, :12], boxes[ignored[:12]], atol=1e-5)
        labels = batch["labels"][0]
        assert len(set(labels.tolist())) == 8
        np.testing.assert_allclose(batch["boxes"][0], boxes[labels], atol=1e-5)
        seen.append(tuple(labels))
    assert len(set(seen)) == 12
    assert len(set(itertools.chain(*seen))) == 20


def test_slots(synthetic: Dataset) -> None:
    box = [[0.5, 0.5, 0.1, 0.1]]
    assert box_slots(with_boxes(synthetic, [], []), 100) == (8, 0)
    assert box_slots(with_boxes(synthetic, box * 8), 100) == (8, 0)
    assert box_slots(with_boxes(synthetic, box * 8), 100, mosaic=True) == (8, 32)
    assert box_slots(with_boxes(synthetic, box, box * 9), 100) == (16, 0)
    assert box_slots(with_boxes(synthetic, box * 60), 50) == (50, 32)
    assert box_slots(with_boxes(synthetic, box * 90), 50) == (50, 64)
    assert box_slots(with_boxes(synthetic, box * 900), 50) == (50, MAX_IGNORED)


def test_images_with_more_objects_than_the_limit_are_noted(synthetic: Dataset) -> None:
    box = [[0.5, 0.5, 0.1, 0.1]]
    assert surplus_notes(with_boxes(synthetic, box * 5, box * 8), 8) == ()
    (note,) = surplus_notes(with_boxes(synthetic, box * 5, box * 9, box * 12), 8)
    assert "2 images have more than 8 objects" in note
    assert "up to 4" in note


def test_pad() -> None:
    empty = pad_boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, bool), Slots(3, 2))
    assert not empty["real"].any()
    assert empty["ignored_labels"].tolist() == [-1, -1]
    assert (empty["boxes"] == 0.5).all()
    boxes = np.array([[0.1, 0.2, 0.3, 0.4]] * 3, np.float32)
    full = pad_boxes(boxes, np.array([4, 5, 6], np.int32), np.ones(3, bool), Slots(3, 0))
    assert full["real"].all()
    np.testing.assert_array_equal(full["boxes"], boxes)
    assert full["labels"].tolist() == [4, 5, 6]
    assert full["ignored"].shape == (0, 4)
    mixed = pad_boxes(boxes, np.array([4, 5, 6], np.int32), np.array([False, True, True]), Slots(1, 4))
    assert mixed["labels"].tolist() == [5]
    assert mixed["ignored_labels"].tolist() == [4, 6, -1, -1]


def test_ignored_objects_are_no_objects_and_keep_their_place(synthetic: Dataset) -> None:
    """In windows and in object crops."""
    box = np.array([[0.3, 0.3, 0.2, 0.2]], np.float32)
    crowd = np.array([[0.6, 0.6, 0.8, 0.8]], np.float32)
    example = dataclasses.replace(
        synthetic.examples[0],
        boxes=box,
        labels=np.array([3], np.int32),
        ignored=crowd,
        ignored_labels=np.array([7], np.int32),
    )
    data = dataclasses.replace(synthetic, examples=(example,))
    for batch in batches(data, 4, SamplingConfig(64, (64,), level="none"), batch_size=1, slots=box_slots(data, 8)):
        assert batch["real"].sum() == 1
        assert batch["labels"][0, 0] == 3
        assert batch["ignored_labels"][0].tolist() == [7, *[-1] * 31]
        np.testing.assert_allclose(batch["ignored"][0, 0], crowd[0], atol=1e-6)
    sampler = Sampler(data, SamplingConfig(64, (64,), level="none"))
    iterator = object_crop_batches(data, sampler, batch_size=8, size=64, seed=0)
    batch = next(iterator)
    iterator.close()
    assert set(batch["label"].tolist()) <= {-1, 3}
    assert not batch["shown"][:, 7].any()
    assert batch["ignored"][:, 7].any()


def test_slivers_of_objects_are_left_out(synthetic: Dataset) -> None:
    thin = with_boxes(synthetic, [[0.5, 0.5, 0.4, 0.02], [0.3, 0.3, 0.2, 0.2]])  # 1.3 pixels of 64 high
    batch = batches(thin, 1, SamplingConfig(64, (64,), level="none"), batch_size=1)[0]
    assert batch["real"].sum() == 1
    assert batch["labels"][0, 0] == 1


def test_whole_images_keep_their_order(tmp_path: Path) -> None:
    examples = []
    for i in range(5):
        Image.new("RGB", (80, 40), (50 * i, 0, 0)).save(tmp_path / f"{i}.png")
        none = np.zeros((0, 4), np.float32)
        examples.append(Example(tmp_path / f"{i}.png", 80, 40, none, np.zeros(0, np.int32)))
    dataset = Dataset("test", ("a",), tuple(examples))
    result = list(whole_image_batches(dataset, batch_size=2, views=(32, 64)))
    assert [batch["1"].shape for batch in result] == [(2, 64, 64, 3)] * 3
    images = np.concatenate([batch["0"] for batch in result])
    assert images[:, 8, 16, 0].tolist() == [0, 50, 100, 150, 200, 200]  # the last one again
    assert (images[:, 16:] == PADDING).all()
    np.testing.assert_allclose(square_to_pixels(np.array([[0, 0, 1, 0.5]], np.float32), 80, 40), [[0, 0, 80, 40]])


def test_a_broken_image_is_named(synthetic: Dataset, tmp_path: Path) -> None:
    truncate(write_noise(tmp_path / "broken.jpg", 96))
    example = dataclasses.replace(synthetic.examples[0], image=tmp_path / "broken.jpg")
    damaged = dataclasses.replace(synthetic, examples=(*synthetic.examples[:3], example))
    with pytest.raises(UserError, match=r"broken\.jpg: the image is broken \([^\n]*\)$"):
        batches(damaged, 3)
    with pytest.raises(UserError, match=r"broken\.jpg: the image is broken \([^\n]*\)$"):
        list(whole_image_batches(damaged, batch_size=2, views=(64,)))


def test_a_batch_larger_than_the_data_is_refused(synthetic: Dataset) -> None:
    with pytest.raises(UserError, match="--batch_size=25 is larger than the 24 images of the split 'train'"):
        batches(synthetic, 1, batch_size=25)
