"""Stage 4 put together: every decoder layer matched and supervised, denoising queries, dense positions, contrast."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.detector.assign import assign
from remoteclip_jax.detector.boxes import corners, iou, pairwise
from remoteclip_jax.detector.config import STRIDES, DetectorConfig
from remoteclip_jax.detector.denoising import make_noised
from remoteclip_jax.detector.losses import box_terms, classification, contrast, presence, without_truth
from remoteclip_jax.detector.matcher import match, matching_cost
from remoteclip_jax.detector.model import Detector, Outputs, Predictions
from remoteclip_jax.detector.proposals import anchors
from remoteclip_jax.parallel import mean_over_devices

Parts = dict[str, Array]


class Truth(NamedTuple):
    """The objects of a batch, padded: `real` is False where there is none."""

    boxes: Float[Array, "n m 4"]
    labels: Int[Array, "n m"]
    real: Bool[Array, "n m"]


def detection_loss(
    model: Detector, variables: Variables, images: Float[Array, "n s s 3"], texts: Float[Array, "k e"],
    truth: Truth, key: Array, axis_name: str | None,
) -> tuple[Array, tuple[Parts, dict[str, Any]]]:  # fmt: skip
    """The loss of a batch, its parts (unweighted means an object), and the new batch statistics."""
    c = model.config
    noised, sources = None, None
    if c.denoising:
        noised, sources = make_noised(key, *truth, c.denoising, len(texts))
    outputs, updates = model.apply(variables, images, texts, None, noised, True, mutable=["batch_stats"])
    present = (jax.nn.one_hot(truth.labels, len(texts), dtype=bool) & truth.real[..., None]).any(1)
    rivals = _rivals(c, outputs, texts, present)
    queries = outputs.layers[0].logits.shape[1] - (0 if sources is None else sources.shape[1])

    def contrast_terms(hidden: Array, found: Int[Array, "n q"], norm: Array) -> Parts:
        cosines = jnp.asarray(model.apply(variables, hidden, rivals, method="cosines"))
        temperature = jnp.asarray(model.apply(variables, method="temperature"))
        matched, unmatched = contrast(cosines, _labels(truth, found), temperature)
        return {"contrast": matched.sum() / norm, "background": unmatched.sum() / jnp.maximum((found < 0).sum(), 1)}

    parts: Parts = {}
    total = jnp.zeros(())
    owns = [Predictions(*(x[:, :queries] for x in layer)) for layer in outputs.layers]
    for i, (layer, own, found) in enumerate(zip(outputs.layers, owns, match_layers(c, owns, truth), strict=True)):
        norm = _objects((found >= 0).sum(), axis_name)
        terms = _set_terms(c, own, truth, found, norm)
        if c.contrast:
            terms |= contrast_terms(own.hidden, found, norm)
        total += _weigh(c, terms)
        if i == len(outputs.layers) - 1:
            parts |= {f"{name}_loss": value for name, value in terms.items()}
        if sources is not None:
            of_noised = Predictions(*(x[:, queries:] for x in layer))
            terms = _set_terms(c, of_noised, truth, sources, _objects((sources >= 0).sum(), axis_name))
            total += _weigh(c, terms)
            if i == len(outputs.layers) - 1:
                parts["denoising_loss"] = _weigh(c, terms)
    if c.dense:
        around, strides = _positions(images.shape[1])
        logits, boxes, _ = jax.lax.stop_gradient(outputs.dense)
        with jax.named_scope("matching"):
            found, _ = assign(logits, boxes, around, strides, *truth)
        positions = _objects((found >= 0).sum(), axis_name)
        terms = _set_terms(c, outputs.dense, truth, found, positions)
        if c.contrast:  # the classes against each other
            terms["contrast"] = contrast_terms(outputs.dense.hidden, found, positions)["contrast"]
        total += c.dense * _weigh(c, terms)
        parts["dense_loss"] = _weigh(c, terms)
    if c.presence:
        likeness = jnp.asarray(model.apply(variables, outputs.context, texts, method="likeness"))
        parts["presence_loss"] = presence(likeness, present).sum() / _objects(present.any(-1).sum(), axis_name)
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
        "class": c.class_weight, "l1": c.l1_weight, "giou": c.giou_weight, "contrast": c.contrast,
        "background": c.contrast * c.background,
    }  # fmt: skip
    return sum((weights[name] * value for name, value in terms.items()), start=jnp.zeros(()))


@jax.named_scope("losses")
def _set_terms(c: DetectorConfig, p: Predictions, truth: Truth, found: Int[Array, "n q"], norm: Array) -> Parts:
    """Class, L1 and GIoU losses of predictions whose objects are `found` (−1: none), over `norm` objects."""
    target = jnp.take_along_axis(truth.boxes, jnp.maximum(found, 0)[..., None], 1)
    l1, overlap, quality = box_terms(p.boxes, target)
    positive = found >= 0
    return {
        "class": classification(c.class_loss, p.logits, _labels(truth, found), quality).sum() / norm,
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


def _objects(count: Array, axis_name: str | None) -> Array:
    """The number of objects, its mean over devices, at least one."""
    count = count.astype(jnp.float32)
    return jnp.maximum(mean_over_devices(count, axis_name), 1)


def _positions(side: int) -> tuple[Float[Array, "p 4"], Float[Array, "p"]]:
    shapes = [(side // s, side // s) for s in STRIDES]
    strides = jnp.concatenate([jnp.full(h * w, s / side) for (h, w), s in zip(shapes, STRIDES, strict=True)])
    return anchors(shapes), strides
