"""What a data set holds, in figures: images, objects by class and by size, and what was dropped or guessed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from remoteclip_jax.data.types import Dataset, Example

# COCO's bounds of small, medium and large objects: areas in pixels. Here of the boxes, in pixels of the images at hand.
SMALL, MEDIUM = 32.0**2, 96.0**2
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def dataset_statistics(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """The statistics of all splits, as they are written to JSON.

    `splits` has for each split the numbers of images and objects, and sizes: see `_split_statistics`. `classes` has for
    each class and split how many objects there are, and in how many images.
    """
    names = list(dict.fromkeys(name for dataset in datasets for name in dataset.classes))
    classes: dict[str, Any] = {name: {} for name in names}
    for dataset in datasets:
        for label, name in enumerate(dataset.classes):
            counts = [int((example.labels == label).sum()) for example in dataset.examples]
            classes[name][dataset.split] = {"objects": sum(counts), "images": sum(count > 0 for count in counts)}
    return {"splits": {dataset.split: _split_statistics(dataset) for dataset in datasets}, "classes": classes}


def _split_statistics(dataset: Dataset) -> dict[str, Any]:
    """The statistics of a split.

    Objects are those that a detector learns from: clipped to their image, without ignored ones. A side is the square
    root of the area of a box, in pixels or as a share of the image's longer side; by quantile, null without objects.
    """
    examples = dataset.examples
    sizes = np.array([[example.width, example.height] for example in examples], np.float64)
    counts = np.array([len(example.labels) for example in examples])
    result: dict[str, Any] = {
        "images": len(examples),
        "images_without_objects": int((counts == 0).sum()),
        "image_width": _range(sizes[:, 0]),
        "image_height": _range(sizes[:, 1]),
        "objects": int(counts.sum()),
        "ignored": sum(len(example.ignored_labels) for example in examples),
    }
    if not dataset.has_boxes:
        return result | {"notes": list(dataset.notes)}
    fullest = int(counts.argmax())
    sides = np.concatenate([_sides(example) for example in examples])
    longer = np.repeat(sizes.max(-1), counts)
    small, medium = int((sides**2 < SMALL).sum()), int((sides**2 < MEDIUM).sum())
    return result | {
        "objects_per_image": {
            "mean": float(counts.mean()),
            "median": float(np.median(counts)),
            "max": int(counts[fullest]),
            "fullest_image": examples[fullest].image.name,
        },
        "objects_by_area": {"small": small, "medium": medium - small, "large": len(sides) - medium},
        "side_in_pixels": _quantiles(sides),
        "side_as_share_of_image": _quantiles(sides / longer),
        "notes": list(dataset.notes),
    }


def _sides(example: Example) -> Float64[np.ndarray, " n"]:
    """The square roots of the areas of the boxes, in pixels."""
    boxes = example.boxes.astype(np.float64)
    return np.sqrt(boxes[:, 2] * boxes[:, 3] * example.width * example.height)


def _range(values: Float64[np.ndarray, " n"]) -> dict[str, int]:
    return {"min": int(values.min()), "median": round(float(np.median(values))), "max": int(values.max())}


def _quantiles(values: Float64[np.ndarray, " n"]) -> dict[str, float] | None:
    if not len(values):
        return None
    return {f"{q:.0%}": round(float(v), 4) for q, v in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)}
