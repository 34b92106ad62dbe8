"""Training images that live on the devices. A batch is drawn there from a few indices, and no pixels are transferred.

That is possible where images are only resized, flipped and rotated (`augment` "none" and "flip"), and worth its memory
where a step is so fast that handing over a batch counts. Batches are those of `batches.training_batches`.
"""

import itertools
from functools import cached_property, partial
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8

from remoteclip_jax.data.cache import ImageCache
from remoteclip_jax.data.pipeline import Batches, index_at, iterate_batches, steps_per_epoch
from remoteclip_jax.data.transforms import WHOLE_IMAGE, crop, random_symmetry, required_shorter_side
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.runtime.devices import map_shares, replicate, replicated_sharding, split_batch
from remoteclip_jax.training.workload import Batch

from .targets import target_distribution

MEMORY_SHARE = 0.25  # of the free memory of a device; a training step needs the rest
CHUNK = 64  # images that are decoded and handed over at a time


def fits(count: int, image_size: int, free_bytes: int) -> bool:
    """Whether `count` images of `image_size` pixels squared may live on a device with `free_bytes`."""
    return count * image_size**2 * 3 <= MEMORY_SHARE * free_bytes


class ResidentImages:
    """The images of `dataset`, resized to `image_size` pixels squared, and their targets by `rule`, on every device.

    They are decoded when the first batches are made, and then kept.
    """

    def __init__(self, dataset: Dataset, *, image_size: int, rule: str) -> None:
        self._dataset, self._image_size, self._rule = dataset, image_size, rule
        self._draw = map_shares(draw)

    def batches(self, *, batch_size: int, seed: int, augmentation: str, start_step: int = 0) -> Batches:
        """Endless batches for `place` from `start_step` on: `index` int32 [b], and `symmetry` int32 [b], which is the
        number of quarter turns, plus 4 if the image is mirrored before. UserError for a broken image."""
        _ = self._arrays  # decoded here, and not in the first step
        return self._indices(batch_size, seed, augmentation, start_step)

    def place(self, batch: Batch) -> Batch:
        """A batch of `batches` as `image` uint8 [devices, b / devices, s, s, 3] and `target` float32 [devices,
        b / devices, k]."""
        return dict(self._draw(self._arrays, split_batch(batch)))

    def _indices(self, batch_size: int, seed: int, augmentation: str, start_step: int) -> Batches:
        length = len(self._dataset)
        epoch_length = steps_per_epoch(self._dataset, batch_size) * batch_size
        for step in itertools.count(start_step):
            samples = np.zeros((batch_size, 2), np.int32)
            for i in range(batch_size):
                index, rng = index_at(length, epoch_length, seed, step * batch_size + i)
                mirrored, quarters = (False, 0) if augmentation == "none" else random_symmetry(rng)
                samples[i] = index, quarters + 4 * mirrored
            yield {"index": samples[:, 0], "symmetry": samples[:, 1]}

    @cached_property
    def _arrays(self) -> dict[str, Array]:
        """`image` uint8 [n, s, s, 3] and `target` float32 [n, k]."""
        dataset, size = self._dataset, self._image_size
        shape = (len(dataset), size, size, 3)
        print(f"the {len(dataset)} training images are kept on the device ({np.prod(shape) / 2**20:.0f} MiB)")
        cache = ImageCache(required_shorter_side(WHOLE_IMAGE, size), limit=0, bands=dataset.bands)

        def load(position: int) -> dict[str, np.ndarray]:
            image = cache.read(dataset.examples[position].image, at_least=required_shorter_side(WHOLE_IMAGE, size))
            return {"image": crop(image, WHOLE_IMAGE, size)}

        # Chunk by chunk, for the host may have less memory than the device.
        images = jnp.zeros(shape, jnp.uint8, device=replicated_sharding())
        first = 0
        for chunk in iterate_batches(grain.MapDataset.range(len(dataset)), load, CHUNK):
            images = _write(images, replicate(chunk["image"]), first)
            first += len(chunk["image"])
        targets = [target_distribution(e.labels, e.boxes, len(dataset.classes), self._rule) for e in dataset.examples]
        return {"image": images, "target": replicate(np.stack(targets))}


def draw(arrays: dict[str, Array], samples: dict[str, Array]) -> dict[str, Array]:
    """`image` and `target` at `index`, the images in their `symmetry` (see `ResidentImages`)."""
    images = jax.vmap(_turned)(arrays["image"][samples["index"]], samples["symmetry"])
    return {"image": images, "target": arrays["target"][samples["index"]]}


def _turned(image: UInt8[Array, "s s 3"], symmetry: Int32[Array, ""]) -> UInt8[Array, "s s 3"]:
    """What `data.transforms.flip_and_rotate` makes of the pixels."""
    image = jnp.where(symmetry >= 4, image[:, ::-1], image)
    turns: list[Any] = [partial(jnp.rot90, k=quarters) for quarters in range(4)]
    return jax.lax.switch(symmetry % 4, turns, image)


@partial(jax.jit, donate_argnums=0)
def _write(
    images: UInt8[Array, "n s s 3"], chunk: UInt8[Array, "c s s 3"], first: Int32[Array, ""]
) -> UInt8[Array, "n s s 3"]:
    return jax.lax.dynamic_update_slice_in_dim(images, chunk, first, 0)
