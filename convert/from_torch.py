"""From a torch state dict to the variables of the Flax model. Every key is either used or named in an error."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from convert.checkpoint_kind import checkpoint_kind
from convert.rules import TRANSFORMS, flax_target, torch_target
from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.model import Variables, init_shapes
from remoteclip_jax.errors import UserError

NAMES_SHOWN = 8  # of each kind of problem; a wrong architecture gives hundreds


def from_torch(state: Mapping[str, np.ndarray], config: CLIPConfig, source: str) -> Variables:
    """The variables of ``CLIP(config)`` with the weights in `state`. Their dtypes stay the same.

    UserError, naming `source` and the keys, if keys are missing or unexpected, or if arrays have another shape or are
    not finite.
    """
    _check_kind(state, source)
    expected = expected_shapes(config)
    found: dict[str, np.ndarray] = {}
    unexpected, misshapen, not_finite = [], [], []
    for key, value in state.items():
        target = flax_target(key)
        if target is None:
            unexpected.append(key)
            continue
        rule, name = target
        if name is None:
            continue
        if name not in expected:
            unexpected.append(key)
        elif value.shape != (shape := _torch_shape(expected[name], rule.transform)):
            misshapen.append(f"{key} {_shape_text(value.shape)}, not {_shape_text(shape)}")
        elif not np.isfinite(value).all():
            not_finite.append(key)
        found[name] = value  # even if it is wrong, so that it is not reported as missing too
    missing = [_torch_key(name) for name in expected if name not in found]
    problems = [
        f"{len(keys)} {kind}: {_abbreviate(keys)}"
        for kind, keys in [("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)]
        if keys
    ]
    if problems:
        raise UserError(f"{source}: not the weights of {config.arch}{_hint(state, config)}; " + "; ".join(problems))
    if not_finite:
        raise UserError(f"{source}: NaN or infinity in {_abbreviate(not_finite)}; the checkpoint is broken")
    arrays = {name: TRANSFORMS[_transform_name(name)].forward(value) for name, value in found.items()}
    return unflatten_dict({tuple(name.split(".")): np.array(value, order="C") for name, value in arrays.items()})


def expected_shapes(config: CLIPConfig) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of ``CLIP(config)``, by its dotted name."""
    return {".".join(path): tuple(leaf.shape) for path, leaf in flatten_dict(init_shapes(config)).items()}


def _transform_name(name: str) -> str:
    target = torch_target(name)
    assert target is not None, name
    return target[0].transform


def _torch_key(name: str) -> str:
    target = torch_target(name)
    assert target is not None, f"no rule for {name}"
    return target[1]


def _torch_shape(shape: tuple[int, ...], transform: str) -> tuple[int, ...]:
    # A broadcast view takes no memory, and only its shape is needed.
    return TRANSFORMS[transform].inverse(np.broadcast_to(np.float32(0), shape)).shape


def _check_kind(state: Mapping[str, Any], source: str) -> None:
    """UserError for a checkpoint that is not a ResNet CLIP at all."""
    if kind := checkpoint_kind(state):
        raise UserError(
            f"{source}: this is {kind}; only CLIPs with a ModifiedResNet are converted, such as RemoteCLIP-RN50.pt"
        )
    if not any(flax_target(key) for key in state):
        content = f"its keys: {_abbreviate(list(state), 5)}" if state else "it is empty"
        raise UserError(f"{source}: there are no CLIP weights in this file ({content})")


def _hint(state: Mapping[str, np.ndarray], config: CLIPConfig) -> str:
    """Which ResNet the file holds instead, if its keys tell that; else an empty string."""
    blocks = [(int(m[1]), int(m[2])) for m in map(re.compile(r"visual\.layer(\d)\.(\d+)\.").match, state) if m]
    layers = tuple(1 + max((j for i, j in blocks if i == stage), default=-1) for stage in (1, 2, 3, 4))
    width = state["visual.conv3.weight"].shape[:1] if "visual.conv3.weight" in state else ()
    wanted = (config.vision_layers, (config.vision_width,))
    if not blocks or (layers, width) == wanted:
        return ""
    of_width = f" of width {width[0]}" if width else ""
    return f" (a ResNet with layers {layers}{of_width}, not {wanted[0]} of width {config.vision_width})"


def _shape_text(shape: Iterable[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _abbreviate(names: list[str], limit: int = NAMES_SHOWN) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(str(name) for name in names[:limit]) + more
