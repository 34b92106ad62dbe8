"""The recipe of docs/contrast.md, from captions to a detector: its commands parse, and run one after the other."""

import json
import os
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import jax
import pytest

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.model import init
from remoteclip_jax.clip.weights import save_weights
from tests.command import ROOT, environment, run
from tests.test_readme import commands

PAGE = ROOT / "docs" / "contrast.md"
RECIPE = [shlex.split(line)[1:] for line in commands(PAGE) if line.startswith("python ")]
MODULES = {"train.py": "remoteclip_jax.commands.train", "eval.py": "remoteclip_jax.commands.evaluate"}
SMALL = ("--preset=tiny", "--max_steps=2")
FEW_IMAGES = ("--set=synthetic_train=16", "--set=synthetic_val=4", "--set=synthetic_test=2")

PARSE = """
import importlib, json, sys
sys.modules["jax"] = None  # `import jax` is an error
from absl import flags
module, cases = json.loads(sys.argv[1])
command = importlib.import_module(module)
for arguments in cases:
    flags.FLAGS.unparse_flags()
    rest = flags.FLAGS([module, *arguments])
    assert rest == [module], rest
    if module.endswith(".train"):
        from remoteclip_jax.tasks.configuration import new_config
        print(new_config(command._user_settings() | {"set": command._set_assignments()}).task)
"""


def test_every_command_parses() -> None:
    """All flags exist and have valid values, and the settings of a training fit its task. Nothing is run."""
    cases: dict[str, list[list[str]]] = defaultdict(list)
    for first, *rest in RECIPE:
        module = rest.pop(0) if first == "-m" else MODULES[first]
        cases[module.replace("remoteclip_jax.detect", "remoteclip_jax.commands.detect")].append(rest)
    assert len(cases) == 4, list(cases)
    for module, arguments in cases.items():
        result = run("-c", PARSE, json.dumps([module, arguments]))
        assert result.returncode == 0, (module, result.stderr[-2000:])


@pytest.mark.slow
def test_the_recipe_runs(synthetic_data: Path, tmp_path: Path) -> None:
    """In a folder that has what the page takes for granted: boxes in DIR, converted weights, and photos. Trainings are
    made short; else the commands are as the page has them."""
    shape = architecture("tiny")
    save_weights(tmp_path / "weights" / "remoteclip-rn50", shape, init(shape, jax.random.key(0)), {})
    (tmp_path / "DIR").symlink_to(synthetic_data)
    (tmp_path / "photos").mkdir()
    photo = sorted((synthetic_data / "images").iterdir())[0]
    (tmp_path / "photos" / "photo.jpg").write_bytes(photo.read_bytes())
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    for first, *rest in RECIPE:
        command = [first if first == "-m" else str(ROOT / first), *rest]
        if first == "train.py":
            command += SMALL
            command += [] if any(word.startswith("--data_dir=") for word in rest) else FEW_IMAGES
        result = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env=environment() | paths,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert result.returncode == 0, (command, result.stderr[-2000:])

    def metrics(path: str) -> dict[str, object]:
        content: dict[str, object] = json.loads((tmp_path / path / "metrics.json").read_text())
        return content

    assert (tmp_path / "runs/stand-in/data/captions.json").exists()
    for path in ("runs/my-clip/eval/val", "weights/remoteclip-rn50/eval/val-retrieval"):
        assert metrics(path)["evaluation"] == "retrieval"
        assert metrics(path)["captions"] == 50
    assert len(metrics("runs/my-clip/eval/val-classification")["templates"]) == 18  # type: ignore[arg-type]
    assert (tmp_path / "runs/my-detector/frozen_tower").is_dir()
    assert metrics("runs/my-detector/eval/test")["novel"] == ["airport", "windmill"]
    assert (tmp_path / "found/photo.json").exists()
