"""Many small arrays as a few long vectors: how the state of a training lies in the device's memory.

A detector has six hundred parameters, most of them small. Array by array, the optimizer, the moving average and the
norm of the gradient would take thousands of kernels on a GPU, each shorter than its own start, and on a CPU a step
would begin by handing over thousands of buffers. Checkpoints keep the tree (see `training.state`).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LARGE = 2**19  # elements from which an array has a vector of its own, because copying it costs more than a kernel


@dataclass(frozen=True)
class Slot:
    """Where an array lies: in the vector of its `group` from `offset` on, or (None) in a vector of its own."""

    path: str
    shape: tuple[int, ...]
    group: str
    offset: int | None

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)  # compared by identity, because every call of a compiled function compares it
class Layout:
    """The slots of a tree's leaves, in their order."""

    structure: Any
    slots: tuple[Slot, ...]

    def pack(self, tree: Any) -> "Packed":
        """The leaves of `tree`, all of one type. A leaf may be a placeholder of Optax, if all of its group are."""
        leaves = self.structure.flatten_up_to(tree)
        own = {s.path: _concatenate([leaf]) for s, leaf in zip(self.slots, leaves, strict=True) if s.offset is None}
        groups: dict[str, list[Any]] = {}
        for slot, leaf in zip(self.slots, leaves, strict=True):
            if slot.offset is not None:
                groups.setdefault(slot.group, []).append(leaf)
        return Packed({name: _concatenate(parts) for name, parts in groups.items()}, own, self)


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False)
class Packed:
    """A packed tree: a vector for each group of small leaves, and one for each `large` leaf, by its path.

    A value may also be what `jax.tree.map` or Optax puts in its place. Large leaves are vectors too, since XLA would
    else choose another memory layout for convolutions, and copy.
    """

    vectors: dict[str, Any]
    large: dict[str, Any]
    layout: Layout

    def unpack(self) -> Any:
        """The tree."""
        return jax.tree.unflatten(self.layout.structure, [self._leaf(slot) for slot in self.layout.slots])

    def groups(self) -> "Packed":
        """The name of the group in place of every array."""
        own = {slot.path: slot.group for slot in self.layout.slots if slot.offset is None}
        return Packed({name: name for name in self.vectors}, own, self.layout)

    def _leaf(self, slot: Slot) -> Any:
        vector = self.large[slot.path] if slot.offset is None else self.vectors[slot.group]
        if not hasattr(vector, "shape"):  # a placeholder
            return vector
        start = slot.offset or 0
        return vector[start : start + slot.size].reshape(slot.shape)

    def tree_flatten(self) -> tuple[tuple[dict[str, Any], dict[str, Any]], Layout]:
        """JAX's view of this node."""
        return (self.vectors, self.large), self.layout

    @classmethod
    def tree_unflatten(cls, layout: Layout, children: tuple[dict[str, Any], dict[str, Any]]) -> "Packed":
        """The inverse of `tree_flatten`."""
        return cls(*children, layout)


def pack(tree: Any, groups: Any) -> Packed:
    """`tree` packed; `groups` is a tree of the same structure with the names of the leaves' groups."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    structure: Any = jax.tree.structure(tree)
    keys = tuple(("/".join(str(key.key) for key in path), tuple(np.shape(leaf))) for path, leaf in leaves)
    return _layout(structure, keys, tuple(structure.flatten_up_to(groups))).pack(tree)


def is_packed(node: Any) -> bool:
    """Whether a node of a tree is a packed tree."""
    return isinstance(node, Packed)


@cache
def _layout(structure: Any, keys: tuple[tuple[str, tuple[int, ...]], ...], groups: tuple[str, ...]) -> Layout:
    slots, ends = [], dict.fromkeys(groups, 0)
    for (path, shape), group in zip(keys, groups, strict=True):
        slot = Slot(path, shape, group, ends[group])
        if slot.size >= LARGE:
            slot = Slot(path, shape, group, None)
        else:
            ends[group] += slot.size
        slots.append(slot)
    return Layout(structure, tuple(slots))


def _concatenate(parts: list[Any]) -> Any:
    if not hasattr(parts[0], "shape"):  # a placeholder
        return parts[0]
    on_host = all(isinstance(part, np.ndarray | np.generic) for part in parts)
    if on_host:
        return np.concatenate([np.ravel(part) for part in parts])
    return jnp.concatenate([jnp.ravel(part) for part in parts])
