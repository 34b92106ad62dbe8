"""The four stages together: image and prompts in, class features and boxes out."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.layers import Dense, LayerNorm
from remoteclip_jax.clip.model import Variables, run_once
from remoteclip_jax.clip.resnet import ModifiedResNet
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.decoder import DecoderLayer
from remoteclip_jax.detector.encoder import WAVES, Pyramid, flatten, grid, sine_embedding
from remoteclip_jax.detector.heads import BoxHead, ClassHead
from remoteclip_jax.detector.proposals import Tower, anchors, select
from remoteclip_jax.ops.boxes import Boxes, inside, refine
from remoteclip_jax.ops.similarity import unit


class Predictions(NamedTuple):
    """What queries, or positions, say; `hidden` is what the heads read."""

    logits: Float[Array, "n q k"]
    boxes: Boxes
    hidden: Float[Array, "n q d"]


class Noised(NamedTuple):
    """Denoising queries (see `denoising`): noised boxes and classes, and who may attend to whom."""

    boxes: Float[Array, "n r 4"]
    labels: Int[Array, "n r"]
    groups: Int[Array, "n r"]


class Outputs(NamedTuple):
    """`dense`: every position of the pyramid. `layers`: the decoder's, first to last, queries before noised ones.
    `context`: I_g, of unit length."""

    dense: Predictions
    layers: list[Predictions]
    context: Float[Array, "n e"]


class Detector(nn.Module):
    """The context-guided detector. Its parameters under `visual` are those of CLIP's image tower."""

    clip: CLIPConfig
    config: DetectorConfig
    dtype: Any = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        c, k = self.config, self.clip
        self.visual = ModifiedResNet(
            k.vision_layers, k.vision_width, k.vision_heads, k.embed_dim, k.image_size, self.axis_name, self.dtype
        )
        self.pyramid = Pyramid(c.width, c.heads, c.feed_forward, self.axis_name, self.dtype)
        self.tower = Tower(self.dtype)
        self.class_head = ClassHead(c.width, k.embed_dim, c.prior, self.dtype)
        self.dense_box = BoxHead(self.dtype)
        self.decoder = [DecoderLayer(c, self.dtype) for _ in range(c.layers)]
        self.decoder_norm = LayerNorm(dtype=self.dtype)
        self.boxes = [BoxHead(self.dtype) for _ in range(c.layers)]
        if c.query_init == "learned":
            self.content = self.param("content", nn.initializers.normal(1.0), (c.queries, c.width))
            self.places = self.param("places", nn.initializers.normal(1.0), (c.queries, 4))
        if c.denoising:
            self.class_query = Dense(c.width, dtype=self.dtype)

    def __call__(
        self,
        images: Float[Array, "n s s 3"],
        texts: Float[Array, "k e"],
        known: Bool[Array, "k"] | None = None,
        noised: Noised | None = None,
        train: bool = False,
    ) -> Outputs:
        """Normalised images and unit-length prompt embeddings to predictions.

        `known` False marks prompts that only fill up the array: their logits are those of no object.
        """
        known = jnp.ones(len(texts), bool) if known is None else known
        tower = self.visual(images, train and self.config.train_norm)
        context = unit(tower["embedding"])
        maps = self.pyramid(tower, train)
        dense = self._dense(maps, texts, known)
        distinct = self.class_head.distinct(texts)
        q, boxes = self._queries(dense, len(images), train)
        mask = None
        if noised is not None:
            q, boxes, mask = self._join(q, boxes, noised, distinct)
        layers = []
        for layer, head in zip(self.decoder, self.boxes, strict=True):
            q = layer(q, boxes, maps, context, distinct, known, mask)
            hidden = self.decoder_norm(q)
            # Each layer refines where the one before it looked; gradients stop between them (Zhu et al. 2021).
            refined = refine(boxes, head(hidden))
            layers.append(Predictions(self._logits(hidden, texts, known), refined, hidden))
            boxes = jax.lax.stop_gradient(refined)
        return Outputs(dense, layers, context)

    def recognise(
        self, images: Float[Array, "n s s 3"], texts: Float[Array, "k e"], train: bool = False
    ) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
        """Which prompts each image shows: logits by its global context, for a softmax, and by its positions, for a
        sigmoid, where one position that sees the object is enough (multiple-instance learning by log-sum-exp)."""
        tower = self.visual(images, train and self.config.train_norm)
        positions = flatten([self.tower(x) for x in self.pyramid(tower, train)])
        likeness = self.class_head.likeness(tower["embedding"], texts)
        return likeness, jax.nn.logsumexp(self.class_head(positions, texts), axis=1)

    def likeness(self, context: Float[Array, "n e"], texts: Float[Array, "k e"]) -> Float[Array, "n k"]:
        """Logits, for a softmax, of global contexts for the prompts."""
        return self.class_head.likeness(context, texts)

    def temperature(self) -> Float[Array, ""]:
        """exp(−s): learned, as CLIP's."""
        return self.class_head.temperature()

    def cosines(self, hidden: Float[Array, "n q d"], embeddings: Float[Array, "*n k e"]) -> Float[Array, "n q k"]:
        """<f, t> of queries with any unit-length embeddings."""
        return self.class_head.cosines(hidden, embeddings)

    def _logits(self, hidden: Array, texts: Array, known: Array) -> Array:
        return jnp.where(known, self.class_head(hidden, texts), -jnp.inf)

    def _dense(self, maps: list[Array], texts: Array, known: Array) -> Predictions:
        towers = [self.tower(x) for x in maps]
        hidden = flatten(towers)
        around = anchors([(x.shape[1], x.shape[2]) for x in maps])
        return Predictions(self._logits(hidden, texts, known), refine(around, self.dense_box(hidden)), hidden)

    def _queries(self, dense: Predictions, n: int, train: bool) -> tuple[Array, Array]:
        c = self.config
        if c.query_init == "two_stage":
            count = c.queries if train else max(c.queries, c.predict_queries)
            index = select(dense.logits.max(-1), dense.boxes, count)[..., None]
            q = jnp.take_along_axis(dense.hidden, index, 1)
            boxes = inside(jnp.take_along_axis(dense.boxes, index, 1))
            return jax.lax.stop_gradient((q, boxes))
        if c.query_init == "learned":
            q, boxes = self.content.astype(self.dtype), jax.nn.sigmoid(self.places)
        else:  # a regular grid over the image, which tells each query its place and nothing else
            side = -(-(c.queries**0.5) // 1)
            places = grid(int(side), int(side))[: c.queries]
            boxes = jnp.concatenate([places, jnp.full_like(places, 2 / side)], -1)
            q = sine_embedding(places * WAVES[1], c.width).astype(self.dtype)
        return jnp.broadcast_to(q, (n, *q.shape)), jnp.broadcast_to(boxes, (n, *boxes.shape))

    def _join(self, q: Array, boxes: Array, noised: Noised, texts: Array) -> tuple[Array, Array, Array]:
        """Queries with the noised ones behind them. A group of these sees itself and the queries; those see no noised
        one, for it carries the answer."""
        extra = self.class_query(texts)[noised.labels].astype(q.dtype)
        own = jnp.full(boxes.shape[:2], -1, noised.groups.dtype)
        groups = jnp.concatenate([own, noised.groups], 1)
        mask = (groups[:, :, None] == groups[:, None, :]) | (groups[:, None, :] == -1)
        return jnp.concatenate([q, extra], 1), jnp.concatenate([boxes, noised.boxes], 1), mask[:, None]


def init(clip: CLIPConfig, config: DetectorConfig, key: Array) -> Variables:
    """Random variables of the detector, the image tower among them."""
    size, dim = 64, clip.embed_dim
    noised = None
    if config.denoising:
        noised = Noised(jnp.full((1, 1, 4), 0.5), jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1), jnp.int32))
    images, texts = jnp.zeros((1, size, size, 3)), jnp.ones((2, dim))
    return run_once(lambda k: Detector(clip, config).init(k, images, texts, None, noised), key)


def detector_shapes(clip: CLIPConfig, config: DetectorConfig) -> Variables:
    """The tree of `jax.ShapeDtypeStruct` that `init` would return, without computing anything."""
    return jax.eval_shape(partial(init, clip, config), jax.random.key(0))
