"""The four stages together: image and prompts in, class features and boxes out."""

from functools import cache
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.layers import Dense, LayerNorm
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.clip.resnet import ModifiedResNet
from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.decoder import DecoderLayer
from remoteclip_jax.detector.deformable import project_values
from remoteclip_jax.detector.encoder import WAVES, Pyramid, grid_centres, sine_embedding
from remoteclip_jax.detector.heads import BoxHead, ClassHead
from remoteclip_jax.detector.proposals import Tower, anchors, select_proposals
from remoteclip_jax.ops.boxes import clip_to_image, refine
from remoteclip_jax.ops.initializers import declare, draw, normal, shapes
from remoteclip_jax.ops.similarity import l2_normalise


class Predictions(NamedTuple):
    """The predictions of queries or positions. `hidden` and `lengths` are their states, for `Detector.cosines`."""

    logits: Float[Array, "*l n q k"]
    boxes: Float[Array, "*l n q 4"]
    hidden: Float[Array, "*l n q w"]
    lengths: Float[Array, "*l n q 1"]


class DenoisingQueries(NamedTuple):
    """Noised boxes and classes (see `denoising`). Denoising queries of different `groups` do not see each other."""

    boxes: Float[Array, "n r 4"]
    labels: Int[Array, "n r"]
    groups: Int[Array, "n r"]


class Outputs(NamedTuple):
    """The predictions of the pyramid's positions (`dense`) and of the decoder's l layers, and the global context I_g.

    In `layers` the denoising queries, if any, come after the others. `context` has unit length.
    """

    dense: Predictions
    layers: Predictions
    context: Float[Array, "n e"]

    def layer(self, index: int) -> Predictions:
        """The predictions of one layer."""
        return Predictions(*(x[index] for x in self.layers))


class Detector(nn.Module):
    """The context-guided detector. Its parameters under `visual` are those of CLIP's image tower.

    With `remat` the image tower's backward pass computes activations again, which takes less memory.
    """

    clip: CLIPConfig
    config: DetectorConfig
    dtype: Any = jnp.float32
    axis_name: str | None = None
    remat: bool = False

    def setup(self) -> None:
        c, k = self.config, self.clip
        self.visual = ModifiedResNet(
            k.vision_layers,
            k.vision_width,
            k.vision_heads,
            k.embed_dim,
            k.image_size,
            self.axis_name,
            self.dtype,
            self.remat,
        )
        self.pyramid = Pyramid(c.width, c.heads, c.feed_forward, self.axis_name, self.dtype)
        self.tower = Tower(self.dtype)
        self.class_head = ClassHead(c.width, k.embed_dim, c.prior, self.dtype)
        self.dense_box = BoxHead(self.dtype)
        self.decoder = [DecoderLayer(c, self.dtype) for _ in range(c.layers)]
        self.decoder_norm = LayerNorm(dtype=self.dtype)
        self.boxes = [BoxHead(self.dtype) for _ in range(c.layers)]
        if c.query_init == "learned":
            self.content = self.param("content", normal(1.0), (c.queries, c.width))
            self.places = self.param("places", normal(1.0), (c.queries, 4))
        if c.denoising:
            self.class_query = Dense(c.width, dtype=self.dtype)

    def __call__(
        self,
        images: Float[Array, "n s s 3"],
        texts: Float[Array, "k e"],
        valid: Bool[Array, " k"] | None = None,
        denoising: DenoisingQueries | None = None,
        train: bool = False,
    ) -> Outputs:
        """The predictions for normalised images and unit-length prompt embeddings.

        `valid` is False for prompts that only fill up the array: their logits are −inf, and nothing depends on them.
        """
        valid = jnp.ones(len(texts), bool) if valid is None else valid
        tower = self.visual(images, train and self.config.train_norm)
        context = l2_normalise(tower["embedding"])
        maps = self.pyramid(tower, train)
        positions = self.tower(maps)
        dense = self._dense(positions, maps, texts, valid)
        whitened = self.class_head.whitened(texts)
        q, boxes = self._queries(positions, dense, train)
        mask = None
        if denoising is not None:
            q, boxes, mask = self._append(q, boxes, denoising, whitened)
        hidden, refined = [], []
        values = project_values(maps, [layer.look for layer in self.decoder])
        for layer, head, of_maps in zip(self.decoder, self.boxes, values, strict=True):
            q = layer(q, boxes, of_maps, context, whitened, valid, mask)
            hidden.append(self.decoder_norm(q))
            # Each layer refines the boxes of the one before it; gradients stop between them (Zhu et al. 2021).
            refined.append(refine(boxes, head(hidden[-1])))
            boxes = jax.lax.stop_gradient(refined[-1])
        layers = self._predictions(jnp.stack(hidden), jnp.stack(refined), texts, valid)
        return Outputs(dense, layers, context)

    def recognise(
        self, images: Float[Array, "n s s 3"], texts: Float[Array, "k e"], train: bool = False
    ) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
        """Logits for which prompts each image shows: from its global context, and from its positions.

        The first are for a softmax, the second for a sigmoid. One position that sees the object is enough
        (multiple-instance learning by log-sum-exp).
        """
        tower = self.visual(images, train and self.config.train_norm)
        positions = self.tower(self.pyramid(tower, train))
        similarity = self.class_head.similarity(tower["embedding"], texts)
        return similarity, jax.nn.logsumexp(self.class_head(positions, texts), axis=1)

    def similarity(self, context: Float[Array, "n e"], texts: Float[Array, "k e"]) -> Float[Array, "n k"]:
        """The logits, for a softmax, of global contexts for the prompts."""
        return self.class_head.similarity(context, texts)

    def temperature(self) -> Float[Array, ""]:
        """exp(−s), which is learned, as in CLIP."""
        return self.class_head.temperature()

    def cosines(
        self, hidden: Float[Array, "*l n q w"], lengths: Float[Array, "*l n q 1"], embeddings: Float[Array, "*n k e"]
    ) -> Float[Array, "*l n q k"]:
        """<f, t̂> of queries for any unit-length embeddings."""
        return self.class_head.cosines(hidden, lengths, embeddings)

    def _predictions(
        self,
        q: Float[Array, "*l n q d"],
        boxes: Float[Array, "*l n q 4"],
        texts: Float[Array, "k e"],
        valid: Bool[Array, " k"],
    ) -> Predictions:
        hidden, lengths = self.class_head.states(q)
        logits = jnp.where(valid, self.class_head.logits(hidden, lengths, texts), -jnp.inf)
        return Predictions(logits, boxes, hidden, lengths)

    def _dense(
        self,
        positions: Float[Array, "n p d"],
        maps: list[Float[Array, "n _h _w d"]],
        texts: Float[Array, "k e"],
        valid: Bool[Array, " k"],
    ) -> Predictions:
        """The predictions of all positions of the pyramid."""
        position_anchors = anchors([(x.shape[1], x.shape[2]) for x in maps])
        return self._predictions(positions, refine(position_anchors, self.dense_box(positions)), texts, valid)

    def _queries(
        self, positions: Float[Array, "n p d"], dense: Predictions, train: bool
    ) -> tuple[Float[Array, "n q d"], Float[Array, "n q 4"]]:
        """The decoder's first queries and their boxes."""
        c, n = self.config, len(positions)
        if c.query_init == "two_stage":
            count = c.queries if train else max(c.queries, c.predict_queries)
            index = select_proposals(dense.logits.max(-1), dense.boxes, count)[..., None]
            q = jnp.take_along_axis(positions, index, 1)
            boxes = clip_to_image(jnp.take_along_axis(dense.boxes, index, 1))
            return jax.lax.stop_gradient((q, boxes))
        if c.query_init == "learned":
            q, boxes = self.content.astype(self.dtype), jax.nn.sigmoid(self.places)
        else:  # a regular grid over the image: each query knows its position and nothing else
            side = -(-(c.queries**0.5) // 1)
            centres = grid_centres(int(side), int(side))[: c.queries]
            boxes = jnp.concatenate([centres, jnp.full_like(centres, 2 / side)], -1)
            q = sine_embedding(centres * WAVES[1], c.width).astype(self.dtype)
        return jnp.broadcast_to(q, (n, *q.shape)), jnp.broadcast_to(boxes, (n, *boxes.shape))

    def _append(
        self,
        q: Float[Array, "n q d"],
        boxes: Float[Array, "n q 4"],
        denoising: DenoisingQueries,
        texts: Float[Array, "k e"],
    ) -> tuple[Float[Array, "n qr d"], Float[Array, "n qr 4"], Bool[Array, "n 1 qr qr"]]:
        """The queries followed by the denoising queries, their boxes, and the attention mask.

        A group of denoising queries attends to itself and to the other queries. The others attend to no denoising
        query, because it contains the answer.
        """
        extra = self.class_query(texts)[denoising.labels].astype(q.dtype)
        no_group = jnp.full(boxes.shape[:2], -1, denoising.groups.dtype)
        groups = jnp.concatenate([no_group, denoising.groups], 1)
        mask = (groups[:, :, None] == groups[:, None, :]) | (groups[:, None, :] == -1)
        return jnp.concatenate([q, extra], 1), jnp.concatenate([boxes, denoising.boxes], 1), mask[:, None]


def init(clip: CLIPConfig, config: DetectorConfig, key: Key[Array, ""], visual: Variables | None = None) -> Variables:
    """Random variables of the detector. Its image tower is random too, or that of `visual`, of which "params" and
    "batch_stats" hold an image tower under the name "visual"."""
    declared = _declared(clip, config)
    if visual is None:
        return dict(draw(declared, key))
    others = {group: {name: x for name, x in tree.items() if name != "visual"} for group, tree in declared.items()}
    return {group: {**tree, "visual": visual[group]["visual"]} for group, tree in draw(others, key).items()}


def detector_shapes(clip: CLIPConfig, config: DetectorConfig) -> Variables:
    """The tree of `jax.ShapeDtypeStruct` for what `init` returns; nothing is computed."""
    return dict(shapes(_declared(clip, config)))


@cache
def _declared(clip: CLIPConfig, config: DetectorConfig) -> Any:
    denoising = None
    if config.denoising:
        zeros = jnp.zeros((1, 1), jnp.int32)
        denoising = DenoisingQueries(jnp.full((1, 1, 4), 0.5), zeros, zeros)
    images, texts = jnp.zeros((1, 64, 64, 3)), jnp.ones((2, clip.embed_dim))
    return declare(lambda key: Detector(clip, config).init(key, images, texts, None, denoising))
