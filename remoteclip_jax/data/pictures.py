"""Images as they are drawn: no larger than a screen shows."""

from PIL import Image

MAX_SIDE = 1600  # pixels of a picture's longer side


def reduced(image: Image.Image, max_side: int = MAX_SIDE) -> Image.Image:
    """`image` in RGB with no side above `max_side` pixels. It is not copied, which for a large image takes gigabytes;
    the image itself is returned if there is nothing to change."""
    scale = max_side / max(image.size)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if scale >= 1:
        return rgb
    width, height = (max(1, round(side * scale)) for side in image.size)
    return rgb.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2)
