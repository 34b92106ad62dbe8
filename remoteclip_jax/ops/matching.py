"""Hungarian matching of queries and objects (Carion et al. 2020, DETR): batched, and with static shapes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

STEPS_AT_ONCE = 4  # of the search between two looks at whether it has ended, for which a GPU waits for the host


def match(cost: Float[Array, "n q m"], real: Bool[Array, "n m"]) -> Int[Array, "n q"]:
    """The index of each query's object, or −1. `real` is False for padding.

    The sum of the costs over real objects is minimal. With more objects than queries every query gets an object. Costs
    that are not finite count as very high or very low, so that they cannot spoil the other matches.
    """
    n, q, m = cost.shape
    if not m:
        return jnp.full((n, q), -1)
    cost = jnp.nan_to_num(cost.astype(jnp.float32), nan=1e4, posinf=1e4, neginf=-1e4).swapaxes(1, 2)
    if m > q:  # dummy queries, more expensive than any choice among the real ones, take the unmatched objects
        expensive = 1 + 2 * jnp.max(jnp.abs(cost), (1, 2), keepdims=True)
        cost = jnp.concatenate([cost, jnp.broadcast_to(expensive, (n, m, m - q))], 2)
    start = jax.vmap(_start)(cost, real)
    steps = jax.vmap(_step)

    def advance(search: _Search) -> _Search:
        return jax.lax.fori_loop(0, STEPS_AT_ONCE, lambda _, state: steps(cost, state), search)

    return jax.lax.while_loop(lambda search: (search.root >= 0).any(), advance, start).owner[:, :q]


class _Search(NamedTuple):
    """The state of a matching of m rows (objects) and q columns (queries), m ≤ q, that is still being completed.

    Unmatched rows are inserted one after the other. Each looks for the shortest path to a free column, on which the
    rows it meets move on to other columns. Dual variables of rows are kept with the columns they own.
    """

    owner: Int[Array, " q"]  # the row that each column is matched to, or −1
    u: Float[Array, " q"]  # the dual variable of that row
    v: Float[Array, " q"]  # the dual variables of the columns
    waiting: Bool[Array, " m"]  # rows that are still to be inserted
    minimum: Float[Array, " m"]  # of each row's costs: its dual variable until it is inserted
    root: Int[Array, ""]  # the row that is being inserted; −1 when all are
    root_u: Float[Array, ""]
    column: Int[Array, ""]  # the column reached last; q at the root
    free: Bool[Array, ""]  # whether that column has no owner: then the path is walked back
    length: Float[Array, ""]  # of the path to it
    used: Bool[Array, " q"]
    distance: Float[Array, " q"]  # of every column from the root
    previous: Int[Array, " q"]  # the column before each one on its shortest path; q is the root


def _start(cost: Float[Array, "m q"], real: Bool[Array, " m"]) -> _Search:
    """Every row gets its cheapest column, unless an earlier row has it. With the rows' minima as dual variables this is
    the optimum for the rows that are matched, and the others are few."""
    m, q = cost.shape
    minimum, cheapest = cost.min(1), cost.argmin(1)
    wanted = (cheapest[:, None] == jnp.arange(q)) & real[:, None]
    owner = jnp.where(wanted.any(0), wanted.argmax(0), -1)
    waiting = real & (owner[cheapest] != jnp.arange(m))
    u = jnp.where(owner >= 0, minimum[owner], 0)
    none, zero = jnp.full(q, q), jnp.zeros((), cost.dtype)
    columns = jnp.zeros(q, bool), jnp.full(q, jnp.inf, cost.dtype), none
    first = _Search(
        owner,
        u,
        jnp.zeros(q, cost.dtype),
        waiting,
        minimum,
        jnp.array(-1),
        zero,
        jnp.array(q),
        jnp.array(False),
        zero,
        *columns,
    )
    return _next_row(first)


def _next_row(s: _Search) -> _Search:
    """Begin with the next waiting row, if there is one."""
    row = jnp.where(s.waiting.any(), s.waiting.argmax(), -1)
    q = len(s.owner)
    return s._replace(
        waiting=s.waiting & (jnp.arange(len(s.waiting)) != row),
        root=row,
        root_u=s.minimum[row],
        column=jnp.array(q),
        free=jnp.array(False),
        length=jnp.zeros_like(s.length),
        used=jnp.zeros(q, bool),
        distance=jnp.full_like(s.distance, jnp.inf),
        previous=jnp.full(q, q),
    )


def _step(cost: Float[Array, "m q"], s: _Search) -> _Search:
    """One step of the shortest augmenting paths (Jonker and Volgenant 1987), the algorithm of scipy and optax: either
    one column more is reached, or one row on the path to the free column moves."""
    q = len(s.owner)
    columns = jnp.arange(q)
    at_root = s.column == q
    here = jnp.minimum(s.column, q - 1)

    # Extend: the distances over the row that owns the column reached last, and the nearest column.
    row = jnp.where(at_root, s.root, s.owner[here])
    reduced = s.length + cost[row] - jnp.where(at_root, s.root_u, s.u[here]) - s.v
    closer = ~s.used & (reduced < s.distance)
    distance, previous = jnp.where(closer, reduced, s.distance), jnp.where(closer, s.column, s.previous)
    nearest = jnp.argmin(jnp.where(s.used, jnp.inf, distance))
    length, free = distance[nearest], s.owner[nearest] < 0
    # At the end of the path the dual variables of what it has reached change.
    slack = jnp.where(s.used & free, length - distance, 0)
    extended = s._replace(
        u=s.u + slack,
        v=s.v - slack,
        root_u=s.root_u + jnp.where(free, length, 0),
        column=nearest,
        free=free,
        length=length,
        used=s.used | ((columns == nearest) & ~free),
        distance=distance,
        previous=previous,
    )

    # Walk back: the column gets the owner of the column before it.
    before = s.previous[here]
    last, source = before == q, jnp.minimum(before, q - 1)
    is_here = columns == s.column
    moved = s._replace(
        owner=jnp.where(is_here, jnp.where(last, s.root, s.owner[source]), s.owner),
        u=jnp.where(is_here, jnp.where(last, s.root_u, s.u[source]), s.u),
        column=before,
    )
    moved = jax.tree.map(lambda a, b: jnp.where(last, a, b), _next_row(moved), moved)
    new = jax.tree.map(lambda a, b: jnp.where(s.free, a, b), moved, extended)
    return _Search(*jax.tree.map(lambda a, b: jnp.where(s.root >= 0, a, b), new, s))
