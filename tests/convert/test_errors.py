"""Everything that can be wrong with a checkpoint: one line that names the file and the trouble, and nothing written."""

import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convert import conversion
from convert.checkpoint_file import read_checkpoint
from convert.conversion import convert
from convert.to_torch import write_checkpoint
from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.clip.weights import load_weights, save_weights
from remoteclip_jax.errors import UserError
from tests.command import ROOT, environment, fails, run
from tests.mutations import damaged, refusal

State = dict[str, torch.Tensor]


class WritesAFile:
    """Unpickled without care, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def refused(checkpoint: Path | str, tmp_path: Path, arch: str = "tiny") -> str:
    """The message of a conversion that must fail with a UserError of one line and write nothing."""
    with pytest.raises(UserError) as error:
        convert(str(checkpoint), tmp_path / "weights", arch)
    message = str(error.value)
    assert str(checkpoint) in message
    assert "\n" not in message
    assert len(message) < 1500
    assert not (tmp_path / "weights").exists()
    return message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "visual.bn1.weight"}, r"1 missing: visual\.bn1\.weight$"),
        (lambda s: {**s, "visual.layer9.0.conv1.weight": s["logit_scale"]}, r"1 unexpected: visual\.layer9"),
        (lambda s: {**s, "head.weight": torch.zeros(3)}, r"1 unexpected: head\.weight$"),
        (
            lambda s: {**s, "text_projection": torch.zeros(64, 32)},
            r"1 of another shape: text_projection \[64, 32\], not ",
        ),
        (lambda s: {**s, "ln_final.bias": torch.full((64,), torch.nan)}, r"NaN or infinity in ln_final\.bias"),
        (lambda s: {**s, "visual.bn1.running_var": torch.full((8,), torch.inf)}, r"NaN or infinity in visual\.bn1"),
        (lambda s: {**s, "epoch": 3}, r"epoch is not a plain tensor but int"),
        (
            lambda s: {"visual.class_embedding": torch.zeros(3), "visual.proj": torch.zeros(3)},
            "this is a CLIP with a ViT",
        ),
        (lambda s: {"epoch": torch.tensor(3), "fc.weight": torch.zeros(3)}, r"no CLIP weights .*epoch, fc\.weight"),
        (lambda s: {}, "it is empty"),
        (lambda s: torch.zeros(3), "expected a state dict, found Tensor"),
        (lambda s: [1, 2], "expected a state dict, found list"),
    ],
)
def test_wrong_content(content: Callable[[State], Any], message: str, tiny_state: State, tmp_path: Path) -> None:
    torch.save(content(tiny_state), tmp_path / "bad.pt")
    assert re.search(message, refused(tmp_path / "bad.pt", tmp_path))


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (("logit_scale", "logit_bias", "visual.trunk.pos_embed", "text.text_projection.weight"), "a SigLIP;"),
        (
            ("logit_scale", "visual.trunk.stem.0.weight", "visual.trunk.stages.0.blocks.0.gamma"),
            "a CLIP with a ConvNeXt",
        ),
        (("logit_scale", "visual.trunk.cls_token", "text.ln_final.weight"), "a CLIP with an image tower of timm"),
        (("logit_scale", "visual.proj", "visual.conv1.weight", "ln_final.weight"), "a CLIP with a ViT;"),
        (("visual.proj", "text.cls_emb", "text_decoder.ln_final.weight"), "a CoCa"),
        (
            ("logit_scale", "text_model.final_layer_norm.bias", "vision_model.post_layernorm.bias"),
            "as Hugging Face stores",
        ),
        (("logit_bias", "vision_model.head.probe"), "a SigLIP as Hugging Face stores it"),
        (
            ("visual.layer1.0.conv1.weight", "text.transformer.embeddings.word_embeddings.weight"),
            "Hugging Face text tower",
        ),
        (("conv1.weight", "layer1.0.conv1.weight", "fc.weight", "fc.bias"), "a ResNet classifier"),
        (("backbone.layer1.0.conv1.weight",), "a ResNet without a text tower"),
        (("conv1.weight", "layer1.0.conv1.weight", "attnpool.q_proj.weight"), "the image tower of a CLIP alone"),
        (("class_token", "encoder.layers.encoder_layer_0.ln_1.weight"), "a vision transformer without a text tower"),
        (("base_model.model.visual.attnpool.q_proj.lora_A.weight",), "LoRA adapters"),
        (("model.0.conv.weight",), "a detector"),
    ],
)
def test_weights_of_another_kind_are_called_by_name(keys: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    torch.save({key: torch.zeros(3) for key in keys}, tmp_path / "other.pt")
    message = refused(tmp_path / "other.pt", tmp_path)
    assert f"this is {kind}" in message or kind in message
    assert "only CLIPs with a ModifiedResNet are converted" in message


def test_several_problems_are_named_together(tiny_state: State, tmp_path: Path) -> None:
    bad = {k: v for k, v in tiny_state.items() if k not in ("visual.conv1.weight", "ln_final.bias")}
    torch.save({**bad, "extra.a": torch.zeros(1), "text_projection": torch.zeros(1)}, tmp_path / "bad.pt")
    message = refused(tmp_path / "bad.pt", tmp_path)
    for part in ("2 missing", "visual.conv1.weight", "ln_final.bias", "1 unexpected: extra.a", "text_projection [1]"):
        assert part in message


def test_another_resnet_is_described(tiny_file: Path, tmp_path: Path) -> None:
    message = refused(tiny_file, tmp_path, arch="RN50")
    assert "layers (1, 1, 1, 1) of width 16, not (3, 4, 6, 3) of width 64" in message
    assert re.search(r"and \d+ more", message)


@pytest.mark.parametrize("cut", [0.0, 0.001, 0.5, 0.999])
def test_truncated_files(cut: float, tiny_file: Path, tmp_path: Path) -> None:
    content = tiny_file.read_bytes()
    (tmp_path / "cut.pt").write_bytes(content[: int(cut * len(content))])
    assert re.search("empty|cut short or damaged", refused(tmp_path / "cut.pt", tmp_path))


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors", "script"])
def test_mutated_files_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    """Whatever is wrong: one line that names the file. (Only the reading: a state dict of three tensors.)"""
    path = tmp_path / ("file.safetensors" if kind == "safetensors" else "file.pt")
    state = {"visual.conv1.weight": torch.zeros(2, 3), "logit_scale": torch.ones(()), "x": torch.ones(4).half()}
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "script":
        with warnings.catch_warnings(action="ignore"):  # deprecated, and still what OpenAI's files are
            torch.jit.trace(torch.nn.Linear(2, 3), torch.zeros(1, 2)).save(path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    for content in damaged(path.read_bytes(), 60):
        path.write_bytes(content)
        message = refusal(lambda: read_checkpoint(path))
        assert message is None or path.name in message


@pytest.mark.parametrize("name", ["noise.pt", "noise.safetensors"])
def test_files_that_are_something_else(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(1000))
    assert "not a PyTorch checkpoint" in refused(tmp_path / name, tmp_path)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    assert "no such checkpoint" in refused(tmp_path / "nowhere.pt", tmp_path)
    (tmp_path / "folder").mkdir()
    assert "this is a directory" in refused(tmp_path / "folder", tmp_path)


def test_code_in_a_pickle_is_not_run(tiny_state: State, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.save({**tiny_state, "x": WritesAFile(trap)}, tmp_path / "evil.pt")
    torch.save(WritesAFile(trap), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(WritesAFile(trap), protocol=2))
    (tmp_path / "new.pt").write_bytes(pickle.dumps(WritesAFile(trap), protocol=5))
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("model/constants.pkl", b"")
        archive.writestr("model/data.pkl", pickle.dumps(WritesAFile(trap), protocol=2))
    for name in ("evil.pt", "old.pt", "bare.pt", "new.pt", "script.pt"):
        message = refused(tmp_path / name, tmp_path)
        assert "refused" in message
        assert "run code" in message
        assert not trap.exists()
    pickle.loads((tmp_path / "bare.pt").read_bytes())
    assert trap.exists()  # the trap does work


def test_damaged_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("model/constants.pkl", b"")
    assert "damaged" in refused(tmp_path / "script.pt", tmp_path)


def test_a_failed_certificate_leaves_nothing(tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = conversion.load_weights

    def load_altered(directory: Path) -> Any:
        config, variables = load(directory)
        variables["params"]["text"]["text_projection"][0] += 0.1
        return config, variables

    monkeypatch.setattr(conversion, "load_weights", load_altered)
    with pytest.raises(UserError, match="not written, because its embeddings differ"):
        convert(str(tiny_file), tmp_path / "weights", "tiny", check=True)
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_kept(tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for check in (False, True):
        with pytest.raises(UserError, match="not empty"):
            convert(str(tiny_file), tmp_path, "tiny", check)
    assert (tmp_path / "mine").read_text() == "mine"


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: str) -> str:
        raise ConnectionError("Name or service not known\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    message = refused("hf://chendelong/RemoteCLIP/RemoteCLIP-RN50.pt", tmp_path)
    assert "the download failed (Name or service not known)" in message
    assert "expected hf://" in refused("hf://RemoteCLIP-RN50.pt", tmp_path)


def test_download(tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda **kw: asked.update(kw) or str(tiny_file))
    convert("hf://chendelong/RemoteCLIP/RemoteCLIP-RN50.pt", tmp_path / "weights", "tiny")
    assert asked == {"repo_id": "chendelong/RemoteCLIP", "filename": "RemoteCLIP-RN50.pt"}
    load_weights(tmp_path / "weights")


def test_without_torch(tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"torch is not installed: pip install 'remoteclip-jax\[convert\]'"):
        convert(str(tiny_file), tmp_path / "weights", "tiny")


def test_to_torch_refusals(tiny_file: Path, tmp_path: Path) -> None:
    convert(str(tiny_file), tmp_path / "weights", "tiny")
    (tmp_path / "there.pt").write_text("mine")
    with pytest.raises(UserError, match=r"there\.pt: this file exists"):
        write_checkpoint(tmp_path / "weights", tmp_path / "there.pt")
    config, variables = load_weights(tmp_path / "weights")
    save_weights(tmp_path / "text", config, {"params": {"text": variables["params"]["text"]}, "batch_stats": {}}, {})
    with pytest.raises(UserError, match="holds a text tower alone"):
        write_checkpoint(tmp_path / "text", tmp_path / "back.pt")
    with pytest.raises(UserError, match="no such directory"):
        write_checkpoint(tmp_path / "nowhere", tmp_path / "back.pt")


def test_command_lines(tiny_file: Path, tmp_path: Path) -> None:
    done = run("-m", "convert", f"--checkpoint={tiny_file}", f"--output={tmp_path / 'w'}", "--arch=tiny", "--verify")
    assert done.returncode == 0, done.stderr
    assert "within the bound" in done.stdout
    back = run("-m", "convert.to_torch", f"--weights={tmp_path / 'w'}", f"--output={tmp_path / 'back.pt'}")
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "back.pt").stat().st_size > 1e6
    (tmp_path / "cut.pt").write_bytes(tiny_file.read_bytes()[:1000])
    assert "cut.pt" in fails("-m", "convert", f"--checkpoint={tmp_path / 'cut.pt'}", f"--output={tmp_path / 'x'}")


@pytest.mark.parametrize("moment", ["_digests", "_flush"])
def test_a_killed_conversion_leaves_nothing_at_its_output(moment: str, tiny_file: Path, tmp_path: Path) -> None:
    # Killed when the tensors are on the disk and config.json is not, and just before the rename.
    program = (
        "import os, pathlib; from convert.conversion import convert; from remoteclip_jax.clip import weights; "
        f"weights.{moment} = lambda *_: os.kill(os.getpid(), 9); "
        f"convert({str(tiny_file)!r}, pathlib.Path({str(tmp_path / 'weights')!r}), 'tiny')"
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment(), check=False)
    assert killed.returncode == -9
    left = os.listdir(tmp_path)
    assert len(left) == 1
    assert left[0].endswith(".partial")
    with pytest.raises(UserError):
        load_weights(tmp_path / "weights")
    if moment == "_digests":
        with pytest.raises(UserError, match=r"no config\.json"):
            load_weights(tmp_path / left[0])
    convert(str(tiny_file), tmp_path / "weights", "tiny")
    assert os.listdir(tmp_path) == ["weights"]
    assert load_weights(tmp_path / "weights")[0] == ARCHITECTURES["tiny"]
