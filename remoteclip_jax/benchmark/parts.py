"""The parts of the sheet: all that the documentation says of a device's speed, the most important first."""

from dataclasses import dataclass
from typing import Any

from remoteclip_jax.benchmark.jobs import Job
from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.registry import TASKS, task_settings

STEPS = 20  # of training, to time
INFERENCE_BATCHES = {"align": (1, 32), "detect": (1, 8)}
MEMORY_BATCHES = (4, 8, 16)
LARGE = {"batch_size": 256, "dtype": "bfloat16", "synthetic_train": 256}
LONGEST_MINUTES = 10.0  # that any part may take
PART_NAMES = ("detect-step", "align-step", "align-large", "inference", "profile", "memory", "torch", "train")


@dataclass(frozen=True)
class Part:
    """A part of the sheet: jobs that run one after the other, and end after `minutes` in total."""

    name: str
    minutes: float
    jobs: tuple[Job, ...]


def sheet_parts(preset: str | None, data_dir: str | None, torch_compile: str | None) -> list[Part]:
    """The parts in their order. The preset is that of the tasks that have one of this name; the others have their
    defaults. A training is among the parts if there are data. UserError for an unknown preset."""
    presets = {task: task_settings(task).presets for task in TASKS}
    if preset and not any(preset in names for names in presets.values()):
        raise UserError(
            f"--preset={preset} is unknown; known: {', '.join(sorted({n for p in presets.values() for n in p}))}"
        )

    def settings(task: str, with_data: bool = True) -> dict[str, Any]:
        chosen = {"preset": preset} if preset in presets[task] else {}
        data = {"data_dir": data_dir} if data_dir and with_data else {}
        return {"task": task, **chosen, **data}

    align, detect = settings("align"), settings("detect")
    large = settings("align", with_data=False) | LARGE
    steps = {"steps": STEPS}
    torch = {"compile_mode": torch_compile, "batch_sizes": INFERENCE_BATCHES["align"]}
    parts = [
        Part("detect-step", 8, (Job("step", detect, steps), Job("restart", detect))),
        Part("align-step", 5, (Job("step", align, steps), Job("restart", align))),
        Part("align-large", 4, (Job("step", large, steps | {"real_input": False, "accelerator_only": True}),)),
        Part("inference", 6, tuple(inference_job(s) for s in (detect, align))),
        Part("profile", 8, (Job("profile", detect),)),
        Part("memory", 8, (Job("memory", detect, {"batch_sizes": MEMORY_BATCHES}),)),
        Part("torch", 6, (Job("torch", align, steps | torch),)),
    ]
    return [*parts, Part("train", 6, (Job("train", detect),))] if data_dir else parts


def inference_job(settings: dict[str, Any]) -> Job:
    """Inference of a task at the batch sizes that are measured."""
    return Job("inference", settings, {"batch_sizes": INFERENCE_BATCHES[settings["task"]]})
