"""The report of a `detect` run."""

from typing import Any

from matplotlib.figure import Figure

from remoteclip_jax.data.views import format_views
from remoteclip_jax.evaluation.markup import Picture, block, code, shell, string, table, text
from remoteclip_jax.evaluation.page import (
    checkpoint_table,
    closing_sections,
    data_line,
    percent,
    png,
    read_summary,
    speed_section,
)
from remoteclip_jax.files.json_files import read_json, schema_mismatch
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.metrics_log import Row
from remoteclip_jax.runs.thresholds import read_thresholds

from .config import DetectConfig
from .task import ranking
from .thresholds import threshold_line

FIGURES = (
    ("mAP", "map"),
    ("mAP@50", "map_50"),
    ("mAP@75", "map_75"),
    ("small", "map_small"),
    ("medium", "map_medium"),
    ("large", "map_large"),
    ("VOC mAP@50", "voc_map_50"),
)
SPLIT_FIGURES = (("base", "base_map_50"), ("novel", "novel_map_50"), ("harmonic mean", "harmonic_map_50"))
# Schemas of metrics.json. The last two parts are optional.
MEASURE = (float, None)
EVALUATION = {
    **{key: MEASURE for _, key in FIGURES},
    "images": int,
    "data_dir": str,
    "views": [int],
    "per_class": {str: {"map": MEASURE, "map_50": MEASURE, "objects": int}},
}
ALL_DETECTIONS = {"map_all": MEASURE, "map_50_all": MEASURE, "max_detections": int, "ignored": int}
NOVEL = {"novel": [str], **{key: MEASURE for _, key in SPLIT_FIGURES}}


def report(run: RunDirectory, config: DetectConfig, rows: list[Row]) -> list[str | Picture]:
    """The report's parts in Markdown, and its pictures, which are written into the run directory."""
    write_atomically(run.curve, _curve(rows))
    summary, best = read_summary(run), min(rows, key=ranking)
    parts: list[str | Picture] = [
        f"# Run {text(run.root.resolve().name)}\n",
        f"A context-guided detector ({config.arch}) trained on {data_line(config, summary)}: {rows[-1]['step']} steps "
        f"of {config.batch_size} images of {config.image_size} pixels, predicting at "
        f"{text(format_views(config.views))} pixels.\n",
    ]
    for path in sorted(run.root.glob("eval/*/metrics.json")):
        parts += _evaluation(run, path.parent.name)
    if (thresholds := read_thresholds(run)) is not None:
        parts.append(f"By itself, detect takes the {text(threshold_line(thresholds, summary['classes'], run))}.\n")
    parts += ["## Training\n", Picture(run.curve, "loss and AP by epoch"), _epoch_table(rows, best)]
    parts += ["## Speed\n", speed_section(rows, summary), "## Parameters\n", _parameters(summary)]
    parts += ["## Checkpoints\n", checkpoint_table(run, best), *closing_sections(config, summary)]
    return [*parts, "## Next\n", _next_commands(run, summary)]


def _evaluation(run: RunDirectory, split: str) -> list[str | Picture]:
    directory = run.evaluation(split)
    result = read_json(directory / "metrics.json", EVALUATION)
    sizes = format_views(result["views"]) if result["views"] else "unknown"
    parts: list[str | Picture] = [
        f"## Evaluation on {text(split)}\n",
        f"{result['images']} images of {code(result['data_dir'])}, predicted at {sizes} pixels. AP is the area "
        "under the precision-recall curve; mAP is its mean over classes and over IoU 0.5 to 0.95, as in COCO.\n",
        table([name for name, _ in FIGURES], [[percent(result[key]) for _, key in FIGURES]]),
    ]
    if schema_mismatch(result, ALL_DETECTIONS) is None:
        parts.append(
            f"COCO counts the 100 best detections of a class in an image. With all of them, at most "
            f"{result['max_detections']} per image, mAP is {percent(result['map_all'])} and mAP@50 is "
            f"{percent(result['map_50_all'])}.\n"
        )
        if result["ignored"]:
            parts.append(f"{result['ignored']} crowds and difficult objects are ignored.\n")
    if schema_mismatch(result, NOVEL) is None:
        parts.append(f"AP@50 of the base classes and of the novel ones ({', '.join(map(text, result['novel']))}):\n")
        parts.append(table([n for n, _ in SPLIT_FIGURES], [[percent(result[key]) for _, key in SPLIT_FIGURES]]))
    seen = {name: values for name, values in result["per_class"].items() if values["objects"]}
    ordered = sorted(seen.items(), key=lambda item: -(item[1]["map_50"] or 0))
    rows = [[name, v["objects"], percent(v["map_50"]), percent(v["map"])] for name, v in ordered]
    parts.append(table(["class", "objects", "AP@50", "AP"], rows))
    parts.append(Picture(directory / "precision_recall.png", "precision and recall"))
    for kind in ("best", "worst"):
        pictures = sorted(directory.glob(f"{kind}-*.jpg"))
        if pictures:
            parts.append(f"### The {kind} images: annotation left, detections right\n")
            parts += [Picture(path, path.stem) for path in pictures]
    return parts


def _epoch_table(rows: list[Row], best: Row) -> str:
    names = [name for name in rows[-1] if name.endswith("_loss") and not name.startswith("val_")]
    lines = []
    for row in rows:
        figures = [percent(row.get("val_map_50")), percent(row.get("val_map"))]
        mark = "best" if row is best else ""
        parts = [f"{row[n]:.3f}" if n in row else "—" for n in names]  # the phases have different losses
        lines.append([row["epoch"], f"{row['loss']:.3f}", *parts, *figures, mark])
    heads = [name.removesuffix("_loss") for name in names]
    text = table(["epoch", "loss", *heads, "val mAP@50", "val mAP", ""], _thinned(lines))
    return text + (
        "\nThe loss terms are those of the last decoder layer, before weighting; `denoising` and `dense` are weighted "
        "sums. The best epoch has the highest validation mAP@50, or without validation the lowest loss.\n"
    )


def _thinned(lines: list[list[Any]], limit: int = 40) -> list[list[Any]]:
    """About `limit` of the lines, and all those with a validation or a remark."""
    every, last = -(-len(lines) // limit), len(lines) - 1
    return [line for i, line in enumerate(lines) if i % every == 0 or line[-2] != "—" or line[-1] or i == last]


def _parameters(summary: dict[str, Any]) -> str:
    counts = summary["parameters"]
    tower = counts["visual"]
    rest = sum(counts.values()) - tower
    return f"The image tower has {tower:,}, the rest of the detector {rest:,}. The text tower is frozen.\n"


def _next_commands(run: RunDirectory, summary: dict[str, Any]) -> str:
    split = "test" if (run.data / "splits" / "test.txt").exists() else next(reversed(summary["images"]))
    commands = (
        f"python eval.py --workdir={shell(run.root)} --split={shell(split)}\n"
        f"python -m remoteclip_jax.detect --workdir={shell(run.root)} --image='*.jpg' --output=found"
    )
    python = (
        f"import remoteclip_jax as rc\nfrom PIL import Image\n\ndetector = rc.load_detector({string(run.root)})\n"
        'print(rc.detect(detector, Image.open("scene.jpg")).to_json())'
    )
    return f"{block(commands)}\nIn Python:\n\n{block(python, 'python')}"


def _curve(rows: list[Row]) -> bytes:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    validated = [row for row in rows if "val_map_50" in row]
    axes = figure.subplots(1, 2 if validated else 1, squeeze=False)[0]
    steps = [row["step"] for row in rows]
    axes[0].plot(steps, [row["loss"] for row in rows], "-", color="black", label="loss")
    for name in ("dense_loss", "denoising_loss"):
        if having := [row for row in rows if name in row]:
            x, y = [row["step"] for row in having], [row[name] for row in having]
            axes[0].plot(x, y, "-", lw=1, label=name.removesuffix("_loss"))
    if validated:
        for key, style in (("val_map_50", "o-"), ("val_map_75", "s--"), ("val_map", "^:")):
            label = key.removeprefix("val_").replace("map_", "mAP@").replace("map", "mAP")
            axes[1].plot([row["step"] for row in validated], [100 * row[key] for row in validated], style, label=label)
        axes[1].set(xlabel="step", ylabel="validation AP in %", ylim=(0, None))
    axes[0].set(xlabel="step", ylabel="loss", ylim=(0, None))
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.legend()
    return png(figure)
