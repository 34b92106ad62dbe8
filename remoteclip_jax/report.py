"""`report.md` and `report.html`: what a run was, how it went, and what to do next; made from the run's own files."""

import base64
import dataclasses
import io
import json
from typing import Any

from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from remoteclip_jax.config import load_config
from remoteclip_jax.files import write_atomically
from remoteclip_jax.metrics_log import Row, ranking, read_rows
from remoteclip_jax.run_directory import RunDirectory

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d5dae0; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .8rem; border-bottom: 1px solid #e3e7eb; }
th { text-align: left; background: #f4f6f8; } td { font-variant-numeric: tabular-nums; }
code, pre { background: #f4f6f8; border-radius: 4px; padding: .1rem .3rem; } pre { padding: .8rem; overflow-x: auto; }
img { max-width: 100%; }
"""

FROM_RANDOM = (
    "From random weights a tower learns its training images by heart long before it learns what the classes look like: "
    "only the validation figures say how well it sees. Real use starts from RemoteCLIP (`--weights`).\n"
)


def write_report(run: RunDirectory) -> None:
    """Write both reports of `run`; the HTML file holds its pictures and needs no other file."""
    rows = read_rows(run.metrics)
    curve = _curve(rows)
    write_atomically(run.curve, curve)
    text = _markdown(run, rows)
    write_atomically(run.report, text)
    body = MarkdownIt("commonmark").enable("table").render(text)
    body = body.replace(f'src="{run.curve.name}"', f'src="data:image/png;base64,{base64.b64encode(curve).decode()}"')
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{run.root.name}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
    write_atomically(run.report.with_suffix(".html"), page)


def _markdown(run: RunDirectory, rows: list[Row]) -> str:
    config, summary = load_config(run.config), json.loads(run.summary.read_text())
    best = min(rows, key=ranking)
    first, last = rows[0], rows[-1]
    parts = [f"# Run {run.root.name}\n"]
    data = config.data_dir or "synthetic images, drawn for this run"
    images = ", ".join(f"{count} {split}" for split, count in summary["images"].items())
    parts.append(
        f"Fine-tuning the image tower ({config.arch}) on {data} ({images}; {len(summary['classes'])} classes), from "
        f"{config.weights or 'random weights'}. The loss went from {first['loss']:.3f} in epoch {first['epoch']} to "
        f"{last['loss']:.3f} in epoch {last['epoch']}.\n"
        + ("" if config.weights else "\n" + FROM_RANDOM)
    )
    parts += ["## Course\n", f"![loss by epoch]({run.curve.name})\n", _course(run, rows, best)]
    parts += ["## Speed\n", _speed(rows, summary)]
    parts += ["## What trained, what was frozen\n", _parameters(config.text_embeddings, summary)]
    parts += ["## Checkpoints\n", _checkpoints(run, best)]
    if results := _evaluations(run):
        parts += ["## Evaluations\n", results]
    if summary["notes"]:
        parts += ["## Remarks on the data\n", "".join(f"- {note}\n" for note in summary["notes"])]
    settings = [(name, "—" if value is None else value) for name, value in dataclasses.asdict(config).items()]
    parts += ["## Configuration\n", _table(["setting", "value"], settings)]
    parts += ["## Next\n", _next_commands(run, summary)]
    return "\n".join(parts)


def _course(run: RunDirectory, rows: list[Row], best: Row) -> str:
    saved = set(saved_steps(run))
    validated = "val_loss" in rows[0]
    table = []
    for row in rows:
        remarks = [text for text, holds in (("best", row is best), ("checkpoint saved", row["step"] in saved)) if holds]
        decline = f"{100 * (1 - row['loss'] / rows[0]['loss']):.1f} %" if rows[0]["loss"] else "—"
        figures = [f"{row['val_loss']:.4f}", _percent(row["val_top1"]), _percent(row["val_top5"])] if validated else []
        table.append([row["epoch"], f"{row['loss']:.4f}", decline, *figures, ", ".join(remarks)])
    heads = ["val loss", "val top-1", "val top-5"] if validated else []
    measure = "validation loss" if validated else "training loss, there being no validation split"
    return (
        _table(["epoch", "loss", "decline", *heads, "remarks"], table)
        + f"\nDecline is measured against the first epoch; best is the lowest {measure}.\n"
    )


def _speed(rows: list[Row], summary: dict[str, Any]) -> str:
    rates = sorted(row["iterations_per_sec"] for row in rows)
    return (
        f"{rates[len(rates) // 2]:.2f} iterations/s (median of the epochs, from {rates[0]:.2f} to {rates[-1]:.2f}) on "
        f"{summary['device']}; {_duration(rows[-1]['seconds'])} in all, compiling and validating included.\n\n"
        + "Versions: " + ", ".join(f"{name} {version}" for name, version in summary["versions"].items()) + ".\n"
    )  # fmt: skip


def _parameters(text_embeddings: str | None, summary: dict[str, Any]) -> str:
    sizes = summary["parameters"]
    lines = [f"- trained: the image tower, {sizes['visual']:,} parameters\n"]
    if "text" in sizes:
        lines.append(f"- frozen: the text tower, {sizes['text']:,} parameters, unchanged to the bit\n")
    else:
        lines.append(f"- no text tower: the class embeddings come from {text_embeddings}\n")
    return "".join(lines)


def _checkpoints(run: RunDirectory, best: Row) -> str:
    steps = saved_steps(run)
    table = [[f"`{run.checkpoints.name}/{step}`", "best" if step == best["step"] else ""] for step in steps]
    return _table(["checkpoint", ""], table)


def _evaluations(run: RunDirectory) -> str:
    table = []
    for path in sorted(run.root.glob("eval/*/metrics.json")):
        result = json.loads(path.read_text())
        figures = [_percent(result["top1"]), _percent(result["top5"]), f"{result['loss']:.4f}"]
        table.append([path.parent.name, result.get("data_dir", "—"), result.get("images", "—"), *figures])
    return _table(["split", "data", "images", "top-1", "top-5", "loss"], table) if table else ""


def _next_commands(run: RunDirectory, summary: dict[str, Any]) -> str:
    split = "test" if (run.data / "splits" / "test.txt").exists() else next(reversed(summary["images"]))
    return (
        f"```\npython eval.py --workdir={run.root} --split={split}\n```\n\nIn Python:\n\n```python\n"
        f'import remoteclip_jax as rc\n\nclip = rc.load("{run.root}")  # the best checkpoint\n```\n'
    )


def saved_steps(run: RunDirectory) -> list[int]:
    """The steps of the checkpoints that were kept."""
    return sorted(int(path.name) for path in run.checkpoints.iterdir() if path.name.isdigit())


def _curve(rows: list[Row]) -> bytes:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2 if "val_top1" in rows[0] else 1, squeeze=False)[0]
    epochs = [row["epoch"] for row in rows]
    axes[0].plot(epochs, [row["loss"] for row in rows], "o-", label="training")
    if "val_loss" in rows[0]:
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
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _table(head: list[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
