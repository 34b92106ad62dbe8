"""A table of all detections in all images."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from remoteclip_jax.data.georeference import Georeference
from remoteclip_jax.data.notes import utf8_name
from remoteclip_jax.results.image_result import ImageResult

COLUMNS = ("image", "label", "score", "x1", "y1", "x2", "y2", "lon", "lat")


def csv_text(results: Sequence[ImageResult], classes: Sequence[str]) -> str:
    """A row for each detection, in the order of the images: corners in pixels, and the box's centre in degrees of WGS
    84, empty where it is not known."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        centres = _centres(result)
        for item, centre in zip(result.found.to_json(), centres, strict=True):
            writer.writerow([result.image, item["label"], item["score"], *item["box"], *centre])
    return utf8_name(table.getvalue())


def _centres(result: ImageResult) -> list[list[str]]:
    boxes = result.found.boxes.astype(np.float64)
    if not isinstance(result.place, Georeference) or not len(boxes):
        return [["", ""]] * len(boxes)
    places = result.place.longitudes_latitudes((boxes[:, :2] + boxes[:, 2:]) / 2)
    places[:, 0] = (places[:, 0] + 180) % 360 - 180  # of an image beyond the antimeridian
    return [[f"{x:.8f}" for x in place] for place in places.tolist()]
