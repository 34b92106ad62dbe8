"""Sampling against torch's grid_sample, and the module against the formula of Deformable DETR's authors."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from remoteclip_jax.detector.deformable import DeformableAttention, project_values
from remoteclip_jax.ops.sampling import sample
from tests.detector.small_model import quick

N, HEADS, POINTS, DEPTH = 2, 3, 4, 4
WIDTH = HEADS * DEPTH


def torch_samples(maps: list[torch.Tensor], points: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`sample` by grid_sample: maps [n, h, w, m, d], points [n, q, m, l, p, 2], weights [n, q, m, l, p]."""
    total = torch.zeros(())
    for level, x in enumerate(maps):
        n, h, w, m, d = x.shape
        grid = 2 * points[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        flat = x.permute(0, 3, 4, 1, 2).reshape(n * m, d, h, w)
        out = F.grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        out = out.reshape(n, m, d, *grid.shape[1:3]).permute(0, 3, 1, 4, 2)
        total = total + (out * weights[:, :, :, level, :, None]).sum(3)
    return total


def test_sampling_equals_grid_sample_in_value_and_gradient() -> None:
    rng = np.random.default_rng(0)
    sizes = ((5, 7), (3, 2))
    maps = [rng.normal(size=(N, h, w, HEADS, DEPTH)).astype(np.float32) for h, w in sizes]
    points = rng.uniform(-0.4, 1.4, (N, 20, HEADS, 2, 3, 2)).astype(np.float32)  # a third of them outside
    points[:, 0] = [-5.0, 0.5]
    points[:, 1] = [0.5, 1e4]
    points[:, 2] = [0.01, 0.99]  # half of its neighbours are outside
    weights = rng.normal(size=points.shape[:-1]).astype(np.float32)
    g = rng.normal(size=(N, 20, HEADS, DEPTH)).astype(np.float32)
    theirs = [torch.from_numpy(x).requires_grad_() for x in (*maps, points, weights)]
    expected = torch_samples(theirs[:2], theirs[2], theirs[3])
    (expected * torch.from_numpy(g)).sum().backward()

    def loss(maps: list[jax.Array], points: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = sample(maps, points, weights)
        return (out * g).sum(), out

    (_, out), grads = quick(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(maps, points, weights)
    np.testing.assert_allclose(out, expected.detach(), atol=1e-5)
    for ours, x in zip(jax.tree.leaves(grads), theirs, strict=True):
        np.testing.assert_allclose(ours, x.grad, atol=5e-4)
    assert not np.asarray(out)[:, :2].any()


def test_a_map_is_sampled_at_its_own_positions() -> None:
    values = np.random.default_rng(1).normal(size=(1, 4, 6, 1, 3)).astype(np.float32)
    y, x = np.mgrid[:4, :6]
    points = np.stack([(x + 0.5) / 6, (y + 0.5) / 4], -1).reshape(1, 24, 1, 1, 1, 2).astype(np.float32)
    found = sample([values], points, np.ones((1, 24, 1, 1, 1), np.float32))
    np.testing.assert_allclose(np.asarray(found)[0, :, 0], values.reshape(24, 3), atol=1e-5)


def torch_attention(params: dict, q: torch.Tensor, boxes: torch.Tensor, maps: list[torch.Tensor]) -> torch.Tensor:
    """multi_scale_deformable_attn_pytorch, with references that are boxes and a value projection for each level."""

    def dense(name: str, x: torch.Tensor) -> torch.Tensor:
        layer = {k: torch.from_numpy(np.array(v)) for k, v in params[name].items()}
        return x @ layer["kernel"] + layer["bias"]

    n, count, _ = q.shape
    levels = len(maps)
    offsets = dense("offsets", q).view(n, count, HEADS, levels, POINTS, 2)
    weights = dense("weights", q).view(n, count, HEADS, levels * POINTS).softmax(-1)
    weights = weights.view(n, count, HEADS, levels, POINTS)
    locations = boxes[:, :, None, None, None, :2] + offsets * boxes[:, :, None, None, None, 2:] * 0.5
    grids = 2 * locations - 1
    sampled = []
    for level, x in enumerate(maps):
        _, h, w, _ = x.shape
        value = dense(f"value{level}", x).flatten(1, 2).transpose(1, 2).reshape(n * HEADS, DEPTH, h, w)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        sampled.append(F.grid_sample(value, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    attention = weights.transpose(1, 2).reshape(n * HEADS, 1, count, levels * POINTS)
    out = (torch.stack(sampled, -2).flatten(-2) * attention).sum(-1).view(n, WIDTH, count)
    return dense("out", out.transpose(1, 2))


class OneLayer(nn.Module):
    """The module, with the value projections of a decoder of one layer."""

    levels: int

    def setup(self) -> None:
        self.look = DeformableAttention(WIDTH, HEADS, POINTS, self.levels)

    def __call__(self, q: Any, boxes: Any, maps: Any) -> Any:
        return self.look(q, boxes, project_values(maps, [self.look])[0])


def test_the_module_equals_the_reference() -> None:
    rng = np.random.default_rng(2)
    q = rng.normal(size=(N, 9, WIDTH)).astype(np.float32)
    boxes = rng.uniform(0.1, 0.9, (N, 9, 4)).astype(np.float32)
    maps = [rng.normal(size=(N, h, w, WIDTH)).astype(np.float32) for h, w in ((8, 8), (4, 4), (2, 3))]
    module = OneLayer(len(maps))
    shapes = jax.eval_shape(module.init, jax.random.key(0), q, boxes, maps)
    variables = jax.tree.map(lambda s: rng.normal(0, 0.4, s.shape).astype(np.float32), shapes)
    expected = torch_attention(
        variables["params"]["look"], torch.from_numpy(q), torch.from_numpy(boxes), [torch.from_numpy(x) for x in maps]
    )
    ours = np.asarray(quick(module.apply)(variables, q, boxes, maps))
    assert np.abs(ours).max() > 0.5
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_at_the_start_nothing_is_added_and_the_points_lie_in_the_box() -> None:
    rng = np.random.default_rng(3)
    q, boxes = rng.normal(size=(1, 5, WIDTH)).astype(np.float32), np.full((1, 5, 4), 0.5, np.float32)
    maps = [jnp.ones((1, 8, 8, WIDTH)), jnp.ones((1, 4, 4, WIDTH))]
    module = OneLayer(len(maps))
    variables = quick(module.init)(jax.random.key(0), q, boxes, maps)
    assert not np.asarray(quick(module.apply)(variables, q, boxes, maps)).any()
    offsets = np.asarray(variables["params"]["look"]["offsets"]["bias"]).reshape(HEADS, 2, POINTS, 2)
    reach = np.abs(offsets).max(-1)
    np.testing.assert_allclose(reach, np.broadcast_to([0.25, 0.5, 0.75, 1.0], reach.shape), atol=1e-6)
    assert len({tuple(np.sign(o.round(6))) for o in offsets[:, 0, 0]}) == HEADS  # each has its own direction
