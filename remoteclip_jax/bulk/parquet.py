"""Rows in Apache Parquet: one row an image, its detections in a list. pyarrow is imported when it is needed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remoteclip_jax.errors import UserError

from .rows import Row

if TYPE_CHECKING:
    import pyarrow


def check_parquet() -> None:
    """UserError if pyarrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UserError("--output_format=parquet needs pyarrow: pip install 'remoteclip-jax[parquet]'")


def parquet_schema() -> "pyarrow.Schema":
    """The columns: `image`, `width`, `height`, `detections`, `notes` and `error`. Those that a row lacks are null. A
    box is x1, y1, x2, y2 in pixels."""
    import pyarrow as pa

    numbers = [(name, pa.float64()) for name in ("score", "x1", "y1", "x2", "y2")]
    detection = pa.struct([("label", pa.string()), *numbers])
    columns = {
        "image": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "detections": pa.list_(detection),
        "notes": pa.list_(pa.string()),
        "error": pa.string(),
    }
    return pa.schema(list(columns.items()))


def to_table(rows: Sequence[Row]) -> "pyarrow.Table":
    """The rows as a table."""
    import pyarrow as pa

    return pa.Table.from_pylist([_to_columns(row) for row in rows], schema=parquet_schema())


def from_table(table: "pyarrow.Table") -> list[Row]:
    """The rows of a table: the same that it was made of."""
    return [_from_columns(columns) for columns in table.to_pylist()]


def write_parquet(file: Any, rows: Sequence[Row]) -> None:
    """Write the rows to an open file."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(to_table(rows), file, compression="zstd")


def read_parquet(path: Path) -> list[Row]:
    """The rows of a file. An exception of pyarrow's if it is damaged."""
    import pyarrow.parquet

    return from_table(pyarrow.parquet.ParquetFile(path).read())


def read_names(path: Path) -> list[tuple[str, bool]]:
    """The image of each row of a file, and whether it could not be read. The detections are not read."""
    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(path).read(columns=["image", "error"])
    return [(row["image"], row["error"] is not None) for row in table.to_pylist()]


def _to_columns(row: Row) -> Row:
    found = row.get("detections")
    if found is None:
        return row
    corners = [dict(zip(("x1", "y1", "x2", "y2"), one["box"], strict=True)) for one in found]
    pairs = zip(found, corners, strict=True)
    return {**row, "detections": [{"label": one["label"], "score": one["score"], **box} for one, box in pairs]}


def _from_columns(columns: Row) -> Row:
    row = {name: value for name, value in columns.items() if value is not None}
    if "detections" in row:
        row["detections"] = [
            {"label": one["label"], "score": one["score"], "box": [one["x1"], one["y1"], one["x2"], one["y2"]]}
            for one in row["detections"]
        ]
    return row
