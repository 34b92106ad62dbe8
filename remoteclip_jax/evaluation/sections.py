"""The section of a report about the evaluations of a run that embeds images, whatever its task."""

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
WAYS = {"image → text": "image_to_text", "text → image": "text_to_image"}
RETRIEVAL = {
    **{f"{way}_recall_{k}": float for way in WAYS.values() for k in CUTOFFS},
    **{"mean_recall": float, "images": int, "captions": int},
}


def evaluation_section(run: RunDirectory) -> list[str | Picture]:
    """Classifications, with the accuracy by class and the confusion matrix of each, and retrievals. Empty if there is
    none. UserError if a result is damaged."""
    parts = [*_retrieval(run), *_classification(run)]
    return ["## Evaluations\n", *parts] if parts else []


def _classification(run: RunDirectory) -> list[str | Picture]:
    lines: list[list[object]] = []
    parts: list[str | Picture] = []
    for path, result in _results(run, "classification", CLASSIFICATION):
        by_class = schema_mismatch(result, BY_CLASS) is None
        mean = percent(result["mean_per_class_accuracy"]) if by_class else "—"
        figures = [percent(result["top1"]), percent(result["top5"]), mean, f"{result['loss']:.4f}"]
        lines.append([path.parent.name, result.get("data_dir", "—"), result.get("images", "—"), *figures])
        if by_class:
            ranked = sorted((v["accuracy"] or 0, name, v["n"]) for name, v in result["per_class"].items() if v["n"])
            rows = [[name, count, percent(accuracy)] for accuracy, name, count in ranked]
            parts += [f"### {text(path.parent.name)}, by class\n", table(["class", "images", "accuracy"], rows)]
            parts.append(Picture(path.with_name("confusion.png"), "confusion matrix"))
    heads = ["split", "data", "images", "top-1", "top-5", "mean per class", "loss"]
    return [table(heads, lines), *parts] if lines else []


def _retrieval(run: RunDirectory) -> list[str | Picture]:
    lines: list[list[object]] = []
    for path, result in _results(run, "retrieval", RETRIEVAL):
        for words, way in WAYS.items():
            cells = [percent(result[f"{way}_recall_{k}"]) for k in CUTOFFS]
            counts = [result["images"], result["captions"]]
            lines.append([path.parent.name, *counts, words, *cells, percent(result["mean_recall"])])
    heads = ["split", "images", "captions", "", *(f"recall@{k}" for k in CUTOFFS), "mean recall"]
    return [table(heads, lines)] if lines else []


def _results(run: RunDirectory, evaluation: str, schema: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The files of an evaluation, and their content."""
    for path in sorted(run.root.glob("eval/*/metrics.json")):
        if read_json(path, {}).get("evaluation", "classification") == evaluation:
            yield path, read_json(path, schema)
