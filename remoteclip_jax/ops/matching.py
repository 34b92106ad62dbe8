"""Hungarian matching of queries and objects (Carion et al. 2020, DETR): batched, and with static shapes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def match(cost: Float[Array, "n q m"], real: Bool[Array, "n m"]) -> Int[Array, "n q"]:
    """The index of each query's object, or −1. `real` is False for padding.

    The sum of the costs over real objects is minimal. With more objects than queries every query gets an object. Costs
    that are not finite count as very high or very low, so that they cannot spoil the other matches.
    """
    n, q, m = cost.shape
    cost = jnp.nan_to_num(cost.astype(jnp.float32), nan=1e4, posinf=1e4, neginf=-1e4).swapaxes(1, 2)
    if m > q:  # dummy queries, more expensive than any choice among the real ones, take the unmatched objects
        expensive = 1 + 2 * jnp.max(jnp.abs(cost), (1, 2), keepdims=True)
        cost = jnp.concatenate([cost, jnp.broadcast_to(expensive, (n, m, m - q))], 2)
    return jax.vmap(_match_one)(cost, real)[:, :q]


class _Search(NamedTuple):
    """The state of the search for one row's shortest augmenting path. Column q stands for "not matched yet"."""

    owner: Int[Array, " q1"]  # the row that each column is matched to, or −1
    u: Float[Array, " m"]  # dual variables of the rows
    v: Float[Array, " q1"]  # dual variables of the columns
    column: Int[Array, ""]  # the column that was reached last
    used: Bool[Array, " q1"]
    distance: Float[Array, " q1"]
    previous: Int[Array, " q1"]  # the column before each one on its shortest path


def _match_one(cost: Float[Array, "m q"], real: Bool[Array, " m"]) -> Int[Array, " q"]:
    """Shortest augmenting paths (Jonker and Volgenant 1987), the algorithm of scipy and optax. m ≤ q.

    Only real rows are inserted: padding, which is most of the array, costs no time.
    """
    m, q = cost.shape
    order = jnp.argsort(~real, stable=True)

    def insert(
        i: Int[Array, ""], state: tuple[Int[Array, " q1"], Float[Array, " m"], Float[Array, " q1"]]
    ) -> tuple[Int[Array, " q1"], Float[Array, " m"], Float[Array, " q1"]]:
        """Match row order[i]; other rows may move to make room for it."""
        owner, u, v = state
        owner = owner.at[q].set(order[i])

        def column_is_taken(s: _Search) -> Bool[Array, ""]:
            return s.owner[s.column] >= 0

        def extend(s: _Search) -> _Search:
            used = s.used.at[s.column].set(True)
            row = s.owner[s.column]
            reduced = jnp.append(cost[row] - s.u[row] - s.v[:q], jnp.inf)
            closer = ~used & (reduced < s.distance)
            distance, previous = jnp.where(closer, reduced, s.distance), jnp.where(closer, s.column, s.previous)
            unused = jnp.where(used, jnp.inf, distance)
            nearest = jnp.argmin(unused)
            delta = unused[nearest]
            # Rows on the tree, found by the columns they own, rise by delta; each row owns at most one column.
            u = s.u.at[jnp.where(used, s.owner, m)].add(delta, mode="drop")
            v = jnp.where(used, s.v - delta, s.v)
            return _Search(s.owner, u, v, nearest, used, jnp.where(used, distance, distance - delta), previous)

        def augment(
            state: tuple[Int[Array, " q1"], Int[Array, ""], Int[Array, " q1"]],
        ) -> tuple[Int[Array, " q1"], Int[Array, ""], Int[Array, " q1"]]:
            owner, column, previous = state
            return owner.at[column].set(owner[previous[column]]), previous[column], previous

        none, far, root = jnp.zeros(q + 1, bool), jnp.full(q + 1, jnp.inf), jnp.full(q + 1, q)
        start = _Search(owner, u, v, jnp.array(q), none, far, root)
        found = jax.lax.while_loop(column_is_taken, extend, start)
        owner, _, _ = jax.lax.while_loop(lambda s: s[1] != q, augment, (found.owner, found.column, found.previous))
        return owner, found.u, found.v

    state = jnp.full(q + 1, -1), jnp.zeros(m), jnp.zeros(q + 1)
    owner, _, _ = jax.lax.fori_loop(0, real.sum(), insert, state)
    return owner[:q]
