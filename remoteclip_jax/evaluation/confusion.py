"""A picture of a confusion matrix, with class names that can be read in the report's width."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from remoteclip_jax.evaluation.fonts import drawable_text
from remoteclip_jax.evaluation.page import png

WIDTH = 7.4  # inches: the width of the report's page at 120 pixels an inch, so that a browser scales nothing
MARGIN = 1.65  # inches beside and below the cells, for names
CELLS = 5.6  # inches, the side of the matrix as long as a name fits beside a cell
LEAST = 0.124  # inches, the side of a cell: a line of six points
MOST = 100  # classes that are shown
NUMBERED = 25  # with more classes than this, cells have no room for numbers
MAX_NAME = 24  # characters of a name


def confusion_figure(confusion: Int[np.ndarray, "k k"], classes: Sequence[str]) -> bytes:
    """A PNG: rows are the true classes, columns the predicted ones, darkness is the share of the row.

    Of more than `MOST` classes only those with the most images that were confused are shown, and the title says so.
    """
    total = len(classes)
    wrong = confusion.sum(0) + confusion.sum(1) - 2 * np.diag(confusion)
    shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST])
    names, counts = [classes[i] for i in shown], confusion[np.ix_(shown, shown)]
    shares = counts / np.maximum(confusion.sum(1)[shown, None], 1)
    size = max(CELLS, LEAST * len(names))
    figure = Figure(figsize=(size + WIDTH - CELLS, size + MARGIN + 0.35))
    axes = figure.add_axes((MARGIN / figure.get_figwidth(), MARGIN / figure.get_figheight(), 0, 0))
    axes.set_position((*axes.get_position().p0, size / figure.get_figwidth(), size / figure.get_figheight()))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.set(xticks=(), yticks=())
    points = 6 if len(names) > NUMBERED else 8
    for i, name in enumerate(names):
        _write(axes, -0.5, i, name, ha="right", va="center", fontsize=points)
        _write(axes, i, len(names) - 0.5, name, ha="center", va="top", fontsize=points, rotation=90)
    if len(names) <= NUMBERED:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.6 else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=6, color=colour)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.88", linewidth=0.4)
    axes.tick_params(which="both", length=0)
    what = f", the {MOST} of {total} classes that were confused most" if total > MOST else ""
    axes.set_title(f"true class (rows), predicted class (columns){what}", fontsize=8, loc="left")
    return png(figure)


def _write(axes: Axes, x: float, y: float, name: str, fontsize: int, **how: Any) -> None:
    """A name at a place, and no tick label: those are parsed as formulas."""
    shown, font = drawable_text(name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…")
    properties = FontProperties(size=fontsize, fname=str(font) if font else None)
    axes.text(x, y, f" {shown} ", parse_math=False, fontproperties=properties, **how)
