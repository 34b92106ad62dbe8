"""The precision-recall curves of a split, as a picture for the report."""

import io
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from remoteclip_jax.evaluation.detection import Curve

NAMED = 20  # classes with a colour and a line in the legend


def precision_recall_figure(curves: Mapping[str, Curve]) -> bytes:
    """PNG of each class's curve at IoU 0.5 and of their mean, in bold; the legend names the classes by falling AP50.

    Beyond 20 classes the others are drawn in grey and named together. Without curves, the picture says so.
    """
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots()
    ranked = sorted(curves.items(), key=lambda item: -item[1].precision.mean())
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for i, (name, curve) in enumerate(ranked[:NAMED]):
        label = f"{name}  {100 * curve.precision.mean():.1f}"
        style = "-" if i < 10 else "--"
        axes.plot(curve.recall, curve.precision, style, color=colours[i % 10], linewidth=1.4, label=label)
    for i, (_, curve) in enumerate(ranked[NAMED:]):
        label = "" if i else f"{len(ranked) - NAMED} more classes"
        axes.plot(curve.recall, curve.precision, color="0.8", linewidth=0.8, zorder=1, label=label)
    if ranked:
        mean = np.mean([curve.precision for _, curve in ranked], 0)
        label = f"mean  {100 * mean.mean():.1f}"
        axes.plot(ranked[0][1].recall, mean, color="black", linewidth=3.2, zorder=5, label=label)
        # The mean first, though it is drawn last.
        handles, labels = axes.get_legend_handles_labels()
        legend = axes.legend(
            handles[-1:] + handles[:-1], labels[-1:] + labels[:-1], title="AP50 in %", fontsize=9,
            loc="center left", bbox_to_anchor=(1.01, 0.5), borderaxespad=0, frameon=False,
        )  # fmt: skip
        legend.get_texts()[0].set_fontweight("bold")
    else:
        axes.text(0.5, 0.5, "no object to measure on", ha="center", va="center")
    axes.set(xlabel="recall", ylabel="precision at IoU 0.5", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
