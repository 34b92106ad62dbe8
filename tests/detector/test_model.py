"""The four stages together: what each may depend on, and what it may not."""

from typing import Any

import jax
import numpy as np
import pytest

from remoteclip_jax.detector.config import DetectorConfig
from remoteclip_jax.detector.decoder import ContextGating, DecoderLayer, TextConditioner
from remoteclip_jax.detector.model import Outputs, Predictions
from remoteclip_jax.detector.proposals import select_proposals
from tests.detector.small_model import SMALL, TINY, quick, random_images, random_texts, random_variables, run

PROMPTS = 6
LEARNED = SMALL.replace(layers=1, query_init="learned", gating="none")
SINUSOIDAL = SMALL.replace(layers=1, query_init="sinusoidal", gating="concat_mlp")


def outputs(config: DetectorConfig, images: Any = None, texts: Any = None, valid: Any = None) -> Outputs:
    images = random_images(2) if images is None else images
    return run(config, random_variables(config), images, random_texts(PROMPTS) if texts is None else texts, valid)


def layers_of(out: Outputs) -> list[Predictions]:
    return [out.layer(i) for i in range(len(out.layers.boxes))]


def difference(a: Any, b: Any) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("config", [SMALL, LEARNED, SINUSOIDAL], ids=["two-stage", "learned", "sinusoidal"])
def test_shapes_and_ranges(config: DetectorConfig) -> None:
    out = outputs(config)
    positions = 8 * 8 + 4 * 4 + 2 * 2
    assert len(out.layers.boxes) == config.layers
    for count, p in [(positions, out.dense), *((config.queries, layer) for layer in layers_of(out))]:
        assert p.logits.shape == (2, count, PROMPTS)
        assert p.boxes.shape == (2, count, 4)
        assert p.hidden.shape == (2, count, config.width)
        assert all(np.isfinite(x).all() for x in p)
        assert p.boxes.min() >= 0
        assert p.boxes.max() <= 1
    assert out.context.shape == (2, TINY.embed_dim)
    np.testing.assert_allclose(np.linalg.norm(out.context, axis=-1), 1, rtol=1e-5)
    if config.layers > 1:
        assert difference(out.layer(0).boxes, out.layer(1).boxes) > 1e-3  # each layer refines


def test_images_of_other_sizes() -> None:
    out = outputs(SMALL.replace(layers=1), random_images(2, 96))
    assert out.dense.logits.shape == (2, 12 * 12 + 6 * 6 + 3 * 3, PROMPTS)
    assert out.layer(-1).boxes.shape == (2, SMALL.queries, 4)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(out))


def test_the_order_of_prompts_permutes_the_logits_alone() -> None:
    order = np.array([3, 0, 5, 1, 4, 2])
    a, b = outputs(SMALL), outputs(SMALL, texts=random_texts(PROMPTS)[order])
    for p, q in zip([a.dense, *layers_of(a)], [b.dense, *layers_of(b)], strict=True):
        np.testing.assert_allclose(q.logits, p.logits[..., order], atol=1e-3)
        np.testing.assert_allclose(q.boxes, p.boxes, atol=1e-4)
        np.testing.assert_allclose(q.hidden, p.hidden, atol=1e-4)


def test_masked_prompts_change_nothing() -> None:
    texts, valid = random_texts(PROMPTS), np.arange(PROMPTS) < 4
    other = np.where(valid[:, None], texts, random_texts(PROMPTS, seed=1))
    a, b = outputs(SMALL, texts=texts, valid=valid), outputs(SMALL, texts=other, valid=valid)
    for p, q in zip([a.dense, *layers_of(a)], [b.dense, *layers_of(b)], strict=True):
        assert (p.logits[..., 4:] == -np.inf).all()
        assert np.isfinite(p.logits[..., :4]).all()
        np.testing.assert_allclose(q.logits, p.logits, atol=1e-5)
        np.testing.assert_allclose(q.boxes, p.boxes, atol=1e-6)
    # The mask does have an effect.
    assert difference(a.layer(-1).hidden, outputs(SMALL).layer(-1).hidden) > 1e-3


@pytest.mark.parametrize("prompt", range(PROMPTS))
def test_every_prompt_reaches_the_queries(prompt: int) -> None:
    """Learned queries get information about the prompts only from the text conditioner."""
    texts = random_texts(PROMPTS)
    texts[prompt] = random_texts(1, seed=7)[0]
    a, b = outputs(LEARNED), outputs(LEARNED, texts=texts)
    assert (np.abs(a.layer(0).hidden - b.layer(0).hidden).max(-1) > 1e-3).all()
    others = np.arange(PROMPTS) != prompt
    np.testing.assert_allclose(a.dense.logits[..., others], b.dense.logits[..., others], atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, LEARNED], ids=["two-stage", "learned"])
def test_images_of_a_batch_do_not_influence_each_other(config: DetectorConfig) -> None:
    images = random_images(2)
    other = np.stack([images[0], random_images(1, seed=5)[0]])
    a, b = outputs(config, images), outputs(config, other)
    pairs = [(a.context, b.context)]
    for p, q in zip([a.dense, *layers_of(a)], [b.dense, *layers_of(b)], strict=True):
        pairs += zip(p, q, strict=True)
    for x, y in pairs:
        np.testing.assert_allclose(x[0], y[0], atol=1e-4)
        assert np.abs(x[1] - y[1]).max() > 1e-3


def test_the_decoder_depends_on_the_maps() -> None:
    """Learned queries without gating get information about the image only from deformable attention."""
    images = random_images(2)
    a, b = outputs(LEARNED, images), outputs(LEARNED, random_images(2, seed=9))
    assert (np.abs(a.layer(0).hidden - b.layer(0).hidden).max(-1) > 1e-3).all()
    assert difference(a.layer(0).hidden[0], a.layer(0).hidden[1]) > 1e-3


def test_selection_takes_the_best_and_each_object_once() -> None:
    """Many proposals on three objects and a few boxes elsewhere: the best of each object come before any repetition."""
    rng = np.random.default_rng(0)
    centre = np.repeat([[0.2, 0.2], [0.5, 0.5], [0.8, 0.8]], 4, 0) + rng.normal(0, 0.002, (12, 2))
    clusters = np.concatenate([centre, np.full((12, 2), 0.2)], -1)
    others = np.array([[0.2, 0.8, 0.1, 0.1], [0.8, 0.2, 0.1, 0.1]])
    boxes = np.concatenate([clusters, others])[None].astype(np.float32)
    scores = np.concatenate([rng.permutation(np.linspace(0.9, 0.5, 12)), [0.2, 0.1]])[None].astype(np.float32)
    chosen = np.asarray(select_proposals(scores, boxes, 5))[0]
    assert chosen[0] == scores[0].argmax()
    assert sorted(i // 4 for i in chosen[:3]) == [0, 1, 2]
    assert all(scores[0, i] == scores[0, i // 4 * 4 : i // 4 * 4 + 4].max() for i in chosen[:3])
    assert chosen[3:].tolist() == [12, 13]
    everything = np.asarray(select_proposals(scores, boxes, 14))[0]
    assert sorted(everything) == list(range(14))  # without others, repetitions are selected too


# The parts that start as the identity, one by one.


def layer_inputs() -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    q = rng.normal(size=(2, 5, SMALL.width)).astype(np.float32)
    boxes = rng.uniform(0.2, 0.6, (2, 5, 4)).astype(np.float32)
    heads = SMALL.heads, SMALL.width // SMALL.heads
    values = [rng.normal(size=(2, s, s, *heads)).astype(np.float32) for s in (8, 4, 2)]
    context = random_texts(2, seed=3)
    return q, boxes, values, context, random_texts(PROMPTS), np.ones(PROMPTS, bool), None


@pytest.mark.parametrize("kind", ["film", "concat_mlp", "none"])
def test_context_gating_starts_as_the_identity(kind: str) -> None:
    q, _, _, context, *_ = layer_inputs()
    gating = ContextGating(kind)
    variables = quick(gating.init)(jax.random.key(0), q, context)
    np.testing.assert_array_equal(gating.apply(variables, q, context), q)
    if kind == "none":
        assert not variables.get("params")
        return
    rng = np.random.default_rng(1)
    random = jax.tree.map(lambda x: x + rng.normal(0, 0.3, x.shape).astype(np.float32), variables)
    apply = quick(gating.apply)
    gated = np.asarray(apply(random, q, context))
    other = np.asarray(apply(random, q, context[::-1]))
    assert (np.abs(gated - q).max(-1) > 1e-3).all()
    assert (np.abs(gated - other).max(-1) > 1e-3).all()  # each image has its own


def test_film_scales_and_shifts_all_queries_alike() -> None:
    q, _, _, context, *_ = layer_inputs()
    gating = ContextGating("film")
    shapes = jax.eval_shape(gating.init, jax.random.key(0), q, context)
    rng = np.random.default_rng(2)
    random = jax.tree.map(lambda s: rng.normal(0, 0.5, s.shape).astype(np.float32), shapes)
    apply = quick(gating.apply)
    beta, gamma = (np.asarray(apply(random, np.full_like(q, value), context)) for value in (0, 1))
    np.testing.assert_allclose(apply(random, q, context), beta + (gamma - beta) * q, atol=1e-5)
    np.testing.assert_allclose(beta, np.broadcast_to(beta[:, :1], beta.shape), atol=1e-6)


def test_the_text_conditioner_starts_as_the_identity_and_can_leave_it() -> None:
    q, _, _, _, texts, valid, _ = layer_inputs()
    conditioner = TextConditioner(SMALL.heads)
    variables = quick(conditioner.init)(jax.random.key(0), q, texts, valid)
    np.testing.assert_array_equal(conditioner.apply(variables, q, texts, valid), q)
    loss = quick(jax.grad(lambda v: (conditioner.apply(v, q, texts, valid) ** 2).sum()))
    assert abs(float(loss(variables)["params"]["gate"])) > 1e-4


def test_a_layer_starts_as_the_identity_and_gating_is_all_that_differs() -> None:
    inputs = layer_inputs()
    q, _, _, context, *_ = inputs
    film = DecoderLayer(SMALL)
    variables = quick(film.init)(jax.random.key(0), *inputs)
    np.testing.assert_array_equal(quick(film.apply)(variables, *inputs), q)
    results = []
    for kind in ("none", "film", "concat_mlp"):
        gating = quick(ContextGating(kind).init)(jax.random.key(0), q, context).get("params", {})
        params = {**random_variables(SMALL)["params"]["decoder_0"], "gating": gating}  # the rest at random
        results.append(np.asarray(quick(DecoderLayer(SMALL.replace(gating=kind)).apply)({"params": params}, *inputs)))
    assert np.abs(results[0] - q).max() > 0.1
    np.testing.assert_allclose(results[1], results[0], atol=1e-5)
    np.testing.assert_allclose(results[2], results[0], atol=1e-5)
