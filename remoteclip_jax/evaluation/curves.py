"""The precision-recall curves of a split, as a picture for the report."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from remoteclip_jax.evaluation.detection import Curve
from remoteclip_jax.evaluation.lettering import drawable

NAMED = 20  # classes with a colour and a line in the legend
LONGEST = 40  # characters of a name there


def precision_recall_figure(curves: Mapping[str, Curve]) -> bytes:
    """PNG of each class's curve at IoU 0.5 and of their mean, in bold; the legend names the classes by falling AP50.

    Beyond 20 classes the others are drawn in grey and named together. Without curves, the picture says so.
    """
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots()
    ranked = sorted(curves.items(), key=lambda item: -item[1].precision.mean())
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    entries: list[tuple[Artist, str]] = []
    for i, (name, curve) in enumerate(ranked[:NAMED]):
        style = "-" if i < 10 else "--"
        (line,) = axes.plot(curve.recall, curve.precision, style, color=colours[i % 10], linewidth=1.4)
        short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
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
        axes.text(0.5, 0.5, "no object to measure on", ha="center", va="center")
    axes.set(xlabel="recall", ylabel="precision at IoU 0.5", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _write_legend(axes: Axes, entries: Sequence[tuple[Artist, str]]) -> None:
    """The first entry in bold. Matplotlib takes labels for formulas and leaves some out, but texts as they are."""
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
        shown, font = drawable(label)
        text.set_text(shown)
        text.set_parse_math(False)
        if font is not None:
            text.set_fontproperties(FontProperties(fname=str(font), size=text.get_fontsize()))
    legend.get_texts()[0].set_fontweight("bold")
