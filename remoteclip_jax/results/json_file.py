"""The program's own JSON, one file an image."""

import json

from remoteclip_jax.results.image_result import ImageResult


def json_text(result: ImageResult) -> str:
    """`image`, `width`, `height` and `detections`, each with `label`, `score` and `box` (see `Detections.to_json`)."""
    size = {"width": result.width, "height": result.height}
    content = {"image": str(result.image), **size, "detections": result.found.to_json()}
    return json.dumps(content, indent=2) + "\n"
