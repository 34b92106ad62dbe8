""".pt → Orbax → .pt, bit for bit, in every wrapping that a checkpoint comes in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convert.conversion import convert
from convert.to_torch import write_checkpoint
from convert.torchscript import is_torchscript, read_torchscript
from convert.verify import BOUND, torch_model
from remoteclip_jax.clip.config import ARCHITECTURES, CLIPConfig
from remoteclip_jax.clip.weights import load_weights
from tests.torch_reference import random_clip

State = dict[str, torch.Tensor]


def assert_identical(file: Path, state: State, config: CLIPConfig) -> None:
    """`file` holds `state` bit for bit, counters excepted, and open_clip loads it strictly."""
    back = torch.load(file, weights_only=True)
    assert type(back) is dict
    assert back.keys() == state.keys()
    for key, value in state.items():
        if not key.endswith("num_batches_tracked"):
            assert back[key].dtype == torch.float32
            assert back[key].shape == value.shape
            assert back[key].numpy().tobytes() == value.numpy().tobytes(), key
    with torch.device("meta"):  # without the time for random weights
        torch_model(config).load_state_dict(back, strict=True, assign=True)


def round_trip(file: Path, state: State, tmp_path: Path) -> None:
    convert(str(file), tmp_path / "weights", "tiny")
    write_checkpoint(tmp_path / "weights", tmp_path / "back.pt")
    assert_identical(tmp_path / "back.pt", state, ARCHITECTURES["tiny"])


def test_rn50_with_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ARCHITECTURES["RN50"]
    state = random_clip(config, seed=0).state_dict()
    torch.save(state, tmp_path / "RN50.pt")
    convert(str(tmp_path / "RN50.pt"), tmp_path / "weights", check=True)
    assert "within the bound" in capsys.readouterr().out
    write_checkpoint(tmp_path / "weights", tmp_path / "back.pt")
    assert_identical(tmp_path / "back.pt", state, config)


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"state": {}}},
    "model": lambda state: {"model": state},
    "prefixed": lambda state: {f"module.{key}": value for key, value in state.items()},
    "wrapped and prefixed": lambda state: {"state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}},
    "without counters": lambda state: {k: v for k, v in state.items() if "num_batches" not in k},
    "with OpenAI's constants": lambda state: {**state, "input_resolution": torch.tensor(64)},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings(wrapping: str, tiny_state: State, tmp_path: Path) -> None:
    torch.save(WRAPPINGS[wrapping](tiny_state), tmp_path / "wrapped.pt")
    round_trip(tmp_path / "wrapped.pt", tiny_state, tmp_path)


def test_safetensors(tiny_state: State, tmp_path: Path) -> None:
    save_file(tiny_state, tmp_path / "tiny.safetensors")
    round_trip(tmp_path / "tiny.safetensors", tiny_state, tmp_path)


def test_legacy_pickle(tiny_state: State, tmp_path: Path) -> None:
    torch.save(tiny_state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    round_trip(tmp_path / "old.pt", tiny_state, tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype, tiny_state: State, tmp_path: Path) -> None:
    half = {key: value.to(dtype) if value.is_floating_point() else value for key, value in tiny_state.items()}
    torch.save(half, tmp_path / "half.pt")
    widened = {key: value.float() if value.is_floating_point() else value for key, value in half.items()}
    round_trip(tmp_path / "half.pt", widened, tmp_path)


@pytest.mark.filterwarnings("ignore")  # tracing is on its way out; OpenAI's files stay
def test_openai_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    quick = CLIPConfig(**{**ARCHITECTURES["tiny"].to_json(), "arch": "tiny-quickgelu", "quick_gelu": True})
    monkeypatch.setitem(ARCHITECTURES, "tiny-quickgelu", quick)
    model = random_clip(quick, seed=2)
    state = model.state_dict()
    model.register_buffer("input_resolution", torch.tensor(64))
    with torch.no_grad():
        traced = torch.jit.trace(model, (torch.zeros(1, 3, 64, 64), torch.zeros(1, 77, dtype=torch.long)))
    traced.save(str(tmp_path / "openai.pt"))
    assert is_torchscript(tmp_path / "openai.pt")
    tensors = read_torchscript(tmp_path / "openai.pt")
    for key, value in state.items():
        np.testing.assert_array_equal(tensors[key], value.numpy())

    convert(str(tmp_path / "openai.pt"), tmp_path / "weights", "tiny", check=True)
    assert "tiny-quickgelu, not tiny" in capsys.readouterr().out
    assert load_weights(tmp_path / "weights")[0] == quick
    write_checkpoint(tmp_path / "weights", tmp_path / "back.pt")
    assert_identical(tmp_path / "back.pt", state, quick)


def test_certificate_of_the_written_weights(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(str(tiny_file), tmp_path / "weights", "tiny", check=True)
    printed = capsys.readouterr().out
    for name in ("stem", "layer1", "layer4", "attnpool", "image embeddings", "text", f"{BOUND:.0e}"):
        assert name in printed
    assert [p.name for p in tmp_path.iterdir()] == ["weights"]
    assert json.loads((tmp_path / "weights" / "config.json").read_text())["source"] == "tiny.pt"
