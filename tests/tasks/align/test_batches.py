"""Batches depend only on the seed and the step: not on threads, nor on where the iterator began."""

import dataclasses
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.clip.preprocess import resize_and_crop
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.pipeline import Batch, steps_per_epoch
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.align.batches import evaluation_batches, training_batches
from remoteclip_jax.tasks.align.targets import without_empty_images
from tests.command import ROOT
from tests.data.batches import assert_batches_equal
from tests.data.sample_images import write_gradient
from tests.shared_data import SHARED, requires_shared


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Ten images, each of a class of its own, so that a target identifies its image."""
    root = tmp_path_factory.mktemp("scenes")
    for i in range(10):
        write_gradient(root / "train" / f"class{i}" / "a.jpg", (60 + 4 * i, 64))
    return read_dataset(root, "train")


def batches(dataset: Dataset, count: int, start_step: int = 0, seed: int = 0, batch_size: int = 3) -> list[Batch]:
    endless = training_batches(
        dataset,
        batch_size=batch_size,
        image_size=32,
        seed=seed,
        start_step=start_step,
        rule="multi",
        augmentation="full",
    )
    return list(itertools.islice(endless, count))


def image_indices(batch: Batch) -> list[int]:
    return batch["target"].argmax(-1).tolist()


def test_batches(dataset: Dataset) -> None:
    batch = batches(dataset, 1)[0]
    assert (batch["image"].shape, batch["image"].dtype) == ((3, 32, 32, 3), np.uint8)
    assert (batch["target"].shape, batch["target"].dtype) == ((3, 10), np.float32)
    assert batch["target"].sum(-1).tolist() == [1, 1, 1]


def test_an_epoch_sees_every_image_and_epochs_differ(dataset: Dataset) -> None:
    assert steps_per_epoch(dataset, 3) == 4
    epochs = [[i for batch in batches(dataset, 4, start_step=4 * e) for i in image_indices(batch)] for e in range(12)]
    for epoch in epochs:
        assert sorted(epoch[:10]) == list(range(10))
        assert epoch[10:] == epoch[:2]  # the last batch is filled up from the start of the epoch
    assert len(set(map(tuple, epochs))) == 12


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_a_resumed_iterator_continues_bit_by_bit(dataset: Dataset, start: int) -> None:
    assert_batches_equal(batches(dataset, 8, start_step=start), batches(dataset, 8 + start)[start:])


def test_a_late_start_skips_the_earlier_steps(dataset: Dataset) -> None:
    """Else ten million steps would be read first, and this test would not end."""
    assert len(batches(dataset, 1, start_step=10**7)) == 1


def test_any_number_of_threads_gives_the_same_batches(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = batches(dataset, 7)
    for threads in (1, 3, 16, None):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        assert_batches_equal(batches(dataset, 7), expected)


def test_seeds_and_epochs_give_different_images(dataset: Dataset) -> None:
    one = dataclasses.replace(dataset, examples=dataset.examples[:1])
    images = [batches(one, 1, start, seed, 1)[0]["image"].tobytes() for start in range(5) for seed in range(5)]
    assert len(set(images)) == 25


def test_a_batch_larger_than_the_data_is_refused(dataset: Dataset) -> None:
    assert steps_per_epoch(dataset, 10) == 1
    with pytest.raises(UserError, match="--batch_size=11 is larger than the 10 images of the split 'train'"):
        batches(dataset, 1, batch_size=11)


def test_evaluation_sees_every_image_once_in_order(dataset: Dataset) -> None:
    result = list(evaluation_batches(dataset, batch_size=4, image_size=32, rule="multi"))
    assert [batch["image"].shape for batch in result] == [(4, 32, 32, 3)] * 3
    valid = np.concatenate([batch["valid"] for batch in result])
    assert valid.tolist() == [True] * 10 + [False] * 2
    assert np.concatenate([image_indices(batch) for batch in result])[valid].tolist() == list(range(10))
    for batch in result:
        np.testing.assert_array_equal(batch["classes"], batch["target"] > 0)
    images = np.concatenate([batch["image"] for batch in result])
    for i, example in enumerate(dataset.examples):
        np.testing.assert_array_equal(images[i], resize_and_crop(read_image(example.image), 32))
    assert_batches_equal(result, list(evaluation_batches(dataset, batch_size=4, image_size=32, rule="multi")))


@pytest.mark.parametrize("batch_size", [1, 5, 10, 30])
def test_evaluation_with_any_batch_size(dataset: Dataset, batch_size: int) -> None:
    result = list(evaluation_batches(dataset, batch_size=batch_size, image_size=32, rule="first"))
    assert sum(int(batch["valid"].sum()) for batch in result) == 10
    assert {len(batch["image"]) for batch in result} == {batch_size}


def test_the_target_follows_the_crop(dataset: Dataset) -> None:
    """A large object of one class, and one of another in the corner, which some crops lose and others keep."""
    boxes = np.array([[0.5, 0.5, 0.6, 0.6], [0.02, 0.02, 0.04, 0.04]], np.float32)
    example = dataclasses.replace(dataset.examples[0], boxes=boxes, labels=np.array([4, 7], np.int32))
    one = dataclasses.replace(dataset, examples=(example,))
    targets = {tuple(np.flatnonzero(batch["target"][0])) for batch in batches(one, 60, batch_size=1)}
    assert {(4,), (4, 7)} <= targets


def test_errors_in_threads_reach_the_caller(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    content = dataset.examples[0].image.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    broken = dataclasses.replace(dataset.examples[0], image=path)
    damaged = dataclasses.replace(dataset, examples=(*dataset.examples[:4], broken))
    with pytest.raises(UserError, match=r"broken\.jpg: the image is broken \([^\n]*\)$"):
        batches(damaged, 9)
    with pytest.raises(UserError, match=r"broken\.jpg: the image is broken \([^\n]*\)$"):
        list(evaluation_batches(damaged, batch_size=2, image_size=32, rule="multi"))


def test_a_dropped_iterator_stops_its_threads(dataset: Dataset) -> None:
    before = threading.active_count()
    endless = training_batches(dataset, batch_size=3, image_size=32, seed=0, rule="multi", augmentation="full")
    next(endless)
    del endless
    gc.collect()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


def test_an_unfinished_iterator_does_not_keep_the_program_alive(dataset: Dataset) -> None:
    program = """
import sys, pathlib
from remoteclip_jax.tasks.align.batches import training_batches
from remoteclip_jax.data.reading import read_dataset
dataset = read_dataset(pathlib.Path(sys.argv[1]), "train")
batches = training_batches(dataset, batch_size=3, image_size=32, seed=0, rule="first")
print(next(batches)["image"].shape)
"""
    root = dataset.examples[0].image.parents[2]
    done = subprocess.run([sys.executable, "-c", program, root], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (0, "(3, 32, 32, 3)\n", False), done.stderr


@requires_shared
def test_real_images() -> None:
    dataset, dropped = without_empty_images(read_dataset(SHARED / "gdit_airport", "train"))
    assert dropped == 3
    for batch in batches(dataset, 3, batch_size=8):
        assert batch["target"][:, 0].tolist() == [1] * 8
        assert batch["image"].std() > 10


def test_without_augmentation_an_image_is_only_resized(dataset: Dataset) -> None:
    endless = training_batches(dataset, batch_size=10, image_size=32, seed=0, rule="multi")
    first, second = (dict(zip(image_indices(b), b["image"], strict=True)) for b in itertools.islice(endless, 2))
    for place, pixels in first.items():
        np.testing.assert_array_equal(pixels, second[place])
