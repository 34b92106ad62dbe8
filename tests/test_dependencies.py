"""What the package imports is what it says it needs."""

import ast
import re
import sys
import tomllib
from pathlib import Path

from tests.command import ROOT

# Modules whose distribution has another name.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "cv2": "opencv-python-headless",
    "markdown_it": "markdown-it-py",
    "open_clip": "open-clip-torch",
    "orbax": "orbax-checkpoint",
    "yaml": "pyyaml",
}
INDIRECT = {"etils", "jaxlib", "safetensors"}  # they come with orbax, jax and open_clip, which are named
OWN = {"remoteclip_jax", "convert"}


def imported(folder: Path) -> set[str]:
    """The distributions that the modules of a folder import."""
    modules = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(str(node.module).split(".")[0])
    third_party = modules - set(sys.stdlib_module_names) - OWN - INDIRECT
    return {DISTRIBUTIONS.get(name, name) for name in third_party}


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[ ]", requirement)[0].replace("_", "-") for requirement in requirements}


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core, extras = declared(project["dependencies"]), project["optional-dependencies"]
    optional = declared([name for extra in ("geo", "parquet", "ray") for name in extras[extra]])
    assert imported(ROOT / "remoteclip_jax") <= core | optional
    assert imported(ROOT / "convert") <= core | declared(extras["convert"])
