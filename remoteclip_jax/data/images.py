"""Image files in, RGB out: whatever the file's own mode, depth and orientation."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from remoteclip_jax.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")

# Large satellite scenes are ordinary here, so Pillow's own limit (89 megapixels warn, 179 fail) is replaced by one
# that still keeps a small file from filling the memory.
MAX_PIXELS = 500_000_000
Image.MAX_IMAGE_PIXELS = None

ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
ORIENTATION = 0x0112


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such image") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as e:
        reason = "not an image, or of an unknown kind" if isinstance(e, UnidentifiedImageError) else str(e)
        raise UserError(f"{path}: cannot be read as an image ({reason})") from None
    if image.width * image.height > MAX_PIXELS:
        raise UserError(f"{path}: {image.width}x{image.height} pixels are too many (at most {MAX_PIXELS:,})")
    return image


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as `read_image` will give them, from the header alone. UserError as there."""
    with _open(path) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(ORIENTATION) in ROTATED else (width, height)


def read_image(path: Path, at_least: int | None = None) -> Image.Image:
    """The image as RGB, turned upright as its EXIF orientation says.

    16-bit grey is scaled to 8 bits, CMYK and palettes are converted, transparency is dropped. With `at_least`, a JPEG
    may be decoded at a reduced size whose shorter side is no shorter than that: several times faster, for training.
    UserError, naming the file, where it is missing, broken or no image.
    """
    with _open(path) as image:
        if at_least is not None:
            image.draft("RGB", (at_least, at_least))
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return _to_rgb(upright)
        except (OSError, ValueError, SyntaxError, EOFError) as e:
            raise UserError(f"{path}: the image is broken ({e})") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # Pillow would clip these to 255
        values = np.asarray(image, np.float64)
        deep = image.mode.startswith("I") and values.max(initial=0) > 255
        grey = np.clip(values / 257 if deep else values, 0, 255).round().astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    return image.convert("RGB")
