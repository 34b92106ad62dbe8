"""Learning curves of runs, side by side:

python studies/curves.py --runs=RUN,RUN --metrics=loss,giou_loss --output=FILE.png
"""

from pathlib import Path

import matplotlib.pyplot as plt
from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import read_rows

_RUNS = flags.DEFINE_list("runs", None, "run directories; a curve is named after its directory", required=True)
_METRICS = flags.DEFINE_list("metrics", ["loss"], "names in metrics.jsonl, one panel each")
_OUTPUT = DEFINE_path("output", None, "the picture", required=True)


def main() -> None:
    """Plot the curves that the flags name."""
    _, axes = plt.subplots(1, len(_METRICS.value), figsize=(4 * len(_METRICS.value), 3), squeeze=False)
    for axis, metric in zip(axes[0], _METRICS.value, strict=True):
        for run in (Path(name).expanduser() for name in _RUNS.value):
            rows = [row for row in read_rows(RunDirectory(run).metrics) if metric in row]
            if not rows:
                raise errors.UserError(f"{run} has no {metric!r} in its metrics.jsonl")
            axis.plot([row["step"] for row in rows], [row[metric] for row in rows], marker=".", label=run.name)
        axis.set(xlabel="step", title=metric.replace("_", " "))
    axes[0, 0].legend()
    plt.tight_layout()
    plt.savefig(_OUTPUT.value, dpi=110)


if __name__ == "__main__":
    errors.run(main)
