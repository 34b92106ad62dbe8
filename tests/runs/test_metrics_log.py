"""What makes one checkpoint better than another."""

from remoteclip_jax.runs.metrics_log import ranking


def test_what_was_validated_comes_first_and_what_does_not_detect_yet_last() -> None:
    rows = [
        {"loss": 90.0, "val_map_50": 0.4},
        {"loss": 80.0, "val_map_50": 0.3},
        {"loss": 20.0},
        {"loss": 30.0},
        {"loss": 1.0, "align_loss": 1.0},
        {"loss": 2.0, "align_loss": 2.0},
    ]
    assert sorted([rows[i] for i in (5, 2, 0, 4, 1, 3)], key=ranking) == rows
    assert ranking({"val_loss": 0.5, "loss": 9.0}) < ranking({"val_loss": 0.6, "loss": 1.0}) < ranking({"loss": 0.1})
