"""The program's own JSON, one file an image."""

import json

from remoteclip_jax.results.image_result import ImageResult


def json_text(result: ImageResult) -> str:
    """`image`, `width`, `height` and `detections`, each with `label`, `score` and `box` (see `Detections.to_json`), and
    on a line of its own."""
    head = json.dumps({"image": str(result.image), "width": result.width, "height": result.height}, indent=2)[:-2]
    lines = ",\n".join(f"    {json.dumps(found)}" for found in result.found.to_json())
    detections = f"[\n{lines}\n  ]" if lines else "[]"
    return f'{head},\n  "detections": {detections}\n}}\n'
