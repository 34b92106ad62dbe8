"""Captions in tables: CSV or TSV with one image-caption pair a row, as open_clip's `--train-data` takes them."""

import csv
import io
import re
from pathlib import Path

from remoteclip_jax.data.captions.records import CaptionFile, CaptionRecord
from remoteclip_jax.errors import UserError

# The first of each is open_clip's default.
IMAGE_COLUMNS = ("filepath", "filename", "file_name", "image", "image_path", "img", "path", "file")
CAPTION_COLUMNS = ("title", "caption", "captions", "text", "sentence", "raw")
SPLIT_COLUMN = "split"
DELIMITERS = {",": "CSV", "\t": "TSV", ";": "CSV with semicolons"}
_LINE_END = re.compile(r"[\r\n]")


def read_caption_table(path: Path, split: str | None) -> CaptionFile:
    """The captions in a table, whose first line names the columns. Rows of the same image are gathered.

    The delimiter is the one by which the first line has a column of images and one of captions: open_clip's default is
    the tab, whatever a file is called. `split` is that of the file, for rows without one. UserError, naming the file
    and the line, for a text that is not UTF-8, a first line without these columns, and a broken row.
    """
    text = _text(path)
    delimiter, image, caption, columns = _columns(path, text)
    own_split = columns.index(SPLIT_COLUMN) if SPLIT_COLUMN in columns else None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        next(reader)
    except csv.Error as e:
        raise UserError(f"{path}, line 1: a broken row ({e}); a quote in a text is written twice") from None
    gathered: dict[tuple[str | None, str], tuple[int, list[str]]] = {}
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as e:
            raise UserError(f"{path}, line {line}: a broken row ({e}); a quote in a text is written twice") from None
        if row is None:
            break
        if not row:
            continue
        if len(row) != len(columns):
            raise UserError(
                f"{path}, line {line}: {len(row)} columns, but the first line has {len(columns)}; a text with the "
                f"delimiter {delimiter!r} in it needs quotes"
            )
        if not row[image].strip():
            raise UserError(f"{path}, line {line}: the column {columns[image]!r} is empty")
        name, named = row[image].strip(), row[own_split].strip() if own_split is not None else ""
        gathered.setdefault((named or split, name), (line, []))[1].append(row[caption])
    records = tuple(
        CaptionRecord(path, f"line {line}", name, tuple(captions), of)
        for (of, name), (line, captions) in gathered.items()
    )
    kind = DELIMITERS[delimiter]
    return CaptionFile(f"captions in {kind} (columns {columns[image]!r} and {columns[caption]!r})", records)


def _columns(path: Path, text: str) -> tuple[str, int, int, list[str]]:
    """The delimiter, the columns of images and of captions, and the names of all columns."""
    first = _LINE_END.split(text, maxsplit=1)[0]
    by_suffix = sorted(DELIMITERS, key=lambda delimiter: (delimiter == "\t") != (path.suffix.lower() == ".tsv"))
    for delimiter in by_suffix:
        try:
            columns = [name.strip().casefold() for name in next(csv.reader([first], delimiter=delimiter), [])]
        except csv.Error:  # a line that is no table's, of a hundred thousand letters
            continue
        image = next((columns.index(name) for name in IMAGE_COLUMNS if name in columns), None)
        caption = next((columns.index(name) for name in CAPTION_COLUMNS if name in columns), None)
        if image is not None and caption is not None:
            return delimiter, image, caption, columns
    raise UserError(
        f"{path}: its first line must name a column of images ({', '.join(IMAGE_COLUMNS)}) and one of captions "
        f"({', '.join(CAPTION_COLUMNS)}), but it is {first[:60]!r}"
    )


def _text(path: Path) -> str:
    """The text of the file. UserError, naming the first line that is wrong, if it is not UTF-8 or has a NUL."""
    try:
        content = path.read_bytes()
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content.count(b"\n", 0, e.start) + 1
        where = "" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else f", line {line}"
        raise UserError(f"{path}{where}: not a text in UTF-8; save it as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}, line {line}: a NUL character, which no text has; copy or export the file again")
    return text
