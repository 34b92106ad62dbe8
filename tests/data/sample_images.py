"""Files for tests of readers: any content, and images that show their orientation."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_file(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_gradient(path: Path, size: tuple[int, int] = (80, 60), **options: Any) -> Path:
    """An image file in which every pixel differs from its neighbours, so that its orientation shows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([x * 255 // size[0], y * 255 // size[1], (x + 2 * y) % 256], -1).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path
