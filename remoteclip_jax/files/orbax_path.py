"""Paths for Orbax. Every directory that is passed to Orbax comes from here."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from remoteclip_jax.errors import UserError


class _LiteralPath(type(epath.Path("/"))):  # type: ignore[misc]  # etils has no public name for a path on this machine
    """A path whose special characters are taken literally by `glob`.

    Orbax finds its files by `path.glob("…*")`. etils would treat the whole path as the pattern, and so find nothing
    below a directory called `a[1]`.
    """

    def glob(self, pattern: str) -> "Iterator[_LiteralPath]":
        return (type(self)(found) for found in glob.glob(os.path.join(glob.escape(str(self)), pattern)))


def orbax_path(directory: Path) -> epath.Path:
    """`directory` as an absolute path (links are not resolved) for Orbax to write to and to read from.

    UserError if Orbax or TensorStore cannot handle the name.
    """
    path = os.path.abspath(directory)
    problem = None
    if any(part.endswith(":") for part in Path(path).parts):
        problem = "ends in a colon"  # it would be read as the scheme of a URL, as in gs://bucket
    elif "\\" in path:
        problem = "has a backslash"  # TensorStore converts it to a slash
    elif not _is_text(path):
        problem = "is not UTF-8"
    if problem:
        raise UserError(f"{path}: weights cannot be kept below a name that {problem}; choose another one")
    return _LiteralPath(path)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8 are surrogates in Python
        return False
    return True
