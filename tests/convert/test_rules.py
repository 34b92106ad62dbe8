"""The table of rules, against the keys of open_clip's own models."""

import numpy as np
import pytest
import torch

from convert.from_torch import expected_shapes
from convert.rules import RULES, TRANSFORMS, flax_target, torch_target
from convert.verify import torch_model
from remoteclip_jax.clip.config import ARCHITECTURES


def keys(arch: str) -> list[str]:
    with torch.device("meta"):
        return list(torch_model(ARCHITECTURES[arch]).state_dict())


@pytest.mark.parametrize("arch", ["RN50", "tiny"])
def test_every_torch_key_matches_exactly_one_rule(arch: str) -> None:
    for key in [*keys(arch), "input_resolution", "context_length", "vocab_size", "attn_mask"]:
        assert len([rule for rule in RULES if rule.torch_regex.fullmatch(key)]) == 1, key


@pytest.mark.parametrize("arch", ["RN50", "tiny"])
def test_names_go_there_and_back(arch: str) -> None:
    expected = expected_shapes(ARCHITECTURES[arch])
    named = {}
    for key in keys(arch):
        target = flax_target(key)
        assert target is not None
        rule, name = target
        if name is None:
            assert key.endswith("num_batches_tracked")
            continue
        named[name] = key
        assert torch_target(name) == (rule, key)
        assert len([r for r in RULES if r.flax_regex and r.flax_regex.fullmatch(name)]) == 1, name
    assert named.keys() == expected.keys()


def test_every_rule_is_used() -> None:
    used = {target[0] for key in keys("RN50") if (target := flax_target(key))}
    unused = [rule.torch for rule in RULES if rule not in used]
    assert unused == ["input_resolution", "context_length", "vocab_size", "{any}attn_mask"]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_have_inverses(name: str) -> None:
    shape = {"same": (3,), "conv": (2, 3, 4, 5), "dense": (2, 3)}[name]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    forward, inverse = TRANSFORMS[name]
    np.testing.assert_array_equal(inverse(forward(x)), x)
    np.testing.assert_array_equal(forward(inverse(x)), x)


def test_layouts() -> None:
    assert TRANSFORMS["conv"].forward(np.zeros((8, 4, 3, 5))).shape == (3, 5, 4, 8)  # OIHW → HWIO
    assert TRANSFORMS["dense"].forward(np.zeros((8, 4))).shape == (4, 8)  # [out, in] → [in, out]


@pytest.mark.parametrize(
    "key",
    [
        "visual.layer1.0.conv1.bias",
        "visual.layer1.conv1.weight",
        "visual.proj",
        "xlogit_scale",
        "logit_scale.x",
        "transformer.resblocks.a.ln_1.weight",
        "visual.transformer.resblocks.0.ln_1.weight",
        "visualXconv1.weight",
    ],
)
def test_other_keys_match_nothing(key: str) -> None:
    assert flax_target(key) is None
