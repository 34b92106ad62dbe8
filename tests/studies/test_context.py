"""The figures of `studies/context.py`."""

import numpy as np
import pytest

from studies.context import mean_average_precision


def test_presence_is_ranked_over_images() -> None:
    present = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
    assert mean_average_precision(present.astype(float), present) == pytest.approx(100)
    scores = np.array([[4, 0, 9], [3, 1, 9], [2, 3, 9], [1, 2, 9]], float)
    # First class: found at ranks 1 and 3; second: at 1 and 3 too (images 2, 3, 1); the third is in no image.
    assert mean_average_precision(scores, present) == pytest.approx(100 * (1 + 2 / 3) / 2)
