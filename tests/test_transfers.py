"""Weights lie on the device: nothing but the inputs, explicitly, travels there, and nothing but the results back."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import init
from remoteclip_jax.clip.weights import save_weights
from remoteclip_jax.config import new_config
from remoteclip_jax.parallel import AXIS, parallel, replicate, split_batch
from remoteclip_jax.training.align import make_align_loss
from remoteclip_jax.training.meter import Meter
from remoteclip_jax.training.optimizer import make_optimizer, make_schedule
from remoteclip_jax.training.state import create_state
from remoteclip_jax.training.step import make_train_step


@pytest.fixture
def guarded() -> Iterator[None]:
    with jax.transfer_guard("disallow"):
        yield


def test_the_guard_sees_what_it_is_for(guarded: None) -> None:
    with pytest.raises(Exception, match="Disallowed"):
        jax.jit(lambda x: x + 1)(np.ones(3))
