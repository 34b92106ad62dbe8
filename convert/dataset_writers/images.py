"""Writing images: as they are, or the windows that they are cut into."""

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from convert.dataset_writers.items import Item
from remoteclip_jax.data.broken_images import SKIP_BROKEN_HINT
from remoteclip_jax.data.images import read_image
from remoteclip_jax.errors import UserError

JPEG_QUALITY = 95
MAX_THREADS = 8  # each holds an image, which may take a gigabyte


def write_images(items: Mapping[Path, Item], progress: bool) -> None:
    """Write each item's image to the path that it is given by. UserError for an image that cannot be read."""
    parts: dict[Path, list[tuple[Path, Item]]] = defaultdict(list)
    for path, item in items.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        parts[item.source].append((path, item))
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        results = [pool.submit(_write_parts, source, found) for source, found in parts.items()]
        try:
            for result in tqdm(results, desc="images", unit="image", disable=None if progress else True):
                result.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def is_jpeg(path: Path) -> bool:
    """Whether a file begins as JPEGs do, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == b"\xff\xd8"


def _write_parts(source: Path, parts: list[tuple[Path, Item]]) -> None:
    """Write the parts of an image, which is read once at most."""
    for path, item in parts:
        if item.window is None:
            _link_or_copy(source, path)
    cut = [(path, item.window) for path, item in parts if item.window is not None]
    if not cut:
        return
    try:
        image = read_image(source)
    except UserError as e:
        raise UserError(f"{e} {SKIP_BROKEN_HINT}") from None
    for path, window in cut:
        part = image.crop(window)
        if path.suffix == ".jpg":
            part.save(path, "JPEG", quality=JPEG_QUALITY, subsampling=0)  # small objects are told by their colours
        else:
            part.save(path, "PNG")


def _link_or_copy(source: Path, path: Path) -> None:
    """A hard link takes no space; it is not possible on another file system, or for another user's file."""
    try:
        os.link(os.path.realpath(source), path)
    except OSError:
        shutil.copyfile(source, path)
