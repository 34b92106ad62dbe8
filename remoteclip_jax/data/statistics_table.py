"""The statistics of a data set as a table for the screen, with a column for each split."""

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from remoteclip_jax.printable import printable


def statistics_table(statistics: dict[str, Any]) -> list[str]:
    """The lines of a table of what `dataset_statistics` returned."""
    splits: dict[str, Any] = statistics["splits"]
    rows = [["", *splits]]

    def add(name: str, cell: Callable[[dict[str, Any]], str]) -> None:
        rows.append([name, *(cell(split) for split in splits.values())])

    add("images", lambda s: f"{s['images']:,}")
    add("  without objects", lambda s: f"{s['images_without_objects']:,}")
    for side in ("width", "height"):
        add(f"  {side}, pixels: min, median, max", lambda s, side=side: _range(s[f"image_{side}"]))  # type: ignore[misc]
    add("objects", lambda s: f"{s['objects']:,}")
    if any(s["ignored"] for s in splits.values()):
        add("  and ignored: difficult, crowds", lambda s: f"{s['ignored']:,}")
    if all("objects_by_area" in s for s in splits.values()):
        add(
            "  an image: mean, most",
            lambda s: f"{s['objects_per_image']['mean']:.1f}, {s['objects_per_image']['max']:,}",
        )
        for name, bound in (("small", "side below 32 pixels"), ("medium", "below 96"), ("large", "from 96 on")):
            add(f"  {name}: {bound}", lambda s, name=name: _with_share(s["objects_by_area"][name], s["objects"]))  # type: ignore[misc]
        add("  side, pixels: 5 %, median, 95 %", lambda s: _quantiles(s["side_in_pixels"], 1, ".0f"))
        add("  side, % of the image: the same", lambda s: _quantiles(s["side_as_share_of_image"], 100, ".1f"))
    rows.append(["objects (images) by class", *("" for _ in splits)])
    absent = []
    for name, counts in statistics["classes"].items():
        cells = [counts.get(split, {"objects": 0, "images": 0}) for split in splits]
        if any(cell["objects"] for cell in cells):
            rows.append([f"  {printable(name)}", *(_objects_and_images(cell) for cell in cells)])
        else:
            absent.append(printable(name))
    return [*_aligned(rows), *([f"no object of {', '.join(absent)}"] if absent else [])]


def _objects_and_images(counts: dict[str, int]) -> str:
    return f"{counts['objects']:,} ({counts['images']:,})" if counts["objects"] else "-"


def _range(values: dict[str, int]) -> str:
    return ", ".join(str(values[name]) for name in ("min", "median", "max"))


def _with_share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.0%})" if total else "0"


def _quantiles(values: dict[str, float] | None, factor: float, form: str) -> str:
    return ", ".join(format(factor * values[q], form) for q in ("5%", "50%", "95%")) if values else "-"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines; all columns but the first are aligned on the right."""
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first + " " * (widths[0] - _width(first))]
        cells += [" " * (width - _width(cell)) + cell for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _width(text: str) -> int:
    """The columns that a text takes in a terminal: Chinese characters take two."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
