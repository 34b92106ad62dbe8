"""Batches of `contrast`: whole images, each with one of its captions at random."""

import dataclasses
import itertools
import os

import cv2
import jax
import numpy as np
import open_clip
import pytest
from PIL import Image

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import CLIP, init
from remoteclip_jax.clip.preprocess import resize_and_crop
from remoteclip_jax.clip.tokenizer import tokenize
from remoteclip_jax.data.captions.reading import read_captions
from remoteclip_jax.data.pipeline import Batch
from remoteclip_jax.data.transforms import resize
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.ops.similarity import l2_normalise
from remoteclip_jax.tasks.contrast.batches import Captions, contrast_batches
from tests.data.batches import assert_batches_equal
from tests.data.sample_datasets import write_json
from tests.data.sample_images import write_gradient

SIZE = 32
SIDES = [(48, 48), (32, 32), (40, 70), (90, 40), (33, 64), (60, 60), (48, 48), (51, 34), (36, 36), (44, 44)]
TOO_LONG = ("word " * 100, "a " * 75 + "!;" * 12)  # at the cut, the token of the second one is 0, which is "!"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Image i has i % 5 + 1 captions."""
    root, images = tmp_path_factory.mktemp("captioned"), []
    for i, sides in enumerate(SIDES):
        write_gradient(root / f"{i}.png", sides)
        sentences = [{"raw": f"caption {j} of image {i}"} for j in range(i % 5 + 1)]
        images.append({"filename": f"{i}.png", "split": "train", "sentences": sentences})
    write_json(root / "captions.json", {"images": images})
    return read_captions(root / "captions.json", "train")


def batches(
    dataset: Dataset, count: int, start_step: int = 0, batch_size: int = 3, seed: int = 0, augmentation: str = "full"
) -> list[Batch]:
    endless = contrast_batches(
        dataset,
        Captions(dataset, 77),
        batch_size=batch_size,
        image_size=SIZE,
        seed=seed,
        augmentation=augmentation,
        start_step=start_step,
    )
    return list(itertools.islice(endless, count))


def with_captions(dataset: Dataset, *captions: str) -> Dataset:
    """One image of `dataset`, with these captions."""
    return dataclasses.replace(dataset, examples=(dataclasses.replace(dataset.examples[0], captions=captions),))


def test_batches(dataset: Dataset) -> None:
    batch = batches(dataset, 1)[0]
    found = {name: (x.shape, x.dtype) for name, x in batch.items()}
    assert found == {"image": ((3, 32, 32, 3), np.uint8), "ids": ((3, 8), np.int32), "index": ((3,), np.int32)}
    for ids, index in zip(batch["ids"], batch["index"], strict=True):
        own = {tokenize(caption)[0, :8].tobytes() for caption in dataset.examples[index].captions}
        assert ids.tobytes() in own


def test_every_image_once_an_epoch(dataset: Dataset) -> None:
    """Whatever is in it, and in another order each time. The last batch is filled up from the start of the epoch."""
    epochs = [np.concatenate([b["index"] for b in batches(dataset, 4, 4 * e)]).tolist() for e in range(8)]
    for epoch in epochs:
        assert sorted(epoch[:10]) == list(range(10))
        assert epoch[10:] == epoch[:2]
    assert len(set(map(tuple, epochs))) == 8


def test_a_sample_depends_on_the_seed_and_its_position_alone(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = batches(dataset, 8)
    for start in (1, 3, 5):
        assert_batches_equal(batches(dataset, 3, start), expected[start : start + 3])
    for threads in (1, 5):
        monkeypatch.setattr(os, "cpu_count", lambda threads=threads: threads)
        assert_batches_equal(batches(dataset, 4), expected[:4])
    other = batches(dataset, 8, seed=1)
    assert any((a["index"] != b["index"]).any() for a, b in zip(expected, other, strict=True))
    one = dataclasses.replace(dataset, examples=dataset.examples[:1])
    images = {batches(one, 1, start, 1, seed)[0]["image"].tobytes() for start in range(4) for seed in range(4)}
    assert len(images) == 16


def test_captions_are_drawn_evenly(dataset: Dataset) -> None:
    """Of an image with five captions, a thousand times."""
    one = dataclasses.replace(dataset, examples=dataset.examples[4:5])
    drawn = [batch["ids"].tobytes() for batch in batches(one, 1000, batch_size=1)]
    counts = [drawn.count(tokenize(caption)[0, :8].tobytes()) for caption in one.examples[0].captions]
    assert sum(counts) == 1000
    assert all(abs(count - 200) < 60 for count in counts), counts  # the standard deviation is 13


@pytest.mark.parametrize("index", range(len(SIDES)))
def test_pixels_are_those_of_the_whole_image(index: int, dataset: Dataset) -> None:
    """Of its centre square, if it is no square; in all eight symmetries."""
    one = dataclasses.replace(dataset, examples=dataset.examples[index : index + 1])
    width, height = SIDES[index]
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    pixels = np.asarray(Image.open(one.examples[0].image))[top : top + side, left : left + side]
    whole = resize(pixels, SIZE, SIZE)
    plain = batches(one, 1, batch_size=1, augmentation="none")[0]["image"][0]
    np.testing.assert_array_equal(plain, whole)
    evaluated = resize_and_crop(Image.open(one.examples[0].image), SIZE)
    assert np.abs(plain.astype(int) - evaluated).mean() < 8  # Pillow's filter: the same place, if not the same values
    symmetries = {np.rot90(x, k).tobytes() for x in (whole, cv2.flip(whole, 1)) for k in range(4)}
    assert len(symmetries) == 8
    drawn = {batch["image"][0].tobytes() for batch in batches(one, 60, batch_size=1, augmentation="flip")}
    assert drawn == symmetries


def test_objects_change_nothing(dataset: Dataset) -> None:
    """The data have none. If they had some, wherever they were, the batches would be the same."""
    assert not dataset.has_boxes
    assert dataset.classes == ()
    assert all(len(e.boxes) == len(e.labels) == len(e.ignored) == 0 for e in dataset.examples)
    assert all(e.annotations is None for e in dataset.examples)
    rng = np.random.default_rng(0)
    examples = tuple(
        dataclasses.replace(e, boxes=rng.uniform(0.1, 0.4, (3, 4)).astype(np.float32), labels=np.zeros(3, np.int32))
        for e in dataset.examples
    )
    assert_batches_equal(batches(dataclasses.replace(dataset, examples=examples), 8), batches(dataset, 8))


def test_long_captions_are_cut_as_open_clip_cuts_them(dataset: Dataset) -> None:
    exact = "a " * 75  # with start and end token 77
    texts = ("", *TOO_LONG, exact, exact + "a", "a harbor", "an <end_of_text> in between", "x " * 74)
    captions = Captions(with_captions(dataset, *texts), 77)
    np.testing.assert_array_equal(captions.ids, open_clip.tokenize(texts))
    assert captions.truncated == 3
    assert captions.first.tolist() == [0, len(texts)]


def test_short_captions_have_short_ids(dataset: Dataset) -> None:
    for text, length in (("a harbor", 8), ("a " * 6, 8), ("a " * 7, 16), ("a " * 70, 72), ("a " * 71, 77)):
        captions = Captions(with_captions(dataset, text, "x"), 77)
        assert captions.ids.shape == (2, length)
        assert captions.truncated == 0
        np.testing.assert_array_equal(np.pad(captions.ids, ((0, 0), (0, 77 - length))), tokenize([text, "x"]))


def test_cut_padding_changes_no_embedding(dataset: Dataset) -> None:
    config = ARCHITECTURES["tiny"]
    texts = ("a harbor", "many ships, and a bridge over a river", "x")
    variables, encode = init(config, jax.random.key(0)), jax.jit(CLIP(config).apply, static_argnames="method")
    ids = Captions(with_captions(dataset, *texts), 77).ids
    assert ids.shape[1] == 16
    cut, whole = (l2_normalise(encode(variables, x, method="encode_text")) for x in (ids, tokenize(texts)))
    np.testing.assert_allclose(cut, whole, atol=1e-6, rtol=0)
