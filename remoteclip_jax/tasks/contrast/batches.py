"""The captions of a data set as tokens, and batches of images with one of their captions each, for training."""

import grain
import numpy as np
from jaxtyping import Int32, UInt8

from remoteclip_jax.clip.tokenizer import END_ID, tokenize
from remoteclip_jax.data.cache import ImageCache
from remoteclip_jax.data.pipeline import MAX_SAMPLES, Batch, Batches, index_at, iterate_batches, steps_per_epoch
from remoteclip_jax.data.transforms import WHOLE_IMAGE, augment
from remoteclip_jax.data.types import Dataset

LENGTH_STEP = 8  # texts are padded to the longest, in steps of this many tokens


class Captions:
    """The tokenised captions of a data set.

    `ids` int32 [m, l] are those of all captions, image after image; those of image i begin at row `first[i]`, and end
    before row `first[i + 1]`. l is no longer than the longest caption needs: the text tower attends to earlier tokens
    alone, so that padding behind the end token changes nothing. `truncated` captions were longer than `context_length`.
    """

    def __init__(self, dataset: Dataset, context_length: int) -> None:
        texts = [caption for example in dataset.examples for caption in example.captions]
        ids = tokenize(texts, context_length + 1)
        too_long = ids[:, context_length] == END_ID
        self.truncated = int(too_long.sum())
        ids = ids[:, :context_length]
        ids[too_long, -1] = END_ID  # (the token there may be 0, which is "!")
        longest = int((ids == END_ID).argmax(1).max()) + 1
        self.ids: Int32[np.ndarray, "m l"] = ids[:, : min(context_length, -(-longest // LENGTH_STEP) * LENGTH_STEP)]
        counts = [len(example.captions) for example in dataset.examples]
        self.first: Int32[np.ndarray, " n1"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)

    def one_of(self, index: int, rng: np.random.Generator) -> Int32[np.ndarray, " l"]:
        """A caption of an image at random."""
        row: Int32[np.ndarray, " l"] = self.ids[rng.integers(self.first[index], self.first[index + 1])]
        return row


def centre_square(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s s 3"]:
    """The largest square in the middle of an image: all of it, if it is a square."""
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def contrast_batches(
    dataset: Dataset,
    captions: Captions,
    *,
    batch_size: int,
    image_size: int,
    seed: int,
    augmentation: str = "none",
    start_step: int = 0,
) -> Batches:
    """Endless batches from `start_step` on: `image` uint8 [b, s, s, 3], `ids` int32 [b, l], and `index` int32 [b], the
    number of each image.

    Each epoch is shuffled again, and no batch belongs to two epochs. An image is seen whole, or, if it is no square,
    its centre square, as in evaluation. `augmentation` is "none", "flip" (one of the eight flips and quarter turns) or
    "full" (colour jitter, too). UserError for a broken image.
    """
    epoch_length = steps_per_epoch(dataset, batch_size) * batch_size
    cache = ImageCache(image_size, bands=dataset.bands)
    no_boxes, no_labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)

    def load(position: int) -> Batch:
        index, rng = index_at(len(dataset), epoch_length, seed, position)
        example = dataset.examples[index]
        image = centre_square(cache.read(example.image, at_least=image_size))
        pixels, _, _ = augment(image, no_boxes, no_labels, WHOLE_IMAGE, image_size, rng, augmentation)
        return {"image": pixels, "ids": captions.one_of(index, rng), "index": np.array(index, np.int32)}

    return iterate_batches(grain.MapDataset.range(start_step * batch_size, MAX_SAMPLES), load, batch_size)
