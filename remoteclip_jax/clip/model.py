"""Both towers, as in `open_clip.model.CLIP`: parameters under `visual`, `text` and `logit_scale`."""

import math
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.resnet import ModifiedResNet
from remoteclip_jax.clip.text import TextTransformer
from remoteclip_jax.ops.initializers import constant, declare, draw, shapes

Variables = dict[str, Any]  # {"params": …, "batch_stats": …}


class CLIP(nn.Module):
    """CLIP (Radford et al. 2021). `axis_name` is pmap's, for batch norm in training; `dtype` is the compute type.

    With `remat` the image tower's backward pass computes activations again, which takes less memory.
    """

    config: CLIPConfig
    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    def setup(self) -> None:
        c = self.config
        self.visual = ModifiedResNet(
            c.vision_layers,
            c.vision_width,
            c.vision_heads,
            c.embed_dim,
            c.image_size,
            self.axis_name,
            self.dtype,
            self.remat,
        )
        self.text = TextTransformer(
            c.embed_dim,
            c.context_length,
            c.vocab_size,
            c.text_width,
            c.text_heads,
            c.text_layers,
            c.quick_gelu,
            self.dtype,
        )
        self.logit_scale = self.param("logit_scale", constant(math.log(1 / 0.07)), ())

    def features(self, images: Float[Array, "n s s 3"], train: bool = False) -> dict[str, Array]:
        """All maps of the image tower, and `embedding` [n, d]; see `ModifiedResNet`. Images are normalised."""
        return self.visual(images, train)

    def encode_image(
        self, images: Float[Array, "n s s 3"], train: bool = False, frozen_stem: bool = False
    ) -> Float[Array, "n d"]:
        """Image embeddings, not normalised to unit length. `train` uses and updates batch statistics, with
        `frozen_stem` not those of the stem."""
        return self.visual(images, train, frozen_stem)["embedding"]

    def encode_text(self, ids: Int[Array, "n l"]) -> Float[Array, "n d"]:
        """Text embeddings of token ids, not normalised to unit length."""
        return self.text(ids)

    def __call__(
        self, images: Float[Array, "n s s 3"], ids: Int[Array, "m l"]
    ) -> tuple[Float[Array, "n d"], Float[Array, "m d"]]:
        return self.encode_image(images), self.encode_text(ids)


def init(config: CLIPConfig, key: Key[Array, ""], text_tower: bool = True) -> Variables:
    """Random variables with open_clip's initialisation, determined by `key`.

    The image tower is the same with and without a text tower.
    """
    return dict(draw(_declared(config, text_tower), key))


def init_shapes(config: CLIPConfig, text_tower: bool = True) -> Variables:
    """The tree of `jax.ShapeDtypeStruct` for what `init` returns; nothing is computed."""
    return dict(shapes(_declared(config, text_tower)))


@cache
def _declared(config: CLIPConfig, text_tower: bool) -> Any:
    # No parameter's shape depends on the image size, so the smallest image that can be halved five times will do.
    inputs: dict[str, Any] = {"images": jnp.zeros((1, 32, 32, 3))}
    if text_tower:
        inputs["ids"] = jnp.zeros((1, config.context_length), jnp.int32)
    return declare(partial(CLIP(config).init, **inputs, method=None if text_tower else "encode_image"))


def one_tower(variables: Variables, name: str) -> Variables:
    """The part of `variables` that one tower, "visual" or "text", needs, so that jit and pmap skip the other's."""
    params = {key: value for key, value in variables["params"].items() if key in (name, "logit_scale")}
    return {"params": params, "batch_stats": variables["batch_stats"] if name == "visual" else {}}
