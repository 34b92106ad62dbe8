"""The report of an `align` run."""

from typing import Any

from matplotlib.figure import Figure

from remoteclip_jax.evaluation.markup import Picture, block, code, shell, string, table, text
from remoteclip_jax.evaluation.page import (
    checkpoint_table,
    closing_sections,
    data_line,
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

from .config import AlignConfig
from .task import ranking

RANDOM_WEIGHTS_NOTE = (
    "From random weights, a tower memorises its training images long before it learns what the classes look like. Only "
    "the validation figures tell how well it generalises. For real use, start from RemoteCLIP (`--weights`).\n"
)


def report(run: RunDirectory, config: AlignConfig, rows: list[Row]) -> list[str | Picture]:
    """The report's parts in Markdown, and its pictures, which are written into the run directory."""
    write_atomically(run.curve, _curve(rows))
    summary, best = read_summary(run), min(rows, key=ranking)
    first, last = rows[0], rows[-1]
    parts: list[str | Picture] = [f"# Run {text(run.root.resolve().name)}\n"]
    parts.append(
        f"Fine-tuning the image tower ({config.arch}) on {data_line(config, summary)}. The loss went from "
        f"{first['loss']:.3f} in epoch {first['epoch']} to {last['loss']:.3f} in epoch {last['epoch']}.\n"
        + ("" if config.weights else "\n" + RANDOM_WEIGHTS_NOTE)
    )
    parts += ["## Training\n", Picture(run.curve, "loss by epoch"), _epoch_table(run, rows, best)]
    parts += ["## Speed\n", speed_section(rows, summary)]
    parts += ["## Trained and frozen parameters\n", _parameters(config.text_embeddings, summary)]
    parts += ["## Checkpoints\n", checkpoint_table(run, best)]
    parts += evaluation_section(run)
    return [*parts, *closing_sections(config, summary), "## Next\n", _next_commands(run, summary)]


def _validated(rows: list[Row]) -> bool:
    return all({"val_loss", "val_top1", "val_top5"} <= row.keys() for row in rows)


def _epoch_table(run: RunDirectory, rows: list[Row], best: Row) -> str:
    saved = set(saved_steps(run))
    validated = _validated(rows)
    lines = []
    for row in rows:
        remarks = [text for text, holds in (("best", row is best), ("checkpoint saved", row["step"] in saved)) if holds]
        decline = f"{100 * (1 - row['loss'] / rows[0]['loss']):.1f} %" if rows[0]["loss"] else "—"
        figures = [f"{row['val_loss']:.4f}", percent(row["val_top1"]), percent(row["val_top5"])] if validated else []
        lines.append([row["epoch"], f"{row['loss']:.4f}", decline, *figures, ", ".join(remarks)])
    heads = ["val loss", "val top-1", "val top-5"] if validated else []
    measure = "validation loss" if validated else "training loss, since there is no validation split"
    return (
        table(["epoch", "loss", "decline", *heads, "remarks"], lines)
        + f"\nThe decline is relative to the first epoch. The best epoch has the lowest {measure}.\n"
    )


def _parameters(text_embeddings: str | None, summary: dict[str, Any]) -> str:
    counts = summary["parameters"]
    lines = [f"- trained: the image tower, {counts['visual']:,} parameters\n"]
    if "text" in counts:
        lines.append(f"- frozen: the text tower, {counts['text']:,} parameters, unchanged bit for bit\n")
    else:
        lines.append(f"- no text tower: the class embeddings come from {code(text_embeddings)}\n")
    return "".join(lines)


def _next_commands(run: RunDirectory, summary: dict[str, Any]) -> str:
    split = "test" if (run.data / "splits" / "test.txt").exists() else next(reversed(summary["images"]))
    python = f"import remoteclip_jax as rc\n\nclip = rc.load({string(run.root)})  # the best checkpoint"
    command = block(f"python eval.py --workdir={shell(run.root)} --split={shell(split)}")
    return f"{command}\nIn Python:\n\n{block(python, 'python')}"


def _curve(rows: list[Row]) -> bytes:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2 if _validated(rows) else 1, squeeze=False)[0]
    epochs = [row["epoch"] for row in rows]
    axes[0].plot(epochs, [row["loss"] for row in rows], "o-", label="training")
    if _validated(rows):
        axes[0].plot(epochs, [row["val_loss"] for row in rows], "s--", label="validation")
        axes[1].plot(epochs, [100 * row["val_top1"] for row in rows], "s--", color="tab:orange", label="top-1")
        axes[1].plot(epochs, [100 * row["val_top5"] for row in rows], "^:", color="tab:green", label="top-5")
        axes[1].set(xlabel="epoch", ylabel="validation accuracy in %", ylim=(0, 102))
    axes[0].set(xlabel="epoch", ylabel="loss")
    axes[0].set_ylim(bottom=0)
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.legend()
        ax.xaxis.get_major_locator().set_params(integer=True)
    return png(figure)
