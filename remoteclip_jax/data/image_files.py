"""Opening image files safely: other files are refused, and so are headers that claim too many pixels.

Pillow has a guard against such decompression bombs, but it is global to the process. It warns from 89 megapixels on and
refuses from 179, and satellite scenes are often larger. The calling program may rely on that guard, so it is kept.
Instead, files are opened through Pillow's plugins, as `Image.open` does, with a limit of our own.
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

from remoteclip_jax.data.image_sources import ImageSource, open_source
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

# Pillow goes by the content, not by the name. Without this list it would run a PostScript file in Ghostscript.
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
    """Whether the file has the name of an image. Hidden files, such as macOS's `._a.jpg`, do not count."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


@contextmanager
def open_image_file(path: ImageSource) -> Iterator[BinaryIO]:
    """The file, or the member of an archive, opened for reading. UserError, with the remedy, if it is missing or
    clearly not an image."""
    try:
        if isinstance(path, Path):
            kind = path.stat().st_mode
            if stat.S_ISDIR(kind):
                raise unreadable_error(path, "Is a directory; name the images in it")
            if not stat.S_ISREG(kind):  # opening a pipe would block
                raise unreadable_error(path, "not a regular file")
        with open_source(path) as file:
            if (reason := _not_image_reason(file.read(512))) is not None:
                raise unreadable_error(path, reason)
            file.seek(0)
            yield file
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except PermissionError:
        raise unreadable_error(path, "no permission to read it; see chmod") from None
    except (OSError, ValueError) as e:  # ValueError: a NUL in the name
        raise unreadable_error(path, getattr(e, "strerror", None) or str(e)) from None


def unreadable_error(path: ImageSource, reason: str) -> UserError:
    """The error for a file that is not a readable image."""
    return UserError(f"{path}: cannot be read as an image ({reason})")


def _not_image_reason(start: bytes) -> str | None:
    """Why a file that begins with `start` is not an image; None if it may be one."""
    if not start:
        return "the file is empty; copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer in place of the image; fetch that with `git lfs pull`"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page, perhaps a server's error message; download the image again"
    return None


def check_pixels(path: ImageSource, width: int, height: int) -> None:
    """UserError for an image of more than `MAX_PIXELS`, which is to be decoded as a whole."""
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{path}: {width}x{height} pixels are too many (at most {MAX_PIXELS:,}); cut the image into tiles, or save "
            f"it as a tiled TIFF, which `detect` reads by parts (JPEG and JPEG 2000 too, with rasterio: pip install "
            f"'remoteclip-jax[geo]')"
        )


def open_with_pillow(path: ImageSource, file: BinaryIO) -> Image.Image:
    """The image with only its header read; load it while `file` is open.

    UserError if Pillow does not know its format or cannot read its header.
    """
    image = _open_by_content(path, file)
    if image is None:
        raise unreadable_error(path, "not an image, or of an unknown format; save it as PNG, JPEG or TIFF")
    return image


def _open_by_content(path: ImageSource, file: BinaryIO) -> Image.Image | None:
    file.seek(0)
    start = file.read(16)
    for name in _FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is not None and (isinstance(accepted := accept(start), str) or not accepted):
            continue  # a string names a library that Pillow was built without
        file.seek(0)
        try:
            return factory(file, str(path))
        except (SyntaxError, IndexError, TypeError, struct.error):  # how Pillow's plugins reject other formats
            continue
        except Exception as e:  # a damaged header may raise anything
            raise unreadable_error(path, str(e) or type(e).__name__) from None
    return None
