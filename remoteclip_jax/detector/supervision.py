"""Stage 4: the loss of the detector. It matches every decoder layer, and weights and sums the terms of `losses`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.detector.assign import assign
from remoteclip_jax.detector.config import STRIDES, DetectorConfig
from remoteclip_jax.detector.denoising import make_denoising_queries
from remoteclip_jax.detector.losses import box_terms, classification_loss, contrast_losses, presence_loss, without_truth
from remoteclip_jax.detector.matching_cost import matching_cost
from remoteclip_jax.detector.model import Detector, Outputs, Predictions
from remoteclip_jax.detector.proposals import anchors
from remoteclip_jax.ops.boxes import corners, iou, pairwise
from remoteclip_jax.ops.matching import match
from remoteclip_jax.runtime.devices import mean_count, sample_keys

Parts = dict[str, Float[Array, ""]]


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
    queries = outputs.layers[0].logits.shape[1] - (0 if sources is None else sources.shape[1])

    def contrast_terms(p: Predictions, matches: Int[Array, "n q"], norm: Float[Array, ""]) -> Parts:
        cosines = jnp.asarray(model.apply(variables, p.hidden, embeddings, method="cosines"))
        temperature = jnp.asarray(model.apply(variables, method="temperature"))
        matched, unmatched = contrast_losses(cosines, _labels(truth, matches), temperature)
        is_background = matches < 0
        if (ignored := _ignored(truth, p.boxes, len(texts))) is not None:
            is_background &= ~ignored.any(-1)
        background = jnp.where(is_background, unmatched, 0).sum() / mean_count(is_background.sum(), axis_name)
        return {"contrast": matched.sum() / norm, "background": background}

    parts: Parts = {}
    total = jnp.zeros(())
    layers = [Predictions(*(x[:, :queries] for x in layer)) for layer in outputs.layers]
    matches_by_layer = match_layers(c, layers, truth)
    for i, (layer, matches) in enumerate(zip(layers, matches_by_layer, strict=True)):
        norm = mean_count((matches >= 0).sum(), axis_name)
        terms = _set_terms(c, layer, truth, matches, norm)
        if c.contrast:
            terms |= contrast_terms(layer, matches, norm)
        total += _weighted_sum(c, terms)
        if i == len(layers) - 1:
            parts |= {f"{name}_loss": value for name, value in terms.items()}
        if sources is not None:
            denoised = Predictions(*(x[:, queries:] for x in outputs.layers[i]))
            terms = _set_terms(c, denoised, truth, sources, mean_count((sources >= 0).sum(), axis_name))
            total += _weighted_sum(c, terms)
            if i == len(layers) - 1:
                parts["denoising_loss"] = _weighted_sum(c, terms)
    if c.dense:
        position_anchors, strides = _positions(images.shape[1])
        logits, boxes, _ = jax.lax.stop_gradient(outputs.dense)
        with jax.named_scope("matching"):
            matches, _ = assign(logits, boxes, position_anchors, strides, truth.boxes, truth.labels, truth.real)
        norm = mean_count((matches >= 0).sum(), axis_name)
        terms = _set_terms(c, outputs.dense, truth, matches, norm)
        if c.contrast:  # without the background loss, which is for queries
            terms["contrast"] = contrast_terms(outputs.dense, matches, norm)["contrast"]
        total += c.dense * _weighted_sum(c, terms)
        parts["dense_loss"] = _weighted_sum(c, terms)
    if c.presence:
        similarity = jnp.asarray(model.apply(variables, outputs.context, texts, method="similarity"))
        ignored = None
        if truth.ignored_labels is not None:
            ignored = jax.nn.one_hot(truth.ignored_labels, len(texts), dtype=bool).any(1)
        norm = mean_count(present.any(-1).sum(), axis_name)
        parts["presence_loss"] = presence_loss(similarity, present, ignored).sum() / norm
        total += c.presence * parts["presence_loss"]
    return total, (parts, updates["batch_stats"])


@jax.named_scope("matching")
def match_layers(c: DetectorConfig, layers: list[Predictions], truth: Truth) -> list[Int[Array, "n q"]]:
    """The index of each query's object, or −1, for every layer.

    All layers are matched in one call, so that the loops of all images and layers run side by side. An unmatched query
    whose IoU with an object is at least `match_overlap` is assigned to that object too (as in DETA, Ouyang-Zhang et al.
    2022): a second box on an object is not background, and suppression removes it later.
    """
    costs = [matching_cost(p.logits, p.boxes, truth.boxes, truth.labels, c) for p in layers]
    count = len(layers)
    cost, real = jax.lax.stop_gradient(jnp.concatenate(costs)), jnp.tile(truth.real, (count, 1))
    matched = match(cost, real).reshape(count, *costs[0].shape[:2])
    if c.match_overlap > 1:  # no IoU reaches it
        return list(matched)
    result = []
    for p, matches in zip(layers, matched, strict=True):
        overlap = pairwise(iou, corners(jax.lax.stop_gradient(p.boxes)), corners(truth.boxes))
        overlap = jnp.where(truth.real[:, None], overlap, 0)
        second = (matches < 0) & (overlap.max(-1) >= c.match_overlap)
        result.append(jnp.where(second, overlap.argmax(-1), matches))
    return result


def _weighted_sum(c: DetectorConfig, terms: Parts) -> Float[Array, ""]:
    weights = {
        "class": c.class_weight,
        "l1": c.l1_weight,
        "giou": c.giou_weight,
        "contrast": c.contrast,
        "background": c.contrast * c.background,
    }
    return sum((weights[name] * value for name, value in terms.items()), start=jnp.zeros(()))


@jax.named_scope("losses")
def _set_terms(
    c: DetectorConfig, p: Predictions, truth: Truth, matches: Int[Array, "n q"], norm: Float[Array, ""]
) -> Parts:
    """The class, L1 and GIoU losses of predictions that are matched with objects (−1: none), divided by `norm`."""
    target = jnp.take_along_axis(truth.boxes, jnp.maximum(matches, 0)[..., None], 1)
    l1, giou_loss, quality = box_terms(p.boxes, target)
    positive, ignored = matches >= 0, _ignored(truth, p.boxes, p.logits.shape[-1])
    return {
        "class": classification_loss(c.class_loss, p.logits, _labels(truth, matches), quality, ignored).sum() / norm,
        "l1": jnp.where(positive, l1, 0).sum() / norm,
        "giou": jnp.where(positive, giou_loss, 0).sum() / norm,
    }


def _labels(truth: Truth, matches: Int[Array, "n q"]) -> Int[Array, "n q"]:
    """The class of each query's object, or −1."""
    labels = jnp.take_along_axis(truth.labels, jnp.maximum(matches, 0), 1)
    return jnp.where(matches >= 0, labels, -1)


def _contrast_embeddings(
    c: DetectorConfig, outputs: Outputs, texts: Float[Array, "k e"], present: Bool[Array, "n k"]
) -> Float[Array, "n k1 e"]:
    """The embeddings in each image's contrast loss: the prompts, then the image's own global context."""
    context = jax.lax.stop_gradient(outputs.context)
    if c.remove_truth:
        context = without_truth(context, texts, present)
    prompts = jnp.broadcast_to(texts, (len(context), *texts.shape))
    return jnp.concatenate([prompts, context[:, None]], 1)


def _ignored(truth: Truth, boxes: Float[Array, "n q 4"], classes: int) -> Bool[Array, "n q k"] | None:
    """The classes that a prediction learns nothing about: those of the ignored boxes that contain its centre."""
    if truth.ignored is None or truth.ignored_labels is None or not truth.ignored.shape[1]:
        return None
    offset = jnp.abs(jax.lax.stop_gradient(boxes)[:, :, None, :2] - truth.ignored[:, None, :, :2])
    inside = (offset <= truth.ignored[:, None, :, 2:] / 2).all(-1)
    of_class = jax.nn.one_hot(truth.ignored_labels, classes)
    return jnp.einsum("nqi,nik->nqk", inside.astype(of_class.dtype), of_class) > 0


def _positions(side: int) -> tuple[Float[Array, "p 4"], Float[Array, " p"]]:
    """The anchors and the strides of all positions in an image of `side` pixels, in units of that side."""
    shapes = [(side // s, side // s) for s in STRIDES]
    strides = jnp.concatenate([jnp.full(h * w, s / side) for (h, w), s in zip(shapes, STRIDES, strict=True)])
    return anchors(shapes), strides
