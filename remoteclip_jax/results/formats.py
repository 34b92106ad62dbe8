"""The formats, by name. To add one, write a function and give it a line here."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from remoteclip_jax.errors import UserError
from remoteclip_jax.results.coco import coco_text
from remoteclip_jax.results.csv_file import csv_text
from remoteclip_jax.results.geojson import geojson_text
from remoteclip_jax.results.image_result import ImageResult, ResultSettings
from remoteclip_jax.results.json_file import json_text
from remoteclip_jax.results.yolo import yolo_classes, yolo_text


@dataclass(frozen=True)
class Format:
    """The files of a format, each as a name and the function that makes its text.

    `each` is written for every image, and its name is an extension. `once` is written at the start, from the names of
    the classes. `every` is written at the end, from the results of all images, in their order, and the classes.
    """

    each: tuple[str, Callable[[ImageResult], str]] | None = None
    once: tuple[str, Callable[[Sequence[str]], str]] | None = None
    every: tuple[str, Callable[[Sequence[ImageResult], Sequence[str]], str]] | None = None


FORMATS = {
    "json": Format(each=(".json", json_text)),
    "geojson": Format(each=(".geojson", geojson_text)),
    "coco": Format(every=("detections.coco.json", coco_text)),
    "yolo": Format(each=(".txt", yolo_text), once=("classes.txt", yolo_classes)),
    "csv": Format(every=("detections.csv", csv_text)),
}


def parse_formats(names: Sequence[str] | None, geojson_crs: str = "wgs84") -> ResultSettings:
    """The settings that the flags --output_format and --geojson_crs mean. By default, JSON, and GeoJSON for images that
    have coordinates. UserError for a format that does not exist."""
    native = geojson_crs == "native"
    if names is None:
        return ResultSettings(native=native)
    chosen = list(dict.fromkeys(name.strip().lower() for name in names))
    for name in chosen or [""]:
        if name not in FORMATS:
            near = difflib.get_close_matches(name, FORMATS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"--output_format={name} is unknown; known: {', '.join(FORMATS)}{hint}")
    if native and "geojson" not in chosen:
        raise UserError(f"--geojson_crs=native is for GeoJSON, which --output_format={','.join(chosen)} leaves out")
    return ResultSettings(tuple(chosen), True, native)


def reserved_names(settings: ResultSettings) -> set[str]:
    """The names that no image's files may have, without their extension: other files of these formats are called so."""
    chosen = [FORMATS[name] for name in settings.formats]
    shared = [file[0] for one in chosen for file in (one.once, one.every) if file]
    extensions = [one.each[0] for one in FORMATS.values() if one.each]
    return {name.removesuffix(end) for name in shared for end in extensions if name.endswith(end)}
