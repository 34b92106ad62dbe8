"""What the reports of all tasks share: a page with its pictures in it, tables, the sections about the run itself."""

import base64
import dataclasses
import html
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from matplotlib.figure import Figure

from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.markup import Picture, code, table, text
from remoteclip_jax.files.json_files import read_json
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.printable import printable
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import Row

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d5dae0; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .8rem; border-bottom: 1px solid #e3e7eb; }
th { text-align: left; background: #f4f6f8; } td { font-variant-numeric: tabular-nums; }
code, pre { background: #f4f6f8; border-radius: 4px; padding: .1rem .3rem; } pre { padding: .8rem; overflow-x: auto; }
img { max-width: 100%; }
"""
# Whatever came into the page, it may run nothing and ask for nothing.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
SUMMARY = {
    "classes": [str],
    "images": {str: int},
    "notes": [str],
    "parameters": {str: int},
    "device": str,
    "versions": {str: str},
}
_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


def write_page(run: RunDirectory, parts: Sequence[str | Picture]) -> None:
    """Write `report.md` and `report.html`. The page needs no other file: the pictures among `parts` are put into it,
    and nothing else is, whatever the text says."""
    places = {_address(part, run): part.path for part in parts if isinstance(part, Picture)}
    lines = [f"![{text(p.words)}]({_address(p, run)})\n" if isinstance(p, Picture) else p for p in parts]
    markdown = "\n".join(lines)
    write_atomically(run.report, markdown)
    title = html.escape(printable(run.root.resolve().name))
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>\n{_rendered(markdown, run.root, places)}</body></html>\n"
    )
    write_atomically(run.report.with_suffix(".html"), page)


def _address(picture: Picture, run: RunDirectory) -> str:
    return quote(picture.path.relative_to(run.root).as_posix())


def _rendered(markdown: str, root: Path, places: Mapping[str, Path]) -> str:
    """`markdown` in HTML without links and without HTML of its own; pictures other than `places` are left out."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.disable(["link", "autolink", "reference", "html_inline", "html_block"])

    def image(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        words = renderer.renderInlineAsText(tokens[index].children, options, env)
        content = _content(places.get(str(tokens[index].attrGet("src"))), root)
        if content is None:
            return html.escape(words)
        return f'<img alt="{html.escape(words)}" src="{content}">'

    parser.add_render_rule("image", image)
    return parser.render(markdown)


def _content(picture: Path | None, root: Path) -> str | None:
    """A picture as a `data:` address; None where it is missing, or lies elsewhere by way of a link."""
    if picture is None or not picture.is_file() or not picture.resolve().is_relative_to(root.resolve()):
        return None
    return f"data:{_TYPES[picture.suffix]};base64,{base64.b64encode(picture.read_bytes()).decode()}"


def read_summary(run: RunDirectory) -> dict[str, Any]:
    summary = read_json(run.summary, SUMMARY)
    if not (summary["images"] and "visual" in summary["parameters"]):
        raise UserError(f"{run.summary} is damaged: it tells of no images or of no image tower")
    return summary


def percent(share: float | None) -> str:
    return "—" if share is None else f"{100 * share:.1f} %"


def data_line(config: TrainConfig, summary: dict[str, Any]) -> str:
    """What was trained on, in a few words."""
    data = code(config.data_dir) if config.data_dir else "synthetic images, drawn for this run"
    images = ", ".join(f"{text(count)} {text(split)}" for split, count in summary["images"].items())
    weights = code(config.weights) if config.weights else "random weights"
    return f"{data} ({images}; {len(summary['classes'])} classes), from {weights}"


def speed(rows: list[Row], summary: dict[str, Any]) -> str:
    rates = sorted(row["iterations_per_sec"] for row in rows)
    return (
        f"{rates[len(rates) // 2]:.2f} iterations/s (median of the epochs, from {rates[0]:.2f} to {rates[-1]:.2f}) on "
        f"{text(summary['device'])}; {duration(rows[-1]['seconds'])} in all, compiling and validating included.\n\n"
        + "Versions: "
        + ", ".join(text(f"{name} {version}") for name, version in summary["versions"].items())
        + ".\n"
    )


def checkpoints(run: RunDirectory, best: Row) -> str:
    rows = [[code(f"{run.checkpoints.name}/{n}"), "best" if n == best["step"] else ""] for n in saved_steps(run)]
    return table(["checkpoint", ""], rows)


def ending(config: TrainConfig, summary: dict[str, Any]) -> list[str]:
    """Remarks on the data, and the configuration."""
    parts = []
    if summary["notes"]:
        parts += ["## Remarks on the data\n", "".join(f"- {text(note)}\n" for note in summary["notes"])]
    values = flattened(dataclasses.asdict(config))
    settings = [(name, "—" if value is None else value) for name, value in values.items()]
    return [*parts, "## Configuration\n", table(["setting", "value"], settings)]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`values` with those inside of others by dotted names, as `--set` takes them."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        result |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return result


def saved_steps(run: RunDirectory) -> list[int]:
    """The steps of the checkpoints that were kept."""
    return sorted(int(path.name) for path in run.checkpoints.iterdir() if path.name.isdigit())


def duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "—"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # of figures that no axis can show, in a run that went astray
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
