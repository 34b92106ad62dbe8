"""Training both towers against PyTorch: ten AdamW steps of open_clip's own model, with its parameter groups."""

import copy
import math
from typing import Any

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss

from convert.from_torch import from_torch
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.runs.config import TrainConfig
from tests.tasks.contrast.small_problem import SHAPE, batch, by_name, config, double, new_state, train_step
from tests.torch_reference import flax_variables, random_clip

TOTAL_STEPS = 60  # the first three of them are the warm-up
BOUND = 1e-7  # relative; of parameters, relative to their change
KEY_BIAS = "params/visual/attnpool/k_proj/bias"


def learning_rate(settings: TrainConfig, step: int) -> float:
    """Linear warm-up over a twentieth of the steps, then a cosine to zero."""
    warmup = min(1.0, (step + 1) / math.ceil(TOTAL_STEPS / 20))
    return settings.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / TOTAL_STEPS))


def excluded(name: str, parameter: torch.Tensor) -> bool:
    """What open_clip_train exempts from weight decay."""
    return parameter.ndim < 2 or "bn" in name or "ln" in name or "bias" in name or "logit_scale" in name


def torch_steps(
    model: Any, settings: TrainConfig, batches: list[Any], rates: list[float]
) -> tuple[list[float], list[float], Any]:
    """Losses, values of `logit_scale` after each step, and the final variables."""
    model = copy.deepcopy(model).double().train()
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if excluded(n, p)], "weight_decay": 0.0},
        {"params": [p for n, p in named if not excluded(n, p)], "weight_decay": settings.weight_decay},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, settings.beta2), eps=1e-8)
    losses, scales, criterion = [], [], ClipLoss()
    for rate, one in zip(rates, batches, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        images = torch.from_numpy(np.array(normalise(one["image"]))).permute(0, 3, 1, 2).double()
        ids = F.pad(torch.from_numpy(one["ids"]).long(), (0, SHAPE.context_length - one["ids"].shape[1]))
        features = model.encode_image(images, normalize=True), model.encode_text(ids, normalize=True)
        loss = criterion(*features, model.logit_scale.exp())
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses.append(loss.item())
        scales.append(model.logit_scale.item())
    state_dict = {name: value.numpy() for name, value in model.state_dict().items()}
    return losses, scales, from_torch(state_dict, SHAPE, "the trained model")


def our_steps(model: Any, settings: Any, batches: list[Any]) -> tuple[list[float], list[float], list[float], Any]:
    """The learning rates, which are float32, and what `torch_steps` returns."""
    with jax.enable_x64(True):
        state, step = new_state(settings, double(flax_variables(model)), TOTAL_STEPS), train_step(settings)
        rates, losses, scales = [], [], []
        for one in batches:
            state, metrics = step(state, one)
            rates.append(float(metrics["learning_rate"]))
            losses.append(float(metrics["loss"]))
            scales.append(float(state.params.unpack()["logit_scale"]))
        final = jax.device_get({"params": state.params.unpack(), "batch_stats": state.batch_stats.unpack()})
    return rates, losses, scales, final


@pytest.mark.parametrize(("log_scale", "steps"), [(math.log(1 / 0.07), 10), (4.7, 3)])
def test_adamw_steps(log_scale: float, steps: int) -> None:
    """Losses, parameters of both towers, running statistics and the temperature. In the second case the temperature
    begins beyond its bound."""
    model, settings = random_clip(SHAPE, seed=0), config(learning_rate=3e-4)
    with torch.no_grad():
        model.logit_scale.fill_(log_scale)
    batches = [batch(seed) for seed in range(steps)]
    rates, ours, our_scales, found = our_steps(model, settings, batches)
    theirs, their_scales, expected = torch_steps(model, settings, batches, rates)
    np.testing.assert_allclose(rates, [learning_rate(settings, step) for step in range(steps)], rtol=1e-6)
    np.testing.assert_allclose(ours, theirs, rtol=BOUND)
    np.testing.assert_allclose(our_scales, their_scales, rtol=BOUND)
    assert (our_scales[0] == math.log(100)) == (log_scale > math.log(100))
    before, expected, found = by_name(flax_variables(model)), by_name(expected), by_name(found)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name == KEY_BIAS:  # invisible to softmax: its gradient is zero, but for PyTorch's rounding errors
            np.testing.assert_array_equal(found[name], before[name])
            assert np.abs(value - before[name]).max() < 1e-9
            continue
        change = np.linalg.norm(value - before[name])
        assert change > 0, name
        assert np.linalg.norm(found[name] - value) <= BOUND * change, name
