"""Stage 4 put together: every decoder layer matched and supervised, denoising queries, dense positions, contrast."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.detector.assign import assign
from remoteclip_jax.detector.config import STRIDES, DetectorConfig
from remoteclip_jax.detector.denoising import make_noised
from remoteclip_jax.detector.losses import box_terms, classification, contrast, presence, without_truth
from remoteclip_jax.detector.matching_cost import matching_cost
from remoteclip_jax.detector.model import Detector, Outputs, Predictions
from remoteclip_jax.detector.proposals import anchors
from remoteclip_jax.ops.boxes import Boxes, corners, iou, pairwise
from remoteclip_jax.ops.matching import match
from remoteclip_jax.runtime.devices import mean_count, sample_keys

Parts = dict[str, Array]


class Truth(NamedTuple):
    """The objects of a batch, padded: `real` is False where there is none. At `ignored` boxes nothing is taught about
    the class of `ignored_labels` (−1: there is no such box): crowds, difficult objects, those that had no slot."""

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
    key: Array,
    axis_name: str | None,
) -> tuple[Array, tuple[Parts, dict[str, Any]]]:
    """The loss of a batch, its parts (unweighted means an object), and the new batch statistics."""
    c = model.config
    noised, sources = None, None
    if c.denoising:
        keys = sample_keys(key, len(images), axis_name)
        noised, sources = make_noised(keys, truth.boxes, truth.labels, truth.real, c.denoising, len(texts))
    outputs, updates = model.apply(variables, images, texts, None, noised, True, mutable=["batch_stats"])
    present = (jax.nn.one_hot(truth.labels, len(texts), dtype=bool) & truth.real[..., None]).any(1)
    rivals = _rivals(c, outputs, texts, present)
    queries = outputs.layers[0].logits.shape[1] - (0 if sources is None else sources.shape[1])

    def contrast_terms(p: Predictions, found: Int[Array, "n q"], norm: Array) -> Parts:
        cosines = jnp.asarray(model.apply(variables, p.hidden, rivals, method="cosines"))
        temperature = jnp.asarray(model.apply(variables, method="temperature"))
        matched, unmatched = contrast(cosines, _labels(truth, found), temperature)
        pulled = found < 0
        if (ignored := _ignored(truth, p.boxes, len(texts))) is not None:
            pulled &= ~ignored.any(-1)
        background = jnp.where(pulled, unmatched, 0).sum() / mean_count(pulled.sum(), axis_name)
        return {"contrast": matched.sum() / norm, "background": background}

    parts: Parts = {}
    total = jnp.zeros(())
    owns = [Predictions(*(x[:, :queries] for x in layer)) for layer in outputs.layers]
    for i, (layer, own, found) in enumerate(zip(outputs.layers, owns, match_layers(c, owns, truth), strict=True)):
        norm = mean_count((found >= 0).sum(), axis_name)
        terms = _set_terms(c, own, truth, found, norm)
        if c.contrast:
            terms |= contrast_terms(own, found, norm)
        total += _weigh(c, terms)
        if i == len(outputs.layers) - 1:
            parts |= {f"{name}_loss": value for name, value in terms.items()}
        if sources is not None:
            of_noised = Predictions(*(x[:, queries:] for x in layer))
            terms = _set_terms(c, of_noised, truth, sources, mean_count((sources >= 0).sum(), axis_name))
            total += _weigh(c, terms)
            if i == len(outputs.layers) - 1:
                parts["denoising_loss"] = _weigh(c, terms)
    if c.dense:
        around, strides = _positions(images.shape[1])
        logits, boxes, _ = jax.lax.stop_gradient(outputs.dense)
        with jax.named_scope("matching"):
            found, _ = assign(logits, boxes, around, strides, truth.boxes, truth.labels, truth.real)
        positions = mean_count((found >= 0).sum(), axis_name)
        terms = _set_terms(c, outputs.dense, truth, found, positions)
        if c.contrast:  # the classes against each other
            terms["contrast"] = contrast_terms(outputs.dense, found, positions)["contrast"]
        total += c.dense * _weigh(c, terms)
        parts["dense_loss"] = _weigh(c, terms)
    if c.presence:
        likeness = jnp.asarray(model.apply(variables, outputs.context, texts, method="likeness"))
        absent = None
        if truth.ignored_labels is not None:
            absent = jax.nn.one_hot(truth.ignored_labels, len(texts), dtype=bool).any(1)
        norm = mean_count(present.any(-1).sum(), axis_name)
        parts["presence_loss"] = presence(likeness, present, absent).sum() / norm
        total += c.presence * parts["presence_loss"]
    return total, (parts, updates["batch_stats"])


@jax.named_scope("matching")
def match_layers(c: DetectorConfig, layers: list[Predictions], truth: Truth) -> list[Int[Array, "n q"]]:
    """Every layer's matching, in one call: the loops of all images and layers run side by side.

    Queries that are left over and overlap an object by `match_overlap` are that object's too (as in DETA, Ouyang-Zhang
    et al. 2022): a second box on an object is no background, and the suppression that follows removes it anyhow.
    """
    costs = [matching_cost(p.logits, p.boxes, truth.boxes, truth.labels, c) for p in layers]
    many = len(layers)
    cost, real = jax.lax.stop_gradient(jnp.concatenate(costs)), jnp.tile(truth.real, (many, 1))
    matched = match(cost, real).reshape(many, *costs[0].shape[:2])
    if c.match_overlap > 1:  # which no overlap reaches
        return list(matched)
    result = []
    for p, found in zip(layers, matched, strict=True):
        overlap = pairwise(iou, corners(jax.lax.stop_gradient(p.boxes)), corners(truth.boxes))
        overlap = jnp.where(truth.real[:, None], overlap, 0)
        second = (found < 0) & (overlap.max(-1) >= c.match_overlap)
        result.append(jnp.where(second, overlap.argmax(-1), found))
    return result


def _weigh(c: DetectorConfig, terms: Parts) -> Array:
    weights = {
        "class": c.class_weight,
        "l1": c.l1_weight,
        "giou": c.giou_weight,
        "contrast": c.contrast,
        "background": c.contrast * c.background,
    }
    return sum((weights[name] * value for name, value in terms.items()), start=jnp.zeros(()))


@jax.named_scope("losses")
def _set_terms(c: DetectorConfig, p: Predictions, truth: Truth, found: Int[Array, "n q"], norm: Array) -> Parts:
    """Class, L1 and GIoU losses of predictions whose objects are `found` (−1: none), over `norm` objects."""
    target = jnp.take_along_axis(truth.boxes, jnp.maximum(found, 0)[..., None], 1)
    l1, overlap, quality = box_terms(p.boxes, target)
    positive, ignored = found >= 0, _ignored(truth, p.boxes, p.logits.shape[-1])
    return {
        "class": classification(c.class_loss, p.logits, _labels(truth, found), quality, ignored).sum() / norm,
        "l1": jnp.where(positive, l1, 0).sum() / norm,
        "giou": jnp.where(positive, overlap, 0).sum() / norm,
    }


def _labels(truth: Truth, found: Int[Array, "n q"]) -> Int[Array, "n q"]:
    labels = jnp.take_along_axis(truth.labels, jnp.maximum(found, 0), 1)
    return jnp.where(found >= 0, labels, -1)


def _rivals(c: DetectorConfig, outputs: Outputs, texts: Array, present: Array) -> Float[Array, "n k1 e"]:
    """What the contrast tells apart in each image: the prompts, and its own global context as the last."""
    context = jax.lax.stop_gradient(outputs.context)
    if c.remove_truth:
        context = without_truth(context, texts, present)
    every = jnp.broadcast_to(texts, (len(context), *texts.shape))
    return jnp.concatenate([every, context[:, None]], 1)


def _ignored(truth: Truth, boxes: Boxes, classes: int) -> Bool[Array, "n q k"] | None:
    """Of which classes predictions are taught nothing: those of the ignored boxes that their centres lie in."""
    if truth.ignored is None or truth.ignored_labels is None or not truth.ignored.shape[1]:
        return None
    offset = jnp.abs(jax.lax.stop_gradient(boxes)[:, :, None, :2] - truth.ignored[:, None, :, :2])
    inside = (offset <= truth.ignored[:, None, :, 2:] / 2).all(-1)
    of_class = jax.nn.one_hot(truth.ignored_labels, classes)
    return jnp.einsum("nqi,nik->nqk", inside.astype(of_class.dtype), of_class) > 0


def _positions(side: int) -> tuple[Float[Array, "p 4"], Float[Array, "p"]]:
    shapes = [(side // s, side // s) for s in STRIDES]
    strides = jnp.concatenate([jnp.full(h * w, s / side) for (h, w), s in zip(shapes, STRIDES, strict=True)])
    return anchors(shapes), strides
