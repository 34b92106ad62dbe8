"""Score thresholds: below which score detections are left out, for all classes together and for single ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from remoteclip_jax.data.classes import find_class_index

DEFAULT_THRESHOLD = 0.3  # of a detector for which none was fitted


@dataclass(frozen=True)
class Thresholds:
    """The score thresholds of a detector, each the one with the best F1 on the split `split` (see
    `evaluation.thresholds.best_f1`).

    `overall` is that of all classes together, where F1 is `f1`. `per_class` has those of single classes, by name;
    classes with few objects have none of their own.
    """

    overall: float
    f1: float
    per_class: Mapping[str, float]
    split: str

    def by_name(self, names: Sequence[str]) -> dict[str, float]:
        """The thresholds of those of `names` that have one of their own, whatever their spelling."""
        classes = tuple(self.per_class)
        found = {name: find_class_index(name, classes) for name in names}
        return {name: self.per_class[classes[index]] for name, index in found.items() if index is not None}


def thresholds_of(
    fitted: Thresholds | None, names: Sequence[str], novel: Sequence[str] = ()
) -> Float32[np.ndarray, " k"]:
    """The threshold for each of the prompts `names`: its own, or else the overall one; 0.3 if none were `fitted`, and
    for `novel` ones, whose scores are on another scale than those that were fitted (see `regions`)."""
    if fitted is None:
        return np.full(len(names), DEFAULT_THRESHOLD, np.float32)
    own = {**fitted.by_name(names), **dict.fromkeys(novel, DEFAULT_THRESHOLD)}
    return np.array([own.get(name, fitted.overall) for name in names], np.float32)
