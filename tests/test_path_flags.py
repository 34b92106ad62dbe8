"""`~` in a path flag is the home directory, for every path flag of every command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from remoteclip_jax.path_flags import DEFINE_path
from tests.command import ROOT, environment, fails

PATHS = {
    "workdir",
    "output",
    "data_dir",
    "image",
    "weights",
    "checkpoint",
    "classes",
    "text_embeddings",
    "embeddings",
    "captions",
    "images",
    "profile_dir",
    "json",
    "scenes",
    "texts",
}


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> flags.FlagHolder:
    monkeypatch.setattr(flags, "FLAGS", flags.FlagValues())
    return DEFINE_path("place", None, "a place", flag_values=flags.FLAGS)


def test_values(path: flags.FlagHolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for given, meant in (
        ("~", "/home/me"),
        ("~/a b/*.jpg", "/home/me/a b/*.jpg"),
        ("a/~/b", "a/~/b"),
        ("./~", "./~"),
        ("/x", "/x"),
        ("hf://owner/repository/file.pt", "hf://owner/repository/file.pt"),
        ("a[1]", "a[1]"),
    ):
        flags.FLAGS(["program", f"--place={given}"])
        assert path.value == meant
        flags.FLAGS.unparse_flags()
    for empty in ("", " "):
        with pytest.raises(flags.IllegalFlagValueError, match="the path is empty"):
            flags.FLAGS(["program", f"--place={empty}"])


def test_every_path_is_such_a_flag() -> None:
    sources = [
        *ROOT.glob("*.py"),
        *(ROOT / "convert").rglob("*.py"),
        *(ROOT / "remoteclip_jax").rglob("*.py"),
        *(ROOT / "studies").rglob("*.py"),
    ]
    defined = [match for s in sources for match in re.findall(r'DEFINE_(\w+)\(\s*"(\w+)"', s.read_text())]
    assert {kind for kind, name in defined if name in PATHS} == {"path"}
    assert {name for kind, name in defined if kind == "path"} <= PATHS


def test_a_command_writes_to_the_home_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "remoteclip_jax.scenes", "--output=~/drawn", "--image_size=64"]
    counts = ["--train=1", "--val=0", "--test=0"]
    subprocess.run([*command, *counts], cwd=ROOT, env={**environment(), "HOME": str(tmp_path)}, check=True)
    assert os.listdir(tmp_path) == ["drawn"]


def test_an_empty_path_is_one_line() -> None:
    assert "--workdir=: the path is empty" in fails("train.py", "--workdir=")
