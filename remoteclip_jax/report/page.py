"""What the reports of all tasks share: a page with its pictures in it, tables, the sections about the run itself."""

import base64
import dataclasses
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from remoteclip_jax.config import TrainConfig
from remoteclip_jax.files import write_atomically
from remoteclip_jax.metrics_log import Row
from remoteclip_jax.run_directory import RunDirectory

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d5dae0; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .8rem; border-bottom: 1px solid #e3e7eb; }
th { text-align: left; background: #f4f6f8; } td { font-variant-numeric: tabular-nums; }
code, pre { background: #f4f6f8; border-radius: 4px; padding: .1rem .3rem; } pre { padding: .8rem; overflow-x: auto; }
img { max-width: 100%; }
"""
_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


def write_page(run: RunDirectory, text: str) -> None:
    """Write `report.md` and `report.html`; pictures, named relative to the run, are put into the page."""
    write_atomically(run.report, text)
    body = MarkdownIt("commonmark").enable("table").render(text)

    def embed(match: re.Match[str]) -> str:
        path = run.root / match[1]
        return f'src="data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"'

    body = re.sub(r'src="([^":]+)"', embed, body)
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{run.root.name}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}</body></html>\n"
    )
    write_atomically(run.report.with_suffix(".html"), page)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.1f} %"


def data_line(config: TrainConfig, summary: dict[str, Any]) -> str:
    """What was trained on, in a few words."""
    data = config.data_dir or "synthetic images, drawn for this run"
    images = ", ".join(f"{count} {split}" for split, count in summary["images"].items())
    return f"{data} ({images}; {len(summary['classes'])} classes), from {config.weights or 'random weights'}"


def speed(rows: list[Row], summary: dict[str, Any]) -> str:
    rates = sorted(row["iterations_per_sec"] for row in rows)
    return (
        f"{rates[len(rates) // 2]:.2f} iterations/s (median of the epochs, from {rates[0]:.2f} to {rates[-1]:.2f}) on "
        f"{summary['device']}; {duration(rows[-1]['seconds'])} in all, compiling and validating included.\n\n"
        + "Versions: " + ", ".join(f"{name} {version}" for name, version in summary["versions"].items()) + ".\n"
    )  # fmt: skip


def checkpoints(run: RunDirectory, best: Row) -> str:
    rows = [[f"`{run.checkpoints.name}/{step}`", "best" if step == best["step"] else ""] for step in saved_steps(run)]
    return table(["checkpoint", ""], rows)


def ending(config: TrainConfig, summary: dict[str, Any]) -> list[str]:
    """Remarks on the data, and the configuration."""
    parts = []
    if summary["notes"]:
        parts += ["## Remarks on the data\n", "".join(f"- {note}\n" for note in summary["notes"])]
    values: dict[str, Any] = dataclasses.asdict(config)
    for name, value in (values.pop("detector") or {}).items():
        values[f"detector.{name}"] = value
    settings = [(name, "—" if value is None else value) for name, value in values.items()]
    return [*parts, "## Configuration\n", table(["setting", "value"], settings)]


def saved_steps(run: RunDirectory) -> list[int]:
    """The steps of the checkpoints that were kept."""
    return sorted(int(path.name) for path in run.checkpoints.iterdir() if path.name.isdigit())


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
