"""Directories of weights: exact, atomic, and never silently damaged."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.model import Variables, init_shapes
from remoteclip_jax.clip.weights import load_weights, save_weights
from remoteclip_jax.errors import UserError, user_message

TINY = ARCHITECTURES["tiny"]


@pytest.fixture(scope="module")
def variables() -> Variables:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: np.asarray(rng.normal(size=s.shape), np.float32), init_shapes(TINY))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, variables: Variables) -> Path:
    directory = tmp_path_factory.mktemp("weights") / "deeper" / "tiny"
    save_weights(directory, TINY, variables, {"source": "a test"})
    return directory


def assert_same(a: Variables, b: Variables) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_round_trip_is_exact(saved: Path, variables: Variables) -> None:
    config, loaded = load_weights(saved)
    assert config == TINY
    assert_same(loaded, variables)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {np.dtype("float32")}
    assert sorted(p.name for p in saved.parent.iterdir()) == ["tiny"]
    content = json.loads((saved / "config.json").read_text())
    assert (content["format"], content["version"], content["source"]) == ("remoteclip_jax weights", 1, "a test")
    assert content["clip"] == json.loads(json.dumps(TINY.to_json()))


def test_one_tower_alone(tmp_path: Path, variables: Variables) -> None:
    frozen = {"params": {k: v for k, v in variables["params"].items() if k != "visual"}, "batch_stats": {}}
    save_weights(tmp_path / "w", TINY, frozen, {})
    assert_same(load_weights(tmp_path / "w")[1], frozen)


def test_relative_path_and_empty_directory(
    tmp_path: Path, variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w").mkdir()
    save_weights(Path("w"), TINY, variables, {})
    assert_same(load_weights(Path("w"))[1], variables)


def test_nothing_is_overwritten(tmp_path: Path, variables: Variables) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        save_weights(tmp_path, TINY, variables, {})
    with pytest.raises(UserError, match=r"keep\.txt"):
        save_weights(tmp_path / "keep.txt", TINY, variables, {})
    assert [p.name for p in tmp_path.iterdir()] == ["keep.txt"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, variables: Variables, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ValueError("RESOURCE_EXHAUSTED: write failed [OS error 28: No space left on device]")

    monkeypatch.setattr(ocp.StandardCheckpointer, "save", full)
    with pytest.raises(OSError, match="No space left") as error:
        save_weights(tmp_path / "w", TINY, variables, {})
    assert "disk" in (user_message(error.value) or "")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_removed(tmp_path: Path, variables: Variables) -> None:
    abandoned = tmp_path / ".w.999999999.partial"
    (abandoned / "params").mkdir(parents=True)
    with pytest.raises(UserError, match="not a directory of weights"):
        load_weights(abandoned)
    alive = tmp_path / ".w.1.partial"
    alive.mkdir()
    save_weights(tmp_path / "w", TINY, variables, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == [alive.name, "w"]


def test_every_damaged_file_is_noticed(tmp_path: Path, saved: Path) -> None:
    for file in [p.relative_to(saved) for p in saved.rglob("*") if p.is_file()]:
        content = (saved / file).read_bytes()
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 0x55]) + content[middle + 1 :]
        for damaged in (None, b"", content[:-7], flipped):
            copy = tmp_path / "copy"
            shutil.copytree(saved, copy)
            if damaged is None:
                (copy / file).unlink()
            else:
                (copy / file).write_bytes(damaged)
            with pytest.raises(UserError) as error:
                load_weights(copy)
            assert str(copy) in str(error.value)
            assert "\n" not in str(error.value)
            shutil.rmtree(copy)


def test_other_directories_are_refused(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        load_weights(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no config\.json"):
        load_weights(tmp_path)
    for content, message in [("[]", "not a directory"), ('{"format": "x"}', "not a directory"), ("{", "damaged")]:
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UserError, match=message):
            load_weights(tmp_path)
    content = json.loads((saved / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, "version": 2}))
    with pytest.raises(UserError, match="version 2"):
        load_weights(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"embed_dim": 32},
        {"vision_layers": [1, 1, 1, 2]},
        {"bogus": 1},
        {"text_heads": "2"},
        {"vision_layers": 3},
        {"arch": "another"},
    ],
)
def test_config_and_tensors_must_agree(tmp_path: Path, saved: Path, changed: dict) -> None:
    shutil.copytree(saved, tmp_path / "w")
    content = json.loads((saved / "config.json").read_text())
    clip = {**content["clip"], **changed}
    (tmp_path / "w" / "config.json").write_text(json.dumps({**content, "clip": clip}))
    if "arch" in changed:  # only a label
        load_weights(tmp_path / "w")
    else:
        with pytest.raises(UserError, match="convert the checkpoint again"):
            load_weights(tmp_path / "w")
