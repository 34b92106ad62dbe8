"""A picture of the precision-recall curves of a split, for the report."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from remoteclip_jax.evaluation.detection import Curve
from remoteclip_jax.evaluation.fonts import drawable_text

NAMED = 20  # classes with their own colour and legend entry
MAX_NAME = 40  # characters of a name in the legend


def precision_recall_figure(curves: Mapping[str, Curve]) -> bytes:
    """A PNG with each class's curve at IoU 0.5, and their mean as a thick line; the legend is sorted by falling AP50.

    From the 21st class on, curves are grey and share one legend entry. Without curves, the picture says so.
    """
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots()
    ranked = sorted(curves.items(), key=lambda item: -item[1].precision.mean())
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    entries: list[tuple[Artist, str]] = []
    for i, (name, curve) in enumerate(ranked[:NAMED]):
        style = "-" if i < 10 else "--"
        (line,) = axes.plot(curve.recall, curve.precision, style, color=colours[i % 10], linewidth=1.4)
        short = name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
        entries.append((line, f"{short}  {100 * curve.precision.mean():.1f}"))
    for i, (_, curve) in enumerate(ranked[NAMED:]):
        (line,) = axes.plot(curve.recall, curve.precision, color="0.8", linewidth=0.8, zorder=1)
        if i == 0:
            entries.append((line, f"{len(ranked) - NAMED} more classes"))
    if ranked:
        mean = np.mean([curve.precision for _, curve in ranked], 0)
        (line,) = axes.plot(ranked[0][1].recall, mean, color="black", linewidth=3.2, zorder=5)
        _write_legend(axes, [(line, f"mean  {100 * mean.mean():.1f}"), *entries])
    else:
        axes.text(0.5, 0.5, "there are no objects to measure", ha="center", va="center")
    axes.set(xlabel="recall", ylabel="precision at IoU 0.5", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _write_legend(axes: Axes, entries: Sequence[tuple[Artist, str]]) -> None:
    """A legend with the first entry in bold.

    The names are set as texts, because Matplotlib parses labels as formulas and leaves out some of them.
    """
    legend = axes.legend(
        [artist for artist, _ in entries],
        ["-"] * len(entries),
        title="AP50 in %",
        fontsize=9,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        borderaxespad=0,
        frameon=False,
    )
    for text, (_, label) in zip(legend.get_texts(), entries, strict=True):
        shown, font = drawable_text(label)
        text.set_text(shown)
        text.set_parse_math(False)
        if font is not None:
            text.set_fontproperties(FontProperties(fname=str(font), size=text.get_fontsize()))
    legend.get_texts()[0].set_fontweight("bold")
