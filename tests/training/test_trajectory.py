"""The align step against PyTorch: gradients, and ten AdamW steps from the same weights on the same batches."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from remoteclip_jax.alignment import align_loss, class_logits
from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import CLIP
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.config import TrainConfig
from remoteclip_jax.training.optimizer import make_optimizer, make_schedule
from remoteclip_jax.training.state import create_state
from remoteclip_jax.training.step import make_train_step
from tests.torch_reference import flax_variables, random_clip

CONFIG = dataclasses.replace(ARCHITECTURES["RN50"], image_size=64, text_layers=1)
CLASSES, BATCH, TEMPERATURE = 20, 4, 0.07


@pytest.fixture(scope="module")
def problem() -> tuple[Any, np.ndarray, list[dict[str, np.ndarray]]]:
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(CLASSES, CONFIG.embed_dim))
    texts /= np.linalg.norm(texts, axis=-1, keepdims=True)
    batches = []
    for _ in range(10):
        target = rng.dirichlet(np.full(CLASSES, 0.1), BATCH).astype(np.float32)
        target = np.where(target < 0.05, 0, target)
        batches.append({
            "image": rng.integers(0, 256, (BATCH, 64, 64, 3), dtype=np.uint8),
            "target": target / target.sum(-1, keepdims=True),
        })  # fmt: skip
    return random_clip(CONFIG, seed=0), texts, batches


def torch_loss(model: Any, texts: torch.Tensor, batch: dict[str, np.ndarray], dtype: torch.dtype) -> torch.Tensor:
    """Cross-entropy minus the target's entropy, written with torch's own functions."""
    x = torch.from_numpy(np.array(normalise(batch["image"]))).permute(0, 3, 1, 2).to(dtype)
    target = torch.from_numpy(batch["target"]).to(dtype)
    logits = F.normalize(model.encode_image(x), dim=-1) @ texts.T / TEMPERATURE
    entropy = -torch.special.xlogy(target, target).sum(-1)
    return F.cross_entropy(logits, target, reduction="mean") - entropy.mean()


def torch_steps(model: Any, texts: np.ndarray, batches: list, dtype: torch.dtype) -> tuple[list[float], dict]:
    model = random_copy(model).to(dtype).train()
    optimizer = torch.optim.AdamW(model.visual.parameters(), lr=1e-4, weight_decay=0.01)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = torch_loss(model, torch.from_numpy(texts).to(dtype), batch, dtype)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


def random_copy(model: Any) -> Any:
    import copy

    return copy.deepcopy(model)


def our_steps(model: Any, texts: np.ndarray, batches: list, dtype: Any) -> tuple[list[float], Any]:
    variables = jax.tree.map(lambda x: jnp.asarray(x, dtype), flax_variables(model))
    config = TrainConfig(image_size=64, learning_rate=1e-4)
    optimizer = make_optimizer(config)
    step = jax.jit(
        make_train_step(
            CLIP(CONFIG, dtype=dtype), optimizer, make_schedule(config), jnp.asarray(texts, dtype), TEMPERATURE
        )
    )
    state, losses = create_state(variables, optimizer, len(batches)), []
    for batch in batches:
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    return losses, state


def running_statistics(state_dict: dict, stats: Any) -> list[tuple[str, np.ndarray, np.ndarray]]:
    pairs = []
    for path, value in jax.tree_util.tree_leaves_with_path(stats):
        *module, kind = [key.key for key in path]
        name = ".".join([*module, {"mean": "running_mean", "var": "running_var"}[kind]])
        pairs.append((name, np.asarray(value), state_dict[name].numpy()))
    return pairs


@pytest.mark.parametrize(("bits", "bound"), [(64, 1e-6), (32, 1e-2)])
def test_ten_adamw_steps(problem: Any, bits: int, bound: float) -> None:
    model, texts, batches = problem
    theirs, state_dict = torch_steps(model, texts, batches, getattr(torch, f"float{bits}"))
    with jax.enable_x64(bits == 64):
        ours, state = our_steps(model, texts, batches, getattr(jnp, f"float{bits}"))
        pairs = running_statistics(state_dict, state.batch_stats)
    np.testing.assert_allclose(ours, theirs, rtol=bound)
    assert len(pairs) == 2 * 55  # every BatchNorm of RN50 in this count
    for name, mine, expected in pairs:
        assert np.linalg.norm(mine - expected) <= bound * np.linalg.norm(expected), name


def test_gradients_with_batch_statistics(problem: Any) -> None:
    """Every parameter's gradient within 1e-3 (norm over norm); vanishing ones (key biases) compared absolutely."""
    model, texts, batches = problem
    reference = random_copy(model).train()
    torch_loss(reference, torch.from_numpy(texts).float(), batches[0], torch.float32).backward()
    grads = {name: p.grad for name, p in reference.named_parameters()}
    expected = flax_variables(reference, grads)["params"]["visual"]
    variables = flax_variables(model)

    def loss(visual: Any) -> jax.Array:
        params = {**variables["params"], "visual": visual}
        z, _ = CLIP(CONFIG).apply(
            {**variables, "params": params}, normalise(batches[0]["image"]), train=True, method="encode_image",
            mutable=["batch_stats"],
        )  # fmt: skip
        return align_loss(class_logits(z, jnp.asarray(texts, jnp.float32), TEMPERATURE), batches[0]["target"]).mean()

    ours = jax.jit(jax.grad(loss))(variables["params"]["visual"])
    whole = np.sqrt(sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(ours)))
    for path, mine in jax.tree_util.tree_leaves_with_path(ours):
        theirs = expected
        for key in path:
            theirs = theirs[key.key]
        difference, size = np.linalg.norm(mine - theirs), np.linalg.norm(theirs)
        name = "/".join(key.key for key in path)
        if size > 1e-6 * whole:
            assert difference <= 1e-3 * size, (name, difference / size)
        else:
            assert difference <= 1e-6 * whole, name
