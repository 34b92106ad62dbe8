"""The compiled step: compiled once for each kind of batch, and refused with a remedy where memory is short."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runtime.devices import parallel, replicate, split_batch
from remoteclip_jax.training import program
from remoteclip_jax.training.program import GIB, USABLE_SHARE, Program
from remoteclip_jax.training.state import create_state

CONFIG = TrainConfig(batch_size=16)
STATE = create_state({"params": {"visual": {"w": np.ones(3, np.float32)}}, "batch_stats": {}}, CONFIG)


class FakeStep:
    """Stands for a parallel function whose program has a state of 2 GiB and needs 16 GiB beside it."""

    def lower(self, *_: Any) -> "FakeStep":
        return self

    def compile(self) -> "FakeStep":
        return self

    def memory_analysis(self) -> SimpleNamespace:
        sizes = {"argument": 2 * GIB, "output": 2 * GIB, "alias": 2 * GIB, "temp": 16 * GIB}
        return SimpleNamespace(**{f"{name}_size_in_bytes": size for name, size in sizes.items()})

    def __call__(self, state: Any, _: Any) -> tuple[Any, dict[str, Any]]:
        return state, {}


def start(monkeypatch: pytest.MonkeyPatch, gib: float, config: TrainConfig = CONFIG, step: Any = None) -> Any:
    monkeypatch.setattr(program, "free_device_memory", lambda: int(gib * GIB / USABLE_SHARE))
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    return Program(step or FakeStep(), config)(STATE, {"image": np.zeros((16, 4))})[0]


@pytest.mark.parametrize("gib", [0.0, 80.0, 16.1])
def test_enough_memory(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    assert start(monkeypatch, gib) is STATE


@pytest.mark.parametrize(("gib", "batch_size"), [(15.0, 14), (8.1, 8), (2.5, 2)])
def test_a_batch_that_does_not_fit(monkeypatch: pytest.MonkeyPatch, gib: float, batch_size: int) -> None:
    expected = rf"=16 takes 16.0 GiB, and {gib:.1f} are free: --batch_size={batch_size} should fit; --set=remat=true"
    with pytest.raises(UserError, match=expected):
        start(monkeypatch, gib)


def test_nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="choose a smaller --image_size"):
        start(monkeypatch, 1.0, TrainConfig(batch_size=16, remat=True))


def test_a_compiler_that_runs_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted(FakeStep):
        def compile(self) -> "FakeStep":
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 byte")

    with pytest.raises(UserError, match="does not fit into the device's memory: --batch_size=8 should fit"):
        start(monkeypatch, 80.0, step=Exhausted())


def test_each_kind_of_batch_is_compiled_once(capsys: pytest.CaptureFixture[str]) -> None:
    def step(state: Any, batch: Any) -> Any:
        return state._replace(step=state.step + 1), {"sum": jax.lax.psum(batch["x"].sum(), "batch")}

    run, state = Program(parallel(step, donate_first=True), CONFIG), replicate(STATE)
    for size in (4, 4, 8, 4, 8):
        state, metrics = run(state, split_batch({"x": np.ones((size, 3), np.float32)}))
        assert float(metrics["sum"]) == 3 * size
    assert int(state.step) == 5
    assert capsys.readouterr().out.count("compiling the training step") == 2
