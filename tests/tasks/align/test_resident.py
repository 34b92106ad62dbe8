"""Batches drawn on the devices are those that the host makes, to the bit and in the same order."""

import contextlib
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.runtime import devices
from remoteclip_jax.runtime.devices import free_device_memory, split_batch
from remoteclip_jax.tasks.align import resident, workload
from remoteclip_jax.tasks.align.batches import training_batches
from remoteclip_jax.tasks.align.resident import ResidentImages, fits
from remoteclip_jax.tasks.align.targets import without_empty_images
from remoteclip_jax.tasks.training import train
from tests.commands.test_end_to_end import final_bits, rows_without_times
from tests.shared_data import SHARED, requires_shared

SIZE = 32


@pytest.fixture(scope="module")
def dataset(synthetic_data: Path) -> Dataset:
    return without_empty_images(read_dataset(synthetic_data, "train"))[0]


def assert_same_batches(
    dataset: Dataset, *, augmentation: str, rule: str = "largest", size: int = SIZE, start: int = 0, count: int = 8
) -> None:
    options: dict[str, Any] = {"batch_size": 10, "seed": 3, "augmentation": augmentation, "start_step": start}
    images = ResidentImages(dataset, image_size=size, rule=rule)
    host = training_batches(dataset, image_size=size, rule=rule, **options)
    with contextlib.closing(host), contextlib.closing(images.batches(**options)) as indices:
        for expected, batch in itertools.islice(zip(host, indices, strict=True), count):
            found, placed = images.place(batch), split_batch(expected)
            assert found.keys() == placed.keys()
            for name, array in placed.items():
                assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
                assert found[name].sharding.is_equivalent_to(array.sharding, array.ndim)
                np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(array))


@pytest.mark.parametrize("augmentation", ["none", "flip"])
@pytest.mark.parametrize("rule", ["first", "largest", "multi"])
def test_batches_are_those_of_the_host(dataset: Dataset, augmentation: str, rule: str) -> None:
    """Over several epochs, which end within a batch."""
    assert_same_batches(dataset, augmentation=augmentation, rule=rule)


def test_a_late_start(dataset: Dataset) -> None:
    assert_same_batches(dataset, augmentation="flip", start=10**7, count=2)


def test_images_of_several_chunks(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "CHUNK", 7)
    assert_same_batches(dataset, augmentation="flip")


@requires_shared
def test_real_images() -> None:
    scenes = read_dataset(SHARED / "whu_rs19", "train")
    some = dataclasses.replace(scenes, examples=scenes.examples[::12])
    assert_same_batches(some, augmentation="flip", size=224, count=14)


def test_drawing_transfers_only_the_indices(dataset: Dataset) -> None:
    images = ResidentImages(dataset, image_size=SIZE, rule="first")
    batches = images.batches(batch_size=4, seed=0, augmentation="flip")
    batch = next(batches)
    assert {name: array.shape for name, array in batch.items()} == {"index": (4,), "symmetry": (4,)}
    images.place(batch)  # compiles
    with jax.transfer_guard("disallow"):
        images.place(next(batches))


def test_a_broken_image_is_named(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(dataset.examples[0].image.read_bytes()[:500])
    broken = dataclasses.replace(dataset.examples[0], image=path)
    images = ResidentImages(
        dataclasses.replace(dataset, examples=(*dataset.examples, broken)), image_size=SIZE, rule="first"
    )
    with pytest.raises(UserError, match=r"broken\.jpg: .*--skip_broken"):
        images.batches(batch_size=4, seed=0, augmentation="none")


def test_what_fits() -> None:
    assert fits(100, 224, 4 * 100 * 224 * 224 * 3)
    assert not fits(101, 224, 4 * 100 * 224 * 224 * 3)
    assert not fits(1, 32, 0)


def test_the_free_memory_is_that_of_the_fullest_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_device_memory() == 0  # a CPU

    class Device:
        platform = "gpu"

        def __init__(self, **stats: int) -> None:
            self.memory_stats = lambda: stats or None

    one, other = Device(bytes_limit=1000, bytes_in_use=100), Device(bytes_limit=1000, bytes_in_use=300)
    for found, free in ([[one], 900], [[one, other], 700], [[one, Device()], 0]):
        monkeypatch.setattr(devices.jax, "local_devices", lambda found=found: found)
        assert free_device_memory() == free


@pytest.fixture
def on_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "free_device_memory", lambda: 2**30)


@pytest.mark.usefixtures("on_accelerator")
def test_a_run_ends_with_the_same_bits(
    align_run: Path, synthetic_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if it goes on from its second epoch."""
    settings = {"preset": "tiny", "data_dir": str(synthetic_data), "checkpoint_every": 2}
    train({**settings, "epochs": 2}, tmp_path / "run")
    train({"epochs": 3}, tmp_path / "run")
    assert capsys.readouterr().out.count("the 24 training images are kept on the device (0 MiB)") == 2
    assert rows_without_times(tmp_path / "run") == rows_without_times(align_run)
    assert final_bits(tmp_path / "run") == final_bits(align_run)


@pytest.mark.usefixtures("on_accelerator")
def test_crops_and_colours_come_from_the_host(
    synthetic_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"preset": "tiny", "data_dir": str(synthetic_data), "augment": "full", "max_steps": 1}
    train(settings, tmp_path / "run")
    assert "kept on the device" not in capsys.readouterr().out
