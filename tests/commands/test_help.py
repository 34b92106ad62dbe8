"""`--help` of each command lists all of its flags, and needs no JAX, which takes seconds to import."""

import re

import pytest

from remoteclip_jax.tasks.registry import TASKS, task_settings
from tests.command import run

PROGRAM = """
import runpy, sys
sys.modules["jax"] = None  # `import jax` is an error
sys.argv = [{name!r}, "--help"]
runpy.{run}({name!r}, run_name="__main__")
"""
FLAGS = {
    "train.py": {
        *("workdir", "task", "preset", "set"),
        *(
            name
            for task in TASKS
            for name, field in task_settings(task).config.__dataclass_fields__.items()
            if "setting" in field.metadata and field.metadata["setting"].help
        ),
    },
    "eval.py": {
        *("workdir", "task", "split", "data_dir", "dataset_format", "classes", "text_embeddings", "templates"),
        *("captions", "batch_size", "novel", "image_size", "max_detections", "bands", "skip_broken", "embeddings"),
        "frozen_tower",
    },
    "remoteclip_jax.detect": {
        *("workdir", "image", "prompts", "text_embeddings", "score_threshold", "image_size", "max_detections"),
        *("bands", "window", "gsd", "stretch", "batch_size", "output", "output_format", "geojson_crs"),
    },
    "remoteclip_jax.predict": {
        *("workdir", "images", "prompts", "text_embeddings", "score_threshold", "image_size", "max_detections"),
        *(
            "bands",
            "window",
            "gsd",
            "stretch",
            "batch_size",
            "output",
            "output_format",
            "shard_images",
            "recursive",
            "retry_errors",
            "ray",
        ),
        "workers",
    },
    "remoteclip_jax.benchmark": {
        *("task", "preset", "batch_size", "image_size", "dtype", "data_dir", "steps", "compare_torch"),
        *("profile_dir", "json", "torch_compile", "torch_minutes", "sheet", "part", "minutes", "output"),
    },
    "remoteclip_jax.data": {"data_dir", "output", "dataset_format", "classes", "skip_broken"},
    "convert.dataset": {
        *("data_dir", "dataset_format", "to", "output", "window", "overlap", "classes", "skip_broken"),
    },
    "convert.captions": {"data_dir", "dataset_format", "output", "seed", "classes", "skip_broken"},
    "remoteclip_jax.scenes": {"output", "train", "val", "test", "seed", "image_size"},
}


@pytest.mark.parametrize("name", FLAGS)
def test_help_lists_every_flag_without_jax(name: str) -> None:
    result = run("-c", PROGRAM.format(name=name, run="run_path" if name.endswith(".py") else "run_module"))
    listed = re.findall(r"^  --(?:\[no\])?(\w+):", result.stdout, flags=re.M)
    assert set(listed) - {"help", "helpfull", "helpshort", "helpxml"} == FLAGS[name], result.stderr[-2000:]
    assert "Traceback" not in result.stderr
