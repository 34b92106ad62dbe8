"""The towers against open_clip: random weights, randomised BatchNorm statistics, float32 on both sides."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from remoteclip_jax.clip.config import ARCHITECTURES, CLIPConfig
from remoteclip_jax.clip.model import CLIP, init, init_shapes
from remoteclip_jax.clip.tokenizer import tokenize
from remoteclip_jax.ops.similarity import l2_normalise
from tests.torch_reference import flax_variables, random_clip

RN50 = ARCHITECTURES["RN50"]
TEXTS = ["a satellite photo of a ship.", "harbor", "", "ein Flugplatz ✈ im Nebel", "word " * 100]


@pytest.fixture(scope="module")
def rn50() -> tuple[torch.nn.Module, dict]:
    model = random_clip(RN50, seed=0)
    return model, flax_variables(model)


def images(size: int, n: int = 2) -> np.ndarray:
    return np.random.default_rng(size).normal(size=(n, size, size, 3)).astype(np.float32)


def to_torch(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(x)).permute(0, 3, 1, 2).contiguous()


def test_image_embeddings_at_224(rn50: tuple[torch.nn.Module, dict]) -> None:
    model, variables = rn50
    x = images(224)
    ours = l2_normalise(jax.jit(lambda v, x: CLIP(RN50).apply(v, x, method="encode_image"))(variables, x))
    with torch.no_grad():
        theirs = F.normalize(model.encode_image(to_torch(x)), dim=-1).numpy()
    assert np.abs(np.asarray(ours) - theirs).max() <= 2e-5
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-3  # the images have different embeddings


def test_image_embeddings_at_320(rn50: tuple[torch.nn.Module, dict]) -> None:
    """open_clip's tower for 320 pixels, its position embedding resized by torch from the one for 224."""
    model, variables = rn50
    x = images(320)
    ours = l2_normalise(jax.jit(lambda v, x: CLIP(RN50).apply(v, x, method="encode_image"))(variables, x))
    pool = model.visual.attnpool
    original = pool.positional_embedding
    grid = original[1:].reshape(1, 7, 7, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (10, 10), mode="bicubic", antialias=True, align_corners=False)
    pool.positional_embedding = torch.nn.Parameter(torch.cat([original[:1], grid.flatten(2)[0].T]))
    try:
        with torch.no_grad():
            theirs = F.normalize(model.encode_image(to_torch(x)), dim=-1).numpy()
    finally:
        pool.positional_embedding = original
    assert np.abs(np.asarray(ours) - theirs).max() <= 2e-5


def test_feature_maps(rn50: tuple[torch.nn.Module, dict]) -> None:
    model, variables = rn50
    x = images(64, n=1)
    ours = CLIP(RN50).apply(variables, x, method="features")
    with torch.no_grad():
        theirs = {"stem": model.visual.stem(to_torch(x))}
        out = theirs["stem"]
        for i in range(1, 5):
            out = theirs[f"c{i + 1}"] = getattr(model.visual, f"layer{i}")(out)
    for name, expected in theirs.items():
        expected = expected.permute(0, 2, 3, 1).numpy()
        assert ours[name].shape == expected.shape
        assert np.linalg.norm(ours[name] - expected) <= 1e-5 * np.linalg.norm(expected), name


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_text_embeddings(quick_gelu: bool) -> None:
    config = dataclasses.replace(RN50, quick_gelu=quick_gelu, text_layers=RN50.text_layers if not quick_gelu else 2)
    model = random_clip(config, seed=1)
    ids = tokenize(TEXTS)
    variables = flax_variables(model)
    ours = l2_normalise(jax.jit(lambda v, ids: CLIP(config).apply(v, ids, method="encode_text"))(variables, ids))
    with torch.no_grad():
        theirs = F.normalize(model.encode_text(torch.from_numpy(ids).long()), dim=-1).numpy()
    assert np.abs(np.asarray(ours) - theirs).max() <= 2e-5


def test_odd_sizes_lose_the_remainder_as_torch_does() -> None:
    """An average pool over an odd map drops its last row and column."""
    config = ARCHITECTURES["tiny"]
    model = random_clip(config, seed=2)
    x = images(100, n=1)
    c5 = CLIP(config).apply(flax_variables(model), x, method="features")["c5"]
    with torch.no_grad():
        out = model.visual.stem(to_torch(x))
        for i in range(1, 5):
            out = getattr(model.visual, f"layer{i}")(out)
    np.testing.assert_allclose(c5, out.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


def test_bfloat16_is_close_and_keeps_float32_parameters() -> None:
    config = ARCHITECTURES["tiny"]
    variables = flax_variables(random_clip(config, seed=3))
    x = images(64)
    exact = l2_normalise(CLIP(config).apply(variables, x, method="encode_image"))
    half, updated = CLIP(config, dtype=jnp.bfloat16).apply(
        variables, x, train=True, method="encode_image", mutable=["batch_stats"]
    )
    assert half.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(updated))
    half = l2_normalise(CLIP(config, dtype=jnp.bfloat16).apply(variables, x, method="encode_image"))
    assert (half * exact).sum(-1).min() > 0.99


def test_init_has_the_shapes_and_the_spread_of_open_clip() -> None:
    """Not equal values (the generators differ), but the same shapes and standard deviations, tensor by tensor."""
    from open_clip.model import CLIP as TorchCLIP
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    c: CLIPConfig = dataclasses.replace(ARCHITECTURES["tiny"], text_width=128, vision_width=32, embed_dim=96)
    torch.manual_seed(0)
    reference = TorchCLIP(
        c.embed_dim,
        CLIPVisionCfg(layers=c.vision_layers, width=c.vision_width, image_size=c.image_size),
        CLIPTextCfg(width=c.text_width, heads=c.text_heads, layers=c.text_layers),
    )
    theirs = flax_variables(reference)["params"]
    ours = init(c, jax.random.key(0))["params"]
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(lambda s: s.shape, init_shapes(c)["params"])
    for path, value in jax.tree_util.tree_leaves_with_path(ours):
        expected = theirs
        for key in path:
            expected = expected[key.key]
        assert value.shape == expected.shape
        if path[-1].key != "bias" and value.size > 1000:
            np.testing.assert_allclose(np.std(value), np.std(expected), rtol=0.12, err_msg=str(path))


def test_activations_computed_again_change_nothing() -> None:
    """`remat` is about memory alone: the same gradients, and the same new statistics."""
    c = ARCHITECTURES["tiny"]
    variables, images = init(c, jax.random.key(0)), np.random.default_rng(0).normal(size=(2, 64, 64, 3))

    def results(remat: bool) -> Any:
        model = CLIP(c, remat=remat)

        def loss(params: Any) -> Any:
            z, new = model.apply(
                {**variables, "params": params}, images, train=True, method="encode_image", mutable=["batch_stats"]
            )
            return (z**2).sum(), new

        return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])

    kept, again = results(False), results(True)
    assert jax.tree.structure(kept) == jax.tree.structure(again)
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-3, atol=1e-4 * np.abs(a).max() + 1e-9)
