"""The report of a `contrast` run."""

import math
from typing import Any

from matplotlib.figure import Figure

from remoteclip_jax.evaluation.markup import Picture, block, code, shell, string, table, text
from remoteclip_jax.evaluation.page import (
    checkpoint_table,
    closing_sections,
    percent,
    png,
    read_summary,
    saved_steps,
    speed_section,
)
from remoteclip_jax.evaluation.sections import evaluation_section
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import Row

from .config import ContrastConfig
from .task import ranking

RECALL = "val_mean_recall"
TRAINED = {
    "none": "both towers and the temperature",
    "image": "the text tower and the temperature; the image tower keeps its initial weights",
    "image_stem": "both towers and the temperature; the image tower's stem keeps its initial weights",
    "text": "the image tower and the temperature; the text tower keeps its initial weights",
}


def report(run: RunDirectory, config: ContrastConfig, rows: list[Row]) -> list[str | Picture]:
    """The report's parts in Markdown, and its pictures, which are written into the run directory."""
    write_atomically(run.curve, _curve(rows))
    summary, best = read_summary(run), min(rows, key=ranking)
    first, last = rows[0], rows[-1]
    data = code(config.data_dir or config.captions) if config.data_dir or config.captions else "synthetic images"
    images = ", ".join(f"{text(count)} {text(split)}" for split, count in summary["images"].items())
    weights = code(config.weights) if config.weights else "random weights"
    parts: list[str | Picture] = [f"# Run {text(run.root.resolve().name)}\n"]
    parts.append(
        f"Training a CLIP ({config.arch}) on the captions of {data} ({images}), from {weights}. The loss went from "
        f"{first['loss']:.3f} in epoch {first['epoch']} to {last['loss']:.3f} in epoch {last['epoch']}, in batches of "
        f"{config.batch_size}; embeddings that tell nothing have {math.log(config.batch_size):.3f}.\n"
    )
    parts += ["## Training\n", Picture(run.curve, "loss and recall by epoch"), _epoch_table(run, rows, best)]
    parts += ["## Speed\n", speed_section(rows, summary)]
    counts = "".join(f"- {text(name)}: {count:,} parameters\n" for name, count in summary["parameters"].items())
    parts += ["## Trained parameters\n", f"Trained: {TRAINED[config.freeze]}.\n\n{counts}"]
    parts += ["## Checkpoints\n", checkpoint_table(run, best)]
    parts += evaluation_section(run)
    return [*parts, *closing_sections(config, summary), "## Next\n", _next_commands(run, summary)]


def _validated(rows: list[Row]) -> list[Row]:
    return [row for row in rows if RECALL in row]


def _epoch_table(run: RunDirectory, rows: list[Row], best: Row) -> str:
    """The epochs that were validated or saved, and the first and the last."""
    saved, lines = set(saved_steps(run)), []
    for row in rows:
        remarks = [text for text, holds in (("best", row is best), ("checkpoint saved", row["step"] in saved)) if holds]
        if remarks or RECALL in row or row in (rows[0], rows[-1]):
            recall = percent(row.get(RECALL))
            lines.append([row["epoch"], f"{row['loss']:.4f}", recall, f"{row['temperature']:.4f}", ", ".join(remarks)])
    note = "Recall is the mean of recall@1, 5 and 10, image → text and text → image.\n" if _validated(rows) else ""
    return f"{table(['epoch', 'loss', 'validation recall', 'temperature', 'remarks'], lines)}\n{note}"


def _next_commands(run: RunDirectory, summary: dict[str, Any]) -> str:
    python = (
        f"import remoteclip_jax as rc\n\nclip = rc.load({string(run.root)})  # the best checkpoint\n"
        'texts = rc.encode_text(clip, ["a satellite photo of a ship"])'
    )
    split = "test" if (run.data / "splits" / "test.txt").exists() else next(reversed(summary["images"]))
    commands = (
        f"python eval.py --workdir={shell(run.root)} --split={shell(split)}\n"
        f"python train.py --task=detect --weights={shell(run.root)}"
    )
    return f"{block(commands)}\nIn Python:\n\n{block(python, 'python')}"


def _curve(rows: list[Row]) -> bytes:
    validated = _validated(rows)
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2 if validated else 1, squeeze=False)[0]
    axes[0].plot([row["epoch"] for row in rows], [row["loss"] for row in rows], ".-", label="training")
    axes[0].set(xlabel="epoch", ylabel="loss")
    if validated:
        recalls = [100 * row[RECALL] for row in validated]
        axes[1].plot([row["epoch"] for row in validated], recalls, "s--", color="tab:orange", label="validation")
        axes[1].set(xlabel="epoch", ylabel="mean recall in %")
        axes[1].set_ylim(bottom=0)
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.legend()
        ax.xaxis.get_major_locator().set_params(integer=True)
    return png(figure)
