"""Conversion of PyTorch checkpoints to this project's weights (`python -m convert`) and back (`convert.to_torch`), of
data sets from one format to another (`convert.dataset`), and of their boxes to captions (`convert.captions`).

This is the only part of the project that imports torch, except for the benchmark's comparison with PyTorch.
"""

import importlib
from typing import Any

from remoteclip_jax.errors import UserError


def require(module: str) -> Any:
    """The imported module of an optional dependency. UserError that says how to install it if it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        raise UserError(f"{e.name} is not installed: pip install 'remoteclip-jax[convert]'") from e
