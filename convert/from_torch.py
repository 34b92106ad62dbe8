"""A torch state dict, as NumPy arrays, to the Flax model's variables; every key is consumed or named in an error."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from convert.recognise import checkpoint_kind
from convert.rules import TRANSFORMS, to_flax, to_torch
from remoteclip_jax.clip.config import CLIPConfig
from remoteclip_jax.clip.model import Variables, init_shapes
from remoteclip_jax.errors import UserError

NAMES_SHOWN = 8  # of each kind; a wrong architecture gives hundreds


def from_torch(state: Mapping[str, np.ndarray], config: CLIPConfig, source: str) -> Variables:
    """The variables of ``CLIP(config)`` with the weights in `state`; dtypes stay what they are.

    UserError, naming `source` and the keys, where keys are missing, unexpected, of another shape, or not finite.
    """
    _check_kind(state, source)
    expected = expected_shapes(config)
    found: dict[str, np.ndarray] = {}
    unexpected, misshapen, not_finite = [], [], []
    for key, value in state.items():
        target = to_flax(key)
        if target is None:
            unexpected.append(key)
            continue
        rule, name = target
        if name is None:
            continue
        if name not in expected:
            unexpected.append(key)
        elif value.shape != (shape := _torch_shape(expected[name], rule.transform)):
            misshapen.append(f"{key} {_show(value.shape)}, not {_show(shape)}")
        elif not np.isfinite(value).all():
            not_finite.append(key)
        found[name] = value  # also where it is wrong: it is then not missing as well
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
    arrays = {name: TRANSFORMS[_rule_name(name)].forward(value) for name, value in found.items()}
    return unflatten_dict({tuple(name.split(".")): np.array(value, order="C") for name, value in arrays.items()})


def expected_shapes(config: CLIPConfig) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of ``CLIP(config)``, by its dotted name."""
    return {".".join(path): tuple(leaf.shape) for path, leaf in flatten_dict(init_shapes(config)).items()}


def _rule_name(name: str) -> str:
    target = to_torch(name)
    assert target is not None, name
    return target[0].transform


def _torch_key(name: str) -> str:
    target = to_torch(name)
    assert target is not None, f"no rule for {name}"
    return target[1]


def _torch_shape(shape: tuple[int, ...], transform: str) -> tuple[int, ...]:
    # A view without memory: only its shape is asked for.
    return TRANSFORMS[transform].inverse(np.broadcast_to(np.float32(0), shape)).shape


def _check_kind(state: Mapping[str, Any], source: str) -> None:
    """UserError for checkpoints that are no ResNet CLIP at all."""
    if kind := checkpoint_kind(state):
        raise UserError(
            f"{source}: this is {kind}; only CLIPs with a ModifiedResNet are converted, such as RemoteCLIP-RN50.pt"
        )
    if not any(to_flax(key) for key in state):
        holds = f"its keys: {_abbreviate(list(state), 5)}" if state else "it is empty"
        raise UserError(f"{source}: there are no CLIP weights in this file ({holds})")


def _hint(state: Mapping[str, np.ndarray], config: CLIPConfig) -> str:
    """Which ResNet the file holds instead, where that can be read off its keys."""
    blocks = [(int(m[1]), int(m[2])) for m in map(re.compile(r"visual\.layer(\d)\.(\d+)\.").match, state) if m]
    layers = tuple(1 + max((j for i, j in blocks if i == stage), default=-1) for stage in (1, 2, 3, 4))
    width = state["visual.conv3.weight"].shape[:1] if "visual.conv3.weight" in state else ()
    wanted = (config.vision_layers, (config.vision_width,))
    if not blocks or (layers, width) == wanted:
        return ""
    of_width = f" of width {width[0]}" if width else ""
    return f" (a ResNet with layers {layers}{of_width}, not {wanted[0]} of width {config.vision_width})"


def _show(shape: Iterable[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _abbreviate(names: list[str], limit: int = NAMES_SHOWN) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(str(name) for name in names[:limit]) + more
