"""What makes one checkpoint better than another."""

from remoteclip_jax.runs.metrics_log import checkpoint_ranking
from remoteclip_jax.tasks.align.task import ranking as align_ranking
from remoteclip_jax.tasks.detect.task import ranking as detect_ranking


def test_what_was_validated_comes_first_and_what_does_not_detect_yet_last() -> None:
    order = checkpoint_ranking(detect_ranking)
    rows = [
        {"loss": 90.0, "val_map_50": 0.4},
        {"loss": 80.0, "val_map_50": 0.3},
        {"loss": 20.0},
        {"loss": 30.0},
        {"loss": 1.0, "align_loss": 1.0},
        {"loss": 2.0, "align_loss": 2.0},
        {"step": 40, "partial": {}},
        {"step": 30, "partial": {}},
    ]
    assert sorted([rows[i] for i in (7, 5, 2, 0, 6, 4, 1, 3)], key=order) == rows


def test_align_ranks_by_the_validation_loss() -> None:
    order = checkpoint_ranking(align_ranking)
    assert order({"val_loss": 0.5, "loss": 9.0}) < order({"val_loss": 0.6, "loss": 1.0}) < order({"loss": 0.1})
