"""What a writer is given, and what it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from remoteclip_jax.data.types import Annotations

Window = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the image; right and bottom excluded


@dataclass(frozen=True, eq=False)
class Item:
    """An image to write.

    `source` is its file, and `window` the part of it that is meant; None: all of it. `name` is its file name in the
    output, whose stem is unique in its directory. `annotations` are in pixels of the image as it is written, and each
    box has a width and a height.
    """

    source: Path
    name: str
    annotations: Annotations
    window: Window | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """A split to write. `ids` are the source's own numbers of the `classes`, if it is in the format that is written;
    else None."""

    name: str
    classes: tuple[str, ...]
    ids: tuple[int, ...] | None
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Target:
    """A format to write, called `title`.

    `has_crowds` and `has_difficult` say which kinds of ignored objects it can mark. `image_directory` gives the
    directory of a split's images, relative to the output. `split_name` gives the name to write a split under, from its
    name and whether it is the only one; None if the format cannot express it. `class_name` gives the form in which the
    format can hold a class name. `write` writes all annotations below a directory.
    """

    title: str
    has_crowds: bool
    has_difficult: bool
    image_directory: Callable[[str], str]
    split_name: Callable[[str, bool], str | None]
    class_name: Callable[[str], str]
    write: Callable[[Path, Sequence[Split]], None]
