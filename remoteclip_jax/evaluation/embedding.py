"""Embeddings of whole data sets for retrieval: images as open_clip's evaluation transform gives them, and captions."""

from collections.abc import Callable
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.inference import EXACT
from remoteclip_jax.clip.model import CLIP, Variables, one_tower
from remoteclip_jax.clip.preprocess import normalise, resize_and_crop
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.pipeline import Batch, Batches, iterate_batches
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.ops.similarity import l2_normalise
from remoteclip_jax.runtime.devices import check_batch_size, gather, split_batch

TEXTS = 128  # texts of a batch on one device
LENGTH_STEP = 16  # tokens: texts of nearly equal length share a batch and a program


def image_batches(dataset: Dataset, *, batch_size: int, image_size: int) -> Batches:
    """Batches of all images once, in order: `image` uint8 [b, s, s, 3]. The last image is repeated to fill the last
    batch. UserError for a broken image."""
    padded = -(-len(dataset) // batch_size) * batch_size

    def load(position: int) -> Batch:
        example = dataset.examples[min(position, len(dataset) - 1)]
        return {"image": resize_and_crop(read_image(example.image, bands=dataset.bands), image_size)}

    return iterate_batches(grain.MapDataset.range(padded), load, batch_size)


def make_image_embedder(
    model: CLIP, *, batch_size: int, image_size: int
) -> Callable[[Variables, Dataset], Float32[np.ndarray, "n d"]]:
    """A function from variables and a data set to the unit-length embeddings of its images, as `rc.encode_image`
    computes them. It is compiled once. UserError if the batch size does not divide among the devices."""
    check_batch_size(batch_size)

    def embed(variables: Variables, batch: dict[str, Any]) -> Float[Array, "b d"]:
        images = normalise(batch["image"])
        return l2_normalise(jnp.asarray(model.apply(variables, images, method="encode_image")))

    step = gather(embed)

    def run(variables: Variables, dataset: Dataset) -> Float32[np.ndarray, "n d"]:
        tower = one_tower(variables, "visual")
        batches = image_batches(dataset, batch_size=batch_size, image_size=image_size)
        with jax.default_matmul_precision(EXACT):
            rows = [step(tower, split_batch(batch)) for batch in batches]
        return np.asarray(np.concatenate(rows)[: len(dataset)], np.float32)

    return run


def make_text_embedder(
    config: CLIPConfig,
) -> Callable[[Variables, Int32[np.ndarray, "m l"]], Float32[np.ndarray, "m d"]]:
    """A function from variables and token ids to unit-length embeddings, as `rc.encode_text` computes them.

    Equal rows are embedded once, and so have equal embeddings. Each batch is as long as its longest text, in steps of
    `LENGTH_STEP` tokens: what follows the end token changes nothing.
    """

    def embed(variables: Variables, batch: dict[str, Any]) -> Float[Array, "b d"]:
        return l2_normalise(jnp.asarray(CLIP(config).apply(variables, batch["ids"], method="encode_text")))

    step = gather(embed)

    def run(variables: Variables, ids: Int32[np.ndarray, "m l"]) -> Float32[np.ndarray, "m d"]:
        tower = one_tower(variables, "text")
        texts, text_of_row = np.unique(ids, axis=0, return_inverse=True)
        lengths = texts.argmax(-1) + 1  # the end token has the largest id
        order, size = np.argsort(lengths, kind="stable"), _text_batch(len(texts))
        embeddings = np.zeros((len(texts), config.embed_dim), np.float32)
        for start in range(0, len(texts), size):
            rows = order[start : start + size]
            length = -(-int(lengths[rows[-1]]) // LENGTH_STEP) * LENGTH_STEP
            batch = np.pad(texts[rows, :length], ((0, size - len(rows)), (0, 0)), mode="edge")
            with jax.default_matmul_precision(EXACT):
                embeddings[rows] = step(tower, split_batch({"ids": batch}))[: len(rows)]
        return embeddings[text_of_row.reshape(-1)]

    return run


def _text_batch(count: int) -> int:
    """A power of two on each device, for few texts no more than they need."""
    devices = jax.local_device_count()
    return devices * min(TEXTS, 1 << (-(-count // devices) - 1).bit_length())
