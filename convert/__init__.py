"""PyTorch checkpoints to this project's weights and back: `python -m convert`, `python -m convert.to_torch`.

The only part of the project that imports torch.
"""

import importlib
from typing import Any

from remoteclip_jax.errors import UserError


def require(module: str) -> Any:
    """Import an optional dependency; UserError that says how to install it where it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        raise UserError(f"{e.name} is not installed: pip install 'remoteclip-jax[convert]'") from e
