"""A small checkpoint with random weights and random BatchNorm statistics, made once."""

from pathlib import Path

import pytest
import torch

from remoteclip_jax.clip.config import ARCHITECTURES
from tests.torch_reference import random_clip

State = dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def tiny_state() -> State:
    return random_clip(ARCHITECTURES["tiny"], seed=1).state_dict()


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory, tiny_state: State) -> Path:
    file = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    torch.save(tiny_state, file)
    return file
