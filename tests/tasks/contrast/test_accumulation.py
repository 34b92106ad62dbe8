"""A batch in several parts is the whole batch: the same loss, gradients and new parameters, in less memory."""

import re
from dataclasses import dataclass
from typing import Any

import jax
import pytest

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.contrast.config import ContrastConfig
from remoteclip_jax.tasks.contrast.workload import check_parts
from remoteclip_jax.training.state import unpacked
from tests.tasks.contrast.small_problem import (
    SHAPE,
    assert_close,
    batch,
    by_name,
    config,
    double,
    new_state,
    step_on,
    train_step,
)
from tests.torch_reference import flax_variables, random_clip

WHOLE, PARTS = config(train_norm=False, batch_size=64), config(train_norm=False, batch_size=64, accumulate=4)
TWICE = [0, *range(1, 63), 0]  # an image that is in two parts of the batch


@dataclass
class Result:
    """The metrics and the state after a step, and the temporary memory that it takes."""

    values: Any
    batch_stats: Any
    temporary_bytes: int


def after_a_step(settings: ContrastConfig, variables: Variables) -> Result:
    with jax.enable_x64(True):
        state, one = new_state(settings, variables), batch(0, TWICE)
        step = train_step(settings).lower(state, one).compile()
        state, metrics = step(state, one)
    values = (jax.device_get(metrics), unpacked(state))
    return Result(values, values[1].batch_stats, step.memory_analysis().temp_size_in_bytes)


@pytest.fixture(scope="module")
def variables() -> Variables:
    """Float64 weights with random statistics of batch norm."""
    return double(flax_variables(random_clip(SHAPE, seed=0)))


@pytest.fixture(scope="module")
def whole(variables: Variables) -> Result:
    return after_a_step(WHOLE, variables)


@pytest.fixture(scope="module")
def parts(variables: Variables) -> Result:
    return after_a_step(PARTS, variables)


def test_parts_are_the_whole_batch(whole: Result, parts: Result) -> None:
    """Loss, norm of the gradient, parameters, and AdamW's moments (after the first step, the gradients)."""
    assert_close(parts.values, whole.values, 1e-10)


def test_statistics_keep_their_bits(whole: Result, parts: Result, variables: Variables) -> None:
    for result in (whole, parts):
        for name, value in by_name(variables["batch_stats"]).items():
            assert by_name(result.batch_stats)[name].tobytes() == value.tobytes(), name


def test_parts_take_less_memory(whole: Result, parts: Result) -> None:
    """Of four parts, the activations of one are in memory at a time; the gradients always are."""
    assert parts.temporary_bytes < 0.6 * whole.temporary_bytes


def test_parts_on_two_devices(whole: Result, variables: Variables) -> None:
    with jax.enable_x64(True):
        assert_close(step_on(2, PARTS, variables, batch(0, TWICE)), whole.values, 1e-10)


def test_batch_norm_with_the_statistics_of_parts_is_refused() -> None:
    for freeze in ("none", "image_stem", "text"):
        with pytest.raises(UserError, match=r"^--accumulate=4 needs --set=train_norm=false: [^\n]*$"):
            config(accumulate=4, freeze=freeze)
    assert config(accumulate=4, freeze="image").accumulate == 4  # whose statistics are frozen


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    with pytest.raises(UserError, match=r"^--batch_size=8 must be a multiple of --accumulate=3, [^\n]*$"):
        config(train_norm=False, accumulate=3)
    message = "--batch_size=8 must be a multiple of 16: --accumulate=8 parts on each of 2 devices"
    with pytest.raises(UserError, match=re.escape(message)):
        check_parts(config(train_norm=False, accumulate=8))
    check_parts(PARTS)
