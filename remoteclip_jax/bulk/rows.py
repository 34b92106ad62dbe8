"""What is known of an image after its prediction, as a row: a JSON object on a line of its own, or a row of Parquet."""

import json
from collections import Counter
from typing import Any

from remoteclip_jax.data.notes import Notes, utf8_name
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.errors import UserError

# {"image", "width", "height", "detections": [{"label", "score", "box"}, …]}, as `detect` writes it, and "notes" if the
# image was converted; or {"image", "error"} for an image that cannot be read.
Row = dict[str, Any]

_START = '{"image": '
_ERROR = ', "error": '


def found_row(name: str, size: tuple[int, int], found: Detections, notes: list[str]) -> Row:
    """The row of an image of `size` (width, height) in pixels, to which the boxes of `found` refer."""
    width, height = size
    row = {"image": utf8_name(name), "width": width, "height": height, "detections": found.to_json()}
    return {**row, "notes": notes} if notes else row


def error_row(name: str, error: UserError | str) -> Row:
    """The row of an image that cannot be read."""
    return {"image": utf8_name(name), "error": str(error)}


def to_line(row: Row) -> str:
    """The row as a line of JSON. `image` and `error` come first, by which `name_and_failure` finds them."""
    return json.dumps(row) + "\n"


def name_and_failure(line: str) -> tuple[str, bool]:
    """The image of a line, and whether it could not be read. Its detections are not parsed, for there may be
    gigabytes of them. ValueError if the line is not a row's."""
    if not line.startswith(_START) or not line.endswith("}\n"):
        raise ValueError("not a row")
    name, end = json.JSONDecoder().raw_decode(line, len(_START))
    if not isinstance(name, str):
        raise ValueError("not a row")
    return name, line.startswith(_ERROR, end)


def count_objects(row: Row) -> Counter[str]:
    """The number of objects found, by class name."""
    return Counter(found["label"] for found in row.get("detections", ()))


def add_notes(row: Row, notes: Notes) -> None:
    """Count the notes of a row."""
    for note in row.get("notes", ()):
        notes.add(note, row["image"])
