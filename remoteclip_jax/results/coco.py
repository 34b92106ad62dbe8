"""COCO's JSON with the detections in all images as annotations that have a score."""

import json
import os
from collections.abc import Sequence
from typing import Any

from remoteclip_jax.results.image_result import ImageResult


def coco_text(results: Sequence[ImageResult], classes: Sequence[str]) -> str:
    """`images`, `categories` and `annotations`, each numbered from 1. The `file_name` of an image is relative to the
    folder that all images have in common."""
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(result.image)) for result in results] or [os.sep])
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, result in enumerate(results, 1):
        name = os.path.relpath(os.path.abspath(result.image), folder)
        images.append({"id": number, "file_name": name, "width": result.width, "height": result.height})
        for item, label in zip(result.found.to_json(), result.found.labels.tolist(), strict=True):
            x1, y1, x2, y2 = item["box"]
            width, height = round(x2 - x1, 2), round(y2 - y1, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x1, y1, width, height],
                    "area": round(width * height, 4),
                    "iscrowd": 0,
                    "score": item["score"],
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations}) + "\n"
