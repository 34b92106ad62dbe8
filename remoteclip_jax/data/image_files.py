"""Opening an image file: what is none is told from what is, and no header can claim more than the memory holds.

Pillow's own guard against such bombs is a global of the process: it warns from 89 megapixels on and refuses from 179,
where scenes of satellites are ordinary. It is left alone, for the program around may rely on it; so files are opened
through Pillow's plugins, as `Image.open` does, with a limit of our own.
"""

import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from remoteclip_jax.errors import UserError

EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".tif",
    ".tiff",
    ".bmp",
    ".webp",
    ".gif",
    ".jp2",
    ".j2k",
    ".ppm",
    ".pgm",
)

MAX_PIXELS = 500_000_000

# Pillow looks at the content, whatever the name says, and would hand a PostScript file to Ghostscript.
_PLUGINS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    TiffImagePlugin.TiffImageFile,
    BmpImagePlugin.BmpImageFile,
    WebPImagePlugin.WebPImageFile,
    GifImagePlugin.GifImageFile,
    Jpeg2KImagePlugin.Jpeg2KImageFile,
    PpmImagePlugin.PpmImageFile,
)
_FORMATS = tuple(plugin.format for plugin in _PLUGINS)


def is_image_name(path: Path) -> bool:
    """Whether the file's name is that of an image to read. Those that begin with a dot are what systems leave behind,
    such as `._a.jpg`."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """The file, opened for reading. UserError, naming it and what to do, where there is none or it is no image."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise unreadable(path, "Is a directory; name the images in it")
        if not stat.S_ISREG(kind):  # opening a pipe would wait for its other end
            raise unreadable(path, "not a regular file")
        with path.open("rb") as file:
            if (reason := _no_image(file.read(512))) is not None:
                raise unreadable(path, reason)
            file.seek(0)
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except PermissionError:
        raise unreadable(path, "no permission to read it; see chmod") from None
    except (OSError, ValueError) as e:  # a ValueError for a NUL in the name
        raise unreadable(path, getattr(e, "strerror", None) or str(e)) from None


def unreadable(path: Path, reason: str) -> UserError:
    return UserError(f"{path}: cannot be read as an image ({reason})")


def _no_image(start: bytes) -> str | None:
    """Why a file that starts so is no image, for what is often found under an image's name; else None."""
    if not start:
        return "the file is empty; copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer in place of the image; fetch that with `git lfs pull`"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page, perhaps a server's refusal; download the image again"
    return None


def check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{path}: {width}x{height} pixels are too many (at most {MAX_PIXELS:,}); cut the image into tiles"
        )


def open_with_pillow(path: Path, file: BinaryIO) -> Image.Image:
    """The image with its header read, to be loaded while `file` is open. UserError where Pillow does not know its kind,
    cannot read its header, or finds more than `MAX_PIXELS` there."""
    image = _identify(path, file)
    if image is None:
        raise unreadable(path, "not an image, or of an unknown kind; save it as PNG, JPEG or TIFF")
    check_pixels(path, *image.size)
    return image


def _identify(path: Path, file: BinaryIO) -> Image.Image | None:
    file.seek(0)
    start = file.read(16)
    for name in _FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is not None and (isinstance(answer := accept(start), str) or not answer):
            continue  # a text says what Pillow was built without
        file.seek(0)
        try:
            return factory(file, str(path))
        except (SyntaxError, IndexError, TypeError, struct.error):  # of another kind, as Pillow's plugins say it
            continue
        except Exception as e:  # whatever a damaged header makes the parsers stumble over; its sizes fill no memory
            raise unreadable(path, str(e) or type(e).__name__) from None
    return None
