"""A loaded RemoteCLIP as an immutable value, and pure functions that embed images and texts with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.model import CLIP, Variables, one_tower
from remoteclip_jax.clip.preprocess import preprocess as preprocess_images
from remoteclip_jax.clip.prompts import TEMPLATE, prompts
from remoteclip_jax.clip.tokenizer import tokenize
from remoteclip_jax.data.image_inputs import ImageInputs, as_pil_images
from remoteclip_jax.errors import UserError
from remoteclip_jax.ops.similarity import l2_normalise

EXACT = "highest"  # precision of float32 products; a GPU's default is TF32 with its ten bits
TEXT_BATCH = 32  # texts are encoded in batches of this size: one compilation, bounded memory


@dataclass(frozen=True, eq=False)
class RemoteCLIP:
    """The shapes and the variables (`params`, `batch_stats`) of the two towers.

    Without a text tower (no `"text"` in `params`) only images can be embedded. The image tower computes in `dtype`, the
    type that the run was trained and evaluated in. The text tower always computes in float32, as it did when the run's
    classes were encoded.
    """

    config: CLIPConfig
    variables: Variables
    dtype: str = "float32"

    @property
    def has_text_tower(self) -> bool:
        return "text" in self.variables["params"]


def preprocess(images: ImageInputs, clip: RemoteCLIP) -> Float[np.ndarray, "n s s 3"]:
    """Images as normalised float32 [n, s, s, 3], exactly as open_clip's evaluation transform computes them.

    An image is a PIL image, the path of a file, or a uint8 array [height, width, 3] or [height, width]. UserError for
    anything else, and for a single image in place of a list.
    """
    return preprocess_images(as_pil_images(images), clip.config.image_size)


@partial(jax.jit, static_argnums=(0, 1))
def _encode_image(
    config: CLIPConfig, dtype: str, variables: Variables, images: Float[Array, "n s s 3"]
) -> Float[Array, "n d"]:
    return l2_normalise(jnp.asarray(CLIP(config, jnp.dtype(dtype)).apply(variables, images, method="encode_image")))


@partial(jax.jit, static_argnums=0)
def _encode_text(config: CLIPConfig, variables: Variables, ids: Int[Array, "n l"]) -> Float[Array, "n d"]:
    return l2_normalise(jnp.asarray(CLIP(config).apply(variables, ids, method="encode_text")))


def encode_image(clip: RemoteCLIP, images: Float[Array, "n s s 3"] | Any) -> Float[Array, "n d"]:
    """Unit-length float32 embeddings of preprocessed images (see `preprocess`). s is any multiple of 32.

    A float32 run is computed with full float32 products on a GPU too, because TF32 would change embeddings by about
    3e-5. A bfloat16 run is computed in bfloat16. UserError for anything but such an array, for instance for images that
    are not preprocessed.
    """
    shape: tuple[int, ...] = getattr(images, "shape", ())
    kind = getattr(images, "dtype", None)
    if len(shape) != 4 or shape[3] != 3 or kind is None or not jnp.issubdtype(kind, jnp.floating):
        given = f"an array of {kind} {list(shape)}" if kind is not None else type(images).__name__
        raise UserError(f"encode_image takes what preprocess(images, clip) gives, [n, s, s, 3] of float32; got {given}")
    tower = one_tower(clip.variables, "visual")
    with jax.default_matmul_precision(EXACT):
        return _encode_image(clip.config, clip.dtype, tower, jax.device_put(images))


def encode_text(clip: RemoteCLIP, texts: Sequence[str]) -> Float[Array, "k d"]:
    """Unit-length float32 embeddings of texts. UserError if `clip` has no text tower, or for a single string."""
    if isinstance(texts, str):  # would be a sequence of letters
        raise UserError(f"texts: expected a list of them, such as [{texts!r}]")
    if not clip.has_text_tower:
        raise UserError("there is no text tower: the run was trained with --text_embeddings")
    ids = tokenize(list(texts), clip.config.context_length)
    tower, rows = one_tower(clip.variables, "text"), []
    for start in range(0, len(ids), TEXT_BATCH):
        part = ids[start : start + TEXT_BATCH]
        padded = jax.device_put(np.pad(part, ((0, TEXT_BATCH - len(part)), (0, 0))))
        with jax.default_matmul_precision(EXACT):
            rows.append(_encode_text(clip.config, tower, padded))
    if not rows:
        return jnp.zeros((0, clip.config.embed_dim))
    return jax.lax.slice_in_dim(jnp.concatenate(rows), 0, len(ids))


def class_embeddings(
    clip: RemoteCLIP, class_names: Sequence[str], templates: Sequence[str] = (TEMPLATE,)
) -> Float[Array, "k d"]:
    """Unit-length embeddings of classes.

    The embeddings of all templates are normalised, averaged, and normalised again: prompt ensembling in embedding space
    (Radford et al. 2021, section 3.1.4). UserError for a single string in place of a list.
    """
    for name, given in (("class_names", class_names), ("templates", templates)):
        if isinstance(given, str):
            raise UserError(f"{name}: expected a list of them, such as [{given!r}]")
    texts = prompts(class_names, templates)
    embeddings = encode_text(clip, [text for sentences in texts for text in sentences])
    return l2_normalise(embeddings.reshape(len(class_names), len(templates), -1).mean(1))
