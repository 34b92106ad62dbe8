"""Stage 4: the loss of the detector. It matches every decoder layer, and weights and sums the terms of `losses`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Num

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.detector.assign import assign
from remoteclip_jax.detector.config import STRIDES, DetectorConfig
from remoteclip_jax.detector.denoising import make_denoising_queries
from remoteclip_jax.detector.losses import box_terms, classification_loss, contrast_losses, presence_loss, without_truth
from remoteclip_jax.detector.matching_cost import matching_cost
from remoteclip_jax.detector.model import Detector, Outputs, Predictions
from remoteclip_jax.ops.boxes import corners, iou, pairwise
from remoteclip_jax.ops.matching import match
from remoteclip_jax.runtime.devices import mean_count, sample_keys

Parts = dict[str, Float[Array, "*l"]]  # one value, or one for every layer
PerQuery = dict[str, Float[Array, "*l n q"]]


class Truth(NamedTuple):
    """The objects of a batch; `real` is False for padding.

    In `ignored` boxes nothing is learned about the class in `ignored_labels` (−1: padding). These are crowds, difficult
    objects, and objects for which there was no slot.
    """

    boxes: Float[Array, "n m 4"]
    labels: Int[Array, "n m"]
    real: Bool[Array, "n m"]
    ignored: Float[Array, "n i 4"] | None = None
    ignored_labels: Int[Array, "n i"] | None = None


def detection_loss(
    model: Detector,
    variables: Variables,
    images: Float[Array, "n s s 3"],
    texts: Float[Array, "k e"],
    truth: Truth,
    key: Key[Array, ""],
    axis_name: str | None,
) -> tuple[Float[Array, ""], tuple[Parts, dict[str, Any]]]:
    """The loss of a batch, its parts (unweighted, as means over objects), and the new batch statistics."""
    c = model.config
    denoising, sources = None, None
    if c.denoising:
        keys = sample_keys(key, len(images), axis_name)
        denoising, sources = make_denoising_queries(
            keys, truth.boxes, truth.labels, truth.real, c.denoising, len(texts)
        )
    outputs, updates = model.apply(variables, images, texts, None, denoising, True, mutable=["batch_stats"])
    present = (jax.nn.one_hot(truth.labels, len(texts), dtype=bool) & truth.real[..., None]).any(1)
    embeddings = _contrast_embeddings(c, outputs, texts, present)

    def contrast(p: Predictions, matches: Int[Array, "*l n q"]) -> PerQuery:
        cosines = jnp.asarray(model.apply(variables, p.hidden, p.lengths, embeddings, method="cosines"))
        temperature = jnp.asarray(model.apply(variables, method="temperature"))
        return dict(
            zip(("contrast", "background"), contrast_losses(cosines, _labels(truth, matches), temperature), strict=True)
        )

    queries = outputs.layers.boxes.shape[2] - (0 if sources is None else sources.shape[1])
    own = Predictions(*(x[:, :, :queries] for x in outputs.layers))
    matches = match_layers(c, own, truth)
    targets = matches
    if sources is not None:
        targets = jnp.concatenate([matches, jnp.broadcast_to(sources, (len(matches), *sources.shape))], 2)
    ignored = _ignored(truth, outputs.layers.boxes, len(texts))
    losses = _box_and_class_losses(c, outputs.layers, truth, targets, ignored)
    by_layer = _means({name: x[:, :, :queries] for name, x in losses.items()}, matches >= 0, axis_name)
    if c.contrast:
        background = matches < 0
        if ignored is not None:
            background &= ~ignored[:, :, :queries].any(-1)
        losses_of_contrast = contrast(own, matches)
        by_layer |= _means({"contrast": losses_of_contrast["contrast"]}, matches >= 0, axis_name)
        unmatched = {"background": jnp.where(background, losses_of_contrast["background"], 0)}
        by_layer |= _means(unmatched, background, axis_name)
    parts: Parts = {f"{name}_loss": value[-1] for name, value in by_layer.items()}
    total = _weighted_sum(c, by_layer).sum()
    if sources is not None:
        denoised = _means(
            {name: x[:, :, queries:] for name, x in losses.items()}, targets[:, :, queries:] >= 0, axis_name
        )
        total += _weighted_sum(c, denoised).sum()
        parts["denoising_loss"] = _weighted_sum(c, denoised)[-1]
    if c.dense:
        logits, boxes, _, _ = jax.lax.stop_gradient(outputs.dense)
        shapes = [(images.shape[1] // s, images.shape[2] // s) for s in STRIDES]
        with jax.named_scope("matching"):
            matches, _ = assign(logits, boxes, shapes, truth.boxes, truth.labels, truth.real)
        losses = _box_and_class_losses(c, outputs.dense, truth, matches, _ignored(truth, boxes, len(texts)))
        if c.contrast:  # without the background loss, which is for queries
            losses["contrast"] = contrast(outputs.dense, matches)["contrast"]
        parts["dense_loss"] = _weighted_sum(c, _means(losses, matches >= 0, axis_name))
        total += c.dense * parts["dense_loss"]
    if c.presence:
        similarity = jnp.asarray(model.apply(variables, outputs.context, texts, method="similarity"))
        absent = None
        if truth.ignored_labels is not None:
            absent = jax.nn.one_hot(truth.ignored_labels, len(texts), dtype=bool).any(1)
        norm = mean_count(present.any(-1).sum(), axis_name)
        parts["presence_loss"] = presence_loss(similarity, present, absent).sum() / norm
        total += c.presence * parts["presence_loss"]
    return total, (parts, updates["batch_stats"])


@jax.named_scope("matching")
def match_layers(c: DetectorConfig, layers: Predictions, truth: Truth) -> Int[Array, "l n q"]:
    """The index of each query's object, or −1, for every layer.

    All layers are matched in one call, so that the searches of all images and layers run side by side. An unmatched
    query whose IoU with an object is at least `match_overlap` is assigned to that object too (as in DETA, Ouyang-Zhang
    et al. 2022): a second box on an object is not background, and suppression removes it later.
    """
    count, n = layers.boxes.shape[:2]
    logits, boxes = (jax.lax.stop_gradient(x).reshape(count * n, *x.shape[2:]) for x in layers[:2])
    objects, labels, real = (jnp.tile(x, (count, *[1] * (x.ndim - 1))) for x in truth[:3])
    matches = match(matching_cost(logits, boxes, objects, labels, c), real)
    if c.match_overlap <= 1:  # above, no IoU reaches it
        overlap = jnp.where(real[:, None], pairwise(iou, corners(boxes), corners(objects)), 0)
        second = (matches < 0) & (overlap.max(-1) >= c.match_overlap)
        matches = jnp.where(second, overlap.argmax(-1), matches)
    return matches.reshape(count, n, -1)


def _weighted_sum(c: DetectorConfig, terms: Parts) -> Float[Array, "*l"]:
    weights = {
        "class": c.class_weight,
        "l1": c.l1_weight,
        "giou": c.giou_weight,
        "contrast": c.contrast,
        "background": c.contrast * c.background,
    }
    return jnp.asarray(sum(weights[name] * value for name, value in terms.items()))


def _means(losses: PerQuery, counted: Bool[Array, "*l n q"], axis_name: str | None) -> Parts:
    """The sum of each loss over images and queries, divided by how many are `counted`, for every layer."""
    count = mean_count(counted.sum((-2, -1)), axis_name)
    return {name: loss.sum((-2, -1)) / count for name, loss in losses.items()}


@jax.named_scope("losses")
def _box_and_class_losses(
    c: DetectorConfig,
    p: Predictions,
    truth: Truth,
    matches: Int[Array, "*l n q"],
    ignored: Bool[Array, "*l n q k"] | None,
) -> PerQuery:
    """The class, L1 and GIoU losses of predictions that are matched with objects (−1: none)."""
    l1, giou_loss, quality = box_terms(p.boxes, _of_objects(truth.boxes, matches))
    return {
        "class": classification_loss(c.class_loss, p.logits, _labels(truth, matches), quality, ignored),
        "l1": jnp.where(matches >= 0, l1, 0),
        "giou": jnp.where(matches >= 0, giou_loss, 0),
    }


def _of_objects(values: Num[Array, "n m *v"], matches: Int[Array, "*l n q"]) -> Num[Array, "..."]:
    """The values of each query's object; those of the first object for −1."""
    return jnp.asarray(values)[jnp.arange(len(values))[:, None], jnp.maximum(matches, 0)]


def _labels(truth: Truth, matches: Int[Array, "*l n q"]) -> Int[Array, "*l n q"]:
    """The class of each query's object, or −1."""
    return jnp.where(matches >= 0, _of_objects(truth.labels, matches), -1)


def _contrast_embeddings(
    c: DetectorConfig, outputs: Outputs, texts: Float[Array, "k e"], present: Bool[Array, "n k"]
) -> Float[Array, "n k1 e"]:
    """The embeddings in each image's contrast loss: the prompts, then the image's own global context."""
    context = jax.lax.stop_gradient(outputs.context)
    if c.remove_truth:
        context = without_truth(context, texts, present)
    prompts = jnp.broadcast_to(texts, (len(context), *texts.shape))
    return jnp.concatenate([prompts, context[:, None]], 1)


def _ignored(truth: Truth, boxes: Float[Array, "*l n q 4"], classes: int) -> Bool[Array, "*l n q k"] | None:
    """The classes that a prediction learns nothing about: those of the ignored boxes that contain its centre."""
    if truth.ignored is None or truth.ignored_labels is None or not truth.ignored.shape[1]:
        return None
    offset = jnp.abs(jax.lax.stop_gradient(boxes)[..., None, :2] - truth.ignored[:, None, :, :2])
    inside = (offset <= truth.ignored[:, None, :, 2:] / 2).all(-1)
    of_class = jax.nn.one_hot(truth.ignored_labels, classes)
    return jnp.einsum("...qi,...ik->...qk", inside.astype(of_class.dtype), of_class) > 0
