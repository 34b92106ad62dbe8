"""The sections of a report about evaluations, which runs of several tasks may have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remoteclip_jax.evaluation.markup import Picture, table, text
from remoteclip_jax.evaluation.page import percent
from remoteclip_jax.evaluation.retrieval import CUTOFFS
from remoteclip_jax.files.json_files import read_json, schema_mismatch
from remoteclip_jax.runs.directory import RunDirectory

CLASSIFICATION = {"top1": float, "top5": float, "loss": float}
# What version 0.1.0 did not write.
BY_CLASS = {"mean_per_class_accuracy": (float, None), "per_class": {str: {"accuracy": (float, None), "n": int}}}
RECALLS = [f"{way}_recall_{k}" for way in ("image_to_text", "text_to_image") for k in CUTOFFS] + ["mean_recall"]
RETRIEVAL = dict.fromkeys(RECALLS, float) | {"images": int, "captions": int}


def classification_section(run: RunDirectory) -> list[str | Picture]:
    """The classifications of a run: a table, the accuracy by class, and the confusion matrices. Empty if there is
    none."""
    lines, parts = [], list[str | Picture]()
    for path, result in _evaluations(run, "classification", CLASSIFICATION):
        by_class = schema_mismatch(result, BY_CLASS) is None
        mean = percent(result["mean_per_class_accuracy"]) if by_class else "—"
        figures = [percent(result["top1"]), percent(result["top5"]), mean, f"{result['loss']:.4f}"]
        lines.append([path.parent.name, result.get("data_dir", "—"), result.get("images", "—"), *figures])
        if by_class:
            ranked = sorted((v["accuracy"], name, v["n"]) for name, v in result["per_class"].items() if v["n"])
            rows = [[name, count, percent(accuracy)] for accuracy, name, count in ranked]
            parts += [f"### {text(path.parent.name)}, by class\n", table(["class", "images", "accuracy"], rows)]
            parts.append(Picture(path.with_name("confusion.png"), "confusion matrix"))
    if not lines:
        return []
    heads = ["split", "data", "images", "top-1", "top-5", "mean per class", "loss"]
    return ["## Evaluations\n", table(heads, lines), *parts]


def retrieval_section(run: RunDirectory) -> list[str | Picture]:
    """A table of the retrievals of a run. Empty if there is none."""
    lines = [
        [path.parent.name, result.get("data_dir", "—"), result["images"], result["captions"]]
        + [percent(result[name]) for name in RECALLS]
        for path, result in _evaluations(run, "retrieval", RETRIEVAL)
    ]
    recalls = [f"{way} R@{k}" for way in ("image → text", "text → image") for k in CUTOFFS]
    heads = ["split", "data", "images", "captions", *recalls, "mean"]
    return ["## Retrieval\n", table(heads, lines)] if lines else []


def _evaluations(run: RunDirectory, evaluation: str, schema: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The files of an evaluation, and their content. UserError if one is damaged."""
    for path in sorted(run.root.glob("eval/*/metrics.json")):
        if read_json(path, {}).get("evaluation", "classification") == evaluation:
            yield path, read_json(path, schema)
