"""Comparing batches."""

import numpy as np

from remoteclip_jax.data.pipeline import Batch


def assert_batches_equal(left: list[Batch], right: list[Batch]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
