"""What the reports of all tasks share: the page with its pictures, tables, and the sections about the run itself."""

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
# Whatever the page contains, it may run no script and load nothing.
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
    """Write `report.md` and `report.html`.

    `report.html` needs no other file: the pictures among `parts` are embedded, and no other picture is, whatever the
    text says.
    """
    paths = {_address(part, run): part.path for part in parts if isinstance(part, Picture)}
    lines = [f"![{text(p.words)}]({_address(p, run)})\n" if isinstance(p, Picture) else p for p in parts]
    markdown = "\n".join(lines)
    write_atomically(run.report, markdown)
    title = html.escape(printable(run.root.resolve().name))
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>\n{_rendered(markdown, run.root, paths)}</body></html>\n"
    )
    write_atomically(run.report.with_suffix(".html"), page)


def _address(picture: Picture, run: RunDirectory) -> str:
    return quote(picture.path.relative_to(run.root).as_posix())


def _rendered(markdown: str, root: Path, paths: Mapping[str, Path]) -> str:
    """`markdown` as HTML, without links and raw HTML; only pictures whose address is in `paths` are shown."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.disable(["link", "autolink", "reference", "html_inline", "html_block"])

    def image(renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        words = renderer.renderInlineAsText(tokens[index].children, options, env)
        content = _content(paths.get(str(tokens[index].attrGet("src"))), root)
        if content is None:
            return html.escape(words)
        return f'<img alt="{html.escape(words)}" src="{content}">'

    parser.add_render_rule("image", image)
    return parser.render(markdown)


def _content(picture: Path | None, root: Path) -> str | None:
    """A picture as a `data:` address; None if it is missing, or is a link to a place outside of `root`."""
    if picture is None or not picture.is_file() or not picture.resolve().is_relative_to(root.resolve()):
        return None
    return f"data:{_TYPES[picture.suffix]};base64,{base64.b64encode(picture.read_bytes()).decode()}"


def read_summary(run: RunDirectory) -> dict[str, Any]:
    """The content of `summary.json`. UserError if it is damaged."""
    summary = read_json(run.summary, SUMMARY)
    if not (summary["images"] and "visual" in summary["parameters"]):
        raise UserError(f"{run.summary} is damaged: it has no images or no image tower")
    return summary


def percent(share: float | None) -> str:
    """`share` in percent, with one decimal; a dash for None."""
    return "—" if share is None else f"{100 * share:.1f} %"


def data_line(config: TrainConfig, summary: dict[str, Any]) -> str:
    """The data and the initial weights of the training, in a few words."""
    data = code(config.data_dir) if config.data_dir else "synthetic images, generated for this run"
    images = ", ".join(f"{text(count)} {text(split)}" for split, count in summary["images"].items())
    weights = code(config.weights) if config.weights else "random weights"
    return f"{data} ({images}; {len(summary['classes'])} classes), from {weights}"


def speed_section(rows: list[Row], summary: dict[str, Any]) -> str:
    """The speed of the training, its duration, the device, and versions of packages."""
    rates = sorted(row["iterations_per_sec"] for row in rows)
    return (
        f"{rates[len(rates) // 2]:.2f} iterations/s (median of the epochs; range {rates[0]:.2f} to {rates[-1]:.2f}) on "
        f"{text(summary['device'])}; {duration(rows[-1]['seconds'])} in total, with compilation and validation.\n\n"
        + "Versions: "
        + ", ".join(text(f"{name} {version}") for name, version in summary["versions"].items())
        + ".\n"
    )


def checkpoint_table(run: RunDirectory, best: Row) -> str:
    """A table of the checkpoints that were kept; `best` is the row of metrics of the best one."""
    rows = [[code(f"{run.checkpoints.name}/{n}"), "best" if n == best["step"] else ""] for n in saved_steps(run)]
    return table(["checkpoint", ""], rows)


def closing_sections(config: TrainConfig, summary: dict[str, Any]) -> list[str]:
    """The last sections of a report: notes on the data, and the configuration."""
    parts = []
    if summary["notes"]:
        parts += ["## Notes on the data\n", "".join(f"- {text(note)}\n" for note in summary["notes"])]
    values = flattened(dataclasses.asdict(config))
    settings = [(name, "—" if value is None else value) for name, value in values.items()]
    return [*parts, "## Configuration\n", table(["setting", "value"], settings)]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`values` with nested ones under dotted names, as `--set` takes them."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        result |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return result


def saved_steps(run: RunDirectory) -> list[int]:
    """The steps of the checkpoints that were kept."""
    return sorted(int(path.name) for path in run.checkpoints.iterdir() if path.name.isdigit())


def duration(seconds: float) -> str:
    """`seconds` as minutes and seconds; a dash if it is not finite."""
    if not math.isfinite(seconds):
        return "—"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def png(figure: Figure) -> bytes:
    """`figure` as a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # about values that no axis can show, from a run that diverged
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
