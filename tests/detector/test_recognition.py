"""Recognising single objects: each term against torch, and nothing learned from what shows nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.recognition import recognition_loss
from tests.detector.small_model import SMALL, TINY, quick, random_images, random_texts, random_variables

IMAGES, TEXTS = random_images(3), random_texts(5)
LABELS = np.array([2, -1, 4], np.int32)
SHOWN = np.zeros((3, 5), bool)
SHOWN[0, [0, 2]] = SHOWN[2, 4] = True
IGNORED = np.zeros((3, 5), bool)
IGNORED[1, 3] = True


def loss_of(params: dict, labels: np.ndarray) -> tuple:
    variables = {**random_variables(SMALL), "params": params}
    texts = jnp.asarray(TEXTS)
    shown, ignored = jnp.asarray(SHOWN), jnp.asarray(IGNORED)
    return recognition_loss(Detector(TINY, SMALL), variables, jnp.asarray(IMAGES), texts, labels, shown, ignored, None)


LOSS = quick(jax.value_and_grad(loss_of, has_aux=True))


def test_both_terms_equal_torch() -> None:
    variables = random_variables(SMALL)
    (loss, (parts, _)), _ = LOSS(variables["params"], LABELS)
    function = quick(
        lambda v: Detector(TINY, SMALL).apply(v, IMAGES, TEXTS, True, method="recognise", mutable=["batch_stats"])[0]
    )
    similarity, presence = (torch.from_numpy(np.array(x)) for x in function(variables))
    context = F.cross_entropy(similarity[[0, 2]], torch.tensor([2, 4]))
    every = F.binary_cross_entropy_with_logits(presence, torch.from_numpy(SHOWN).float(), reduction="none")
    every = (every * torch.from_numpy(~IGNORED)).sum(-1)
    assert float(parts["align_context_loss"]) == pytest.approx(float(context), rel=1e-3)
    assert float(parts["align_loss"]) == pytest.approx(float(every.mean()), rel=1e-3)
    assert float(loss) == pytest.approx(float(context + every.mean()), rel=1e-3)


def test_one_position_that_sees_it_is_enough() -> None:
    """Presence is the log-sum-exp of the positions' logits: at least their largest, and at most that of as many."""
    variables = random_variables(SMALL)
    model = Detector(TINY, SMALL)
    presence = np.asarray(quick(lambda v: model.apply(v, IMAGES, TEXTS, method="recognise")[1])(variables))
    logits = np.asarray(quick(lambda v: model.apply(v, IMAGES, TEXTS).dense.logits)(variables))
    assert (presence >= logits.max(1) - 1e-3).all()
    assert (presence <= logits.max(1) + np.log(logits.shape[1]) + 1e-3).all()


def test_ground_alone_gives_finite_gradients_and_no_context_loss() -> None:
    (loss, (parts, stats)), grads = LOSS(random_variables(SMALL)["params"], np.full(3, -1, np.int32))
    assert float(parts["align_context_loss"]) == 0
    assert float(loss) > 0
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((grads, stats)))
    assert not np.asarray(grads["visual"]["attnpool"]["c_proj"]["kernel"]).any()
    assert np.asarray(grads["visual"]["conv1"]["kernel"]).any()
