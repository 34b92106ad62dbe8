"""Image files in, RGB out: whatever the file's own mode, depth and orientation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from remoteclip_jax.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")

# Pillow looks at the content, whatever the name says, and would hand a PostScript file to Ghostscript.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000")

# Large satellite scenes are ordinary here, so Pillow's own limit (89 megapixels warn, 179 fail) is replaced by one
# that still keeps a small file from filling the memory.
MAX_PIXELS = 500_000_000
Image.MAX_IMAGE_PIXELS = None

# How an image is turned upright, by EXIF orientation (CIPA DC-008); the last four exchange width and height.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path, formats=_FORMATS)
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as e:
        reason = "not an image, or of an unknown kind" if isinstance(e, UnidentifiedImageError) else str(e)
        raise UserError(f"{path}: cannot be read as an image ({reason})") from None
    if image.width * image.height > MAX_PIXELS:
        raise UserError(f"{path}: {image.width}x{image.height} pixels are too many (at most {MAX_PIXELS:,})")
    return image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be undone; 1, upright, where the file says none or says nonsense."""
    if image.format == "TIFF":  # Pillow turns these itself
        return 1
    try:
        # The base class's method: PNG's own decodes the whole image in case the tag stands behind the pixels.
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged tag, of any of the kinds that the parser knows, is no damage to the pixels
        return 1


@dataclass(frozen=True)
class Header:
    """What the header of an image file tells: its `size` (width, height) in pixels as `read_image` will give it, and
    the EXIF `orientation` (1 to 8; 1 is upright) that it is turned by to that end."""

    size: tuple[int, int]
    orientation: int


def read_header(path: Path) -> Header:
    """UserError as from `read_image`; the pixels are not looked at."""
    with _open(path) as image:
        turn = _orientation(image)
        return Header(image.size[::-1] if turn >= 5 else image.size, turn)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as `read_image` will give them, from the header alone. UserError as there."""
    return read_header(path).size


def read_image(path: Path, at_least: int | None = None) -> Image.Image:
    """The image as RGB, turned upright as its EXIF orientation says.

    16-bit grey is scaled to 8 bits, CMYK and palettes are converted, transparency is dropped. With `at_least`, a JPEG
    is decoded at a reduced size whose shorter side is no shorter than that: several times faster, for training.
    UserError, naming the file, where it is missing, broken, of more than `MAX_PIXELS` or no image.
    """
    with _open(path) as image:
        orientation = _orientation(image)
        try:
            reduced = None if at_least is None else _decode_reduced(image, path, at_least)
            if reduced is None:
                image.load()
            rgb = to_rgb(image) if reduced is None else reduced
        except MemoryError:
            raise
        except Exception as e:  # Pillow's decoders let through whatever a damaged file makes them stumble over
            raise UserError(f"{path}: the image is broken ({e})") from None
    return rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb


def _decode_reduced(image: Image.Image, path: Path, at_least: int) -> Image.Image | None:
    """The file that `image` was opened from, decoded at a multiple of an eighth of its size (libjpeg's scaled inverse
    transform), at most half; None where it is no JPEG of grey or colours, or where Pillow shall say what is wrong."""
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        return None
    try:
        sides = {"min_width": at_least, "min_height": at_least}
        return Image.fromarray(simplejpeg.decode_jpeg(path.read_bytes(), **sides, min_factor=2.0))
    except ValueError:
        return None


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in three channels of eight bits. Deep grey is scaled, where Pillow's own conversion would clip
    everything above 255 to white."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if image.mode == "I" and values.max(initial=0) <= 255:  # 32 bits tell no range: these are bytes, stored wide
            return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
        values = np.clip(values, 0, 65535).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        scale = 255 if values.max(initial=0) <= 1 else 1  # fractions of white, or bytes
        return Image.fromarray((values * scale).clip(0, 255).round().astype(np.uint8)).convert("RGB")
    image.info.pop("transparency", None)  # dropped anyhow, and Pillow would warn on every such palette
    return image.convert("RGB")
