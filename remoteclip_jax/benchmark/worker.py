"""The process of one measurement: `python -m remoteclip_jax.benchmark.worker ORDER`, as `jobs.run_job` starts it."""

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from remoteclip_jax import errors
from remoteclip_jax.benchmark import against_torch, measure, measure_training
from remoteclip_jax.benchmark.jobs import merged, write_result
from remoteclip_jax.runtime.memory import keep_freed_memory

# A measurement yields its figures in parts, the most important first, so that one that is stopped has some.
MEASUREMENTS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "step": measure.step,
    "restart": measure.restart,
    "inference": measure.inference,
    "profile": measure.profile,
    "memory": measure.memory,
    "torch": against_torch.against_torch,
    "train": measure_training.training,
}


def main(order: dict[str, Any]) -> int:
    """Do what the order says, and write the figures as they come. Returns the exit code."""
    keep_freed_memory()
    result, figures = Path(order["result"]), dict[str, Any]()
    place = measure.Place(Path(order["scratch"]), order["launched"], order["seconds"])
    try:
        for new in MEASUREMENTS[order["kind"]](order["settings"], place, **order["options"]):
            figures = merged(figures, json.loads(json.dumps(new)))
            write_result(result, figures, None)
    except Exception as e:
        reason = errors.user_message(e)
        if reason is None:
            traceback.print_exc()
            reason = f"{type(e).__name__}: {str(e).strip().partition(chr(10))[0]}"
        write_result(result, figures, reason)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
