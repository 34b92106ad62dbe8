"""The arithmetic of the clock; nothing here depends on how fast anything is."""

import pytest

from remoteclip_jax.benchmark.clock import Action, alternating_times, quartiles, seconds_per_step, speed_ratios


def test_a_step_begins_before_the_last_one_is_waited_for() -> None:
    order: list[str] = []
    numbers = iter(range(100))

    def start() -> int:
        number = next(numbers)
        order.append(f"start {number}")
        return number

    seconds_per_step(Action(start, lambda number: order.append(f"wait {number}")), 3, warm_up=1)
    assert order == ["start 0", "wait 0", "start 1", "start 2", "wait 1", "start 3", "wait 2", "wait 3"]


def test_blocks_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remoteclip_jax.benchmark.clock.MIN_BLOCK_SECONDS", 0.0)
    order: list[str] = []
    seconds = alternating_times({name: Action(lambda name=name: order.append(name)) for name in "ab"}, 3)
    assert order[-6:] == list("ababab")
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_medians_and_ratios() -> None:
    assert quartiles([1.0, 2.0, 3.0, 4.0, 100.0]) == (3.0, 2.0, 4.0)
    assert quartiles([5.0]) == (5.0, 5.0, 5.0)
    assert speed_ratios([1.0, 2.0], [2.0, 2.0]) == [2.0, 1.0]
