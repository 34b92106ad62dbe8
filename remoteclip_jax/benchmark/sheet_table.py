"""The sheet as Markdown, made from the JSON files of its parts."""

from collections.abc import Mapping, Sequence
from typing import Any

from remoteclip_jax.benchmark.tables import device_text, figure_rows, settings_text


def sheet_table(parts: Sequence[Mapping[str, Any]]) -> str:
    """One table of these parts; below it, the devices, dates and commands."""
    lines = ["| part | what | measured |", "| --- | --- | --- |"]
    for part in parts:
        for name, value in part_rows(part):
            lines.append(f"| {part['part']} | {_cell(name)} | {_cell(value)} |")
    notes: dict[str, list[str]] = {}
    for part in parts:
        notes.setdefault(_origin(part), []).append(part["part"])
    return "\n".join([*lines, "", *(f"- {', '.join(names)}: {origin}" for origin, names in notes.items())]) + "\n"


def part_rows(part: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rows of one part, each task's settings before its figures, and last why something is missing."""
    rows: list[tuple[str, str]] = []
    for figures in part["figures"].values():
        if settings := settings_text(figures):
            rows.append(("settings", settings))
        rows += figure_rows(figures)
        if "skipped" in figures:
            rows.append(("left out", figures["skipped"]))
    return rows if part["failed"] is None else [*rows, ("missing", part["failed"])]


def _origin(part: Mapping[str, Any]) -> str:
    """Where and when a part was measured, and how."""
    devices = {device_text(figures): None for figures in part["figures"].values() if "device" in figures}
    flags = f"; XLA_FLAGS={part['xla_flags']}" if part["xla_flags"] else ""
    return f"{'; '.join(devices) or 'no device yet'}; {part['date'][:10]}; `{part['command']}`{flags}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
