"""The conversion table: for each tensor of an open_clip ResNet CLIP, its place in the Flax tree and its axes there.

Both names are written as templates with fields in braces, so that one table serves both directions. The Flax modules
keep torch's module names. Only the last part of a name differs (`weight` is `kernel`, `scale` or `embedding`), and the
order of axes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np


class Transform(NamedTuple):
    """How a torch array becomes a Flax array (`forward`), and back. Elements are only moved, so a round trip is
    exact."""

    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]


TRANSFORMS = {
    "same": Transform(lambda x: x, lambda x: x),
    "conv": Transform(lambda x: np.transpose(x, (2, 3, 1, 0)), lambda x: np.transpose(x, (3, 2, 0, 1))),  # OIHW, HWIO
    "dense": Transform(np.transpose, np.transpose),  # torch: [out, in]; Flax: [in, out]
}

_FIELDS = {
    "block": r"(?:layer\d+\.\d+\.)?",  # empty in the stem
    "norm": r"bn\d+|downsample\.1",
    "i": r"\d+",
    "qkvc": r"[qkvc]_proj",
    "ln": r"(?:transformer\.resblocks\.\d+\.ln_[12]|ln_final)",
    "mlp": r"attn\.out_proj|mlp\.c_fc|mlp\.c_proj",
    "any": r"(?:.+\.)?",
}


def _regex(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    pattern = "".join(re.escape(p) if k % 2 == 0 else f"(?P<{p}>{_FIELDS[p]})" for k, p in enumerate(parts))
    return re.compile(pattern)


@dataclass(frozen=True)
class Rule:
    """A row of the table. `torch` and `flax` are templates of dotted names. `flax` is None for a tensor that the Flax
    model does not need."""

    torch: str
    flax: str | None
    transform: str = "same"

    @cached_property
    def torch_regex(self) -> re.Pattern[str]:
        return _regex(self.torch)

    @cached_property
    def flax_regex(self) -> re.Pattern[str] | None:
        return None if self.flax is None else _regex(self.flax)


RULES = (
    # Image tower
    Rule("visual.{block}conv{i}.weight", "params.visual.{block}conv{i}.kernel", "conv"),
    Rule("visual.{block}downsample.0.weight", "params.visual.{block}downsample.0.kernel", "conv"),
    Rule("visual.{block}{norm}.weight", "params.visual.{block}{norm}.scale"),
    Rule("visual.{block}{norm}.bias", "params.visual.{block}{norm}.bias"),
    Rule("visual.{block}{norm}.running_mean", "batch_stats.visual.{block}{norm}.mean"),
    Rule("visual.{block}{norm}.running_var", "batch_stats.visual.{block}{norm}.var"),
    Rule("visual.{block}{norm}.num_batches_tracked", None),  # only needed for a cumulative average
    Rule("visual.attnpool.positional_embedding", "params.visual.attnpool.positional_embedding"),
    Rule("visual.attnpool.{qkvc}.weight", "params.visual.attnpool.{qkvc}.kernel", "dense"),
    Rule("visual.attnpool.{qkvc}.bias", "params.visual.attnpool.{qkvc}.bias"),
    # Text tower, which is at the top level in torch
    Rule("token_embedding.weight", "params.text.token_embedding.embedding"),
    Rule("positional_embedding", "params.text.positional_embedding"),
    Rule(
        "transformer.resblocks.{i}.attn.in_proj_weight",
        "params.text.transformer.resblocks.{i}.attn.in_proj.kernel",
        "dense",
    ),
    Rule("transformer.resblocks.{i}.attn.in_proj_bias", "params.text.transformer.resblocks.{i}.attn.in_proj.bias"),
    Rule("transformer.resblocks.{i}.{mlp}.weight", "params.text.transformer.resblocks.{i}.{mlp}.kernel", "dense"),
    Rule("transformer.resblocks.{i}.{mlp}.bias", "params.text.transformer.resblocks.{i}.{mlp}.bias"),
    Rule("{ln}.weight", "params.text.{ln}.scale"),
    Rule("{ln}.bias", "params.text.{ln}.bias"),
    Rule("text_projection", "params.text.text_projection"),
    Rule("logit_scale", "params.logit_scale"),
    # Constants beside the weights in OpenAI's archives, and the causal mask of scripted models
    Rule("input_resolution", None),
    Rule("context_length", None),
    Rule("vocab_size", None),
    Rule("{any}attn_mask", None),
)


def flax_target(key: str) -> tuple[Rule, str | None] | None:
    """The rule for a torch `key`, and the dotted Flax name (None: the tensor is dropped). None for an unknown key."""
    for rule in RULES:
        if match := rule.torch_regex.fullmatch(key):
            return rule, None if rule.flax is None else rule.flax.format(**match.groupdict())
    return None


def torch_target(name: str) -> tuple[Rule, str] | None:
    """The rule for a dotted Flax `name`, and the torch key. None for an unknown name."""
    for rule in RULES:
        if rule.flax_regex and (match := rule.flax_regex.fullmatch(name)):
            return rule, rule.torch.format(**match.groupdict())
    return None
