"""Hungarian matching of queries with objects (Carion et al. 2020, DETR), one batch at a time, with static shapes."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def match(cost: Float[Array, "n q m"], real: Bool[Array, "n m"]) -> Int[Array, "n q"]:
    """For each query its object's index, or −1. The sum of the costs over real objects is the least there is; with more
    objects than queries, every query gets one. Costs that are no number count as high, not as undefined.
    """
    n, q, m = cost.shape
    cost = jnp.nan_to_num(cost.astype(jnp.float32), nan=1e4, posinf=1e4, neginf=-1e4).swapaxes(1, 2)
    if m > q:  # dummy queries, dearer than any choice among the real ones, take the objects that are left over
        dear = 1 + 2 * jnp.max(jnp.abs(cost), (1, 2), keepdims=True)
        cost = jnp.concatenate([cost, jnp.broadcast_to(dear, (n, m, m - q))], 2)
    return jax.vmap(_assign)(cost, real)[:, :q]


def _assign(cost: Float[Array, "m q"], real: Bool[Array, "m"]) -> Int[Array, "q"]:
    """Shortest augmenting paths (Jonker and Volgenant 1987; the same algorithm as scipy's and optax's), over the real
    rows alone: padding, most of an array, costs no time. m ≤ q."""
    m, q = cost.shape
    order = jnp.argsort(~real, stable=True)

    def insert(i: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Row order[i] finds its column; others may move to make room. Column q stands for "not yet in"."""
        owner, u, v = state
        owner = owner.at[q].set(order[i])

        def free(s: tuple[Array, ...]) -> Array:
            return s[0][s[3]] >= 0

        def step(s: Any) -> Any:
            owner, u, v, column, used, best, way = s
            used = used.at[column].set(True)
            row = owner[column]
            now = jnp.append(cost[row] - u[row] - v[:q], jnp.inf)
            closer = ~used & (now < best)
            best, way = jnp.where(closer, now, best), jnp.where(closer, column, way)
            open_ = jnp.where(used, jnp.inf, best)
            nearest = jnp.argmin(open_)
            delta = open_[nearest]
            # Rows on the tree, by way of the columns they own, rise by delta; each row owns one column at most.
            u = u.at[jnp.where(used, owner, m)].add(delta, mode="drop")
            v = jnp.where(used, v - delta, v)
            return owner, u, v, nearest, used, jnp.where(used, best, best - delta), way

        def walk(s: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            owner, column, way = s
            return owner.at[column].set(owner[way[column]]), way[column], way

        start = (owner, u, v, jnp.array(q), jnp.zeros(q + 1, bool), jnp.full(q + 1, jnp.inf), jnp.full(q + 1, q))
        owner, u, v, column, _, _, way = jax.lax.while_loop(free, step, start)
        owner, _, _ = jax.lax.while_loop(lambda s: s[1] != q, walk, (owner, column, way))
        return owner, u, v

    state = jnp.full(q + 1, -1), jnp.zeros(m), jnp.zeros(q + 1)
    owner, _, _ = jax.lax.fori_loop(0, real.sum(), insert, state)
    return owner[:q]
