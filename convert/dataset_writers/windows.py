"""Cutting large images into overlapping windows, and their annotations with them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convert.dataset_writers.items import Window
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.types import Annotations

# A window with less than this share of an object's area has it as an ignored region. DOTA's and MMRotate's tools say
# 0.7. Then an object of 400 pixels where four windows of 1024 with an overlap of a quarter meet would be an object in
# none of them; with 0.4, each object of up to 0.94 of the window's side is one somewhere.
MIN_AREA_INSIDE = 0.4
MIN_PART = 1.0  # pixels; of an object that is cut, a part with a shorter side is left out


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Where the windows along a side of `length` pixels start, in order: at equal distances, and the last one shifted
    so that it ends with the image. Neighbours share at least a share `overlap` of their length."""
    if length <= window:
        return [0]
    stride = max(1, int(window * (1 - overlap)))
    return [*range(0, length - window, stride), length - window]


def windows_of(width: int, height: int, window: int, overlap: float) -> list[Window]:
    """The windows of an image in rows from its upper left corner. A side that is shorter than `window` is not cut."""
    return [
        (left, top, left + min(window, width), top + min(window, height))
        for top in window_starts(height, window, overlap)
        for left in window_starts(width, window, overlap)
    ]


def cut_annotations(a: Annotations, windows: Sequence[Window], source: Path, notes: Notes) -> list[Annotations]:
    """The annotations in each of `windows`, in its own pixels.

    Boxes are clipped to the window. An object with less than `MIN_AREA_INSIDE` of its area (of that inside the image)
    in the window is difficult there, so that it is ignored. `notes` account for each object; one that crosses the
    image's border is whole if all of it that is inside the image is.
    """
    low, size = a.boxes[:, :2], a.boxes[:, 2:]
    image = np.array([a.width, a.height], np.float64)
    visible = np.clip(low + size, 0, image) - np.clip(low, 0, image)
    area = visible.prod(-1)
    inside = area > 0
    best = np.zeros(len(area))
    results = []
    for left, top, right, bottom in windows:
        start, end = np.array([left, top], np.float64), np.array([right, bottom], np.float64)
        near, far = np.clip(low, start, end), np.clip(low + size, start, end)
        whole = ((low >= start) & (low + size <= end)).all(-1)
        part = np.where(whole[:, None], size, far - near)  # not far - near where nothing is cut, which would round
        share = np.divide(part.prod(-1), area, out=np.zeros_like(area), where=inside)
        share[whole] = 1
        kept = inside & (part > 0).all(-1) & (whole | (part >= MIN_PART).all(-1))
        below = kept & (share < MIN_AREA_INSIDE)
        notes.add(f"parts with less than {MIN_AREA_INSIDE:.0%} of an object's area, ignored", source, int(below.sum()))
        slivers = inside & (part > 0).all(-1) & ~kept
        notes.add("parts of objects under a pixel, left out", source, int(slivers.sum()))
        best = np.where(kept, np.maximum(best, share), best)
        results.append(
            dataclasses.replace(
                a,
                width=right - left,
                height=bottom - top,
                boxes=np.concatenate([near - start, part], -1)[kept],
                areas=(a.areas * part.prod(-1) / size.prod(-1))[kept],
                labels=a.labels[kept],
                crowd=a.crowd[kept],
                difficult=(a.difficult | (below & ~a.crowd))[kept],
            )
        )
    enough = best >= MIN_AREA_INSIDE
    for what, mask in (
        ("objects whole in at least one window", best >= 1),
        (f"objects whole in no window, and with at least {MIN_AREA_INSIDE:.0%} in one", enough & (best < 1)),
        (f"objects with less than {MIN_AREA_INSIDE:.0%} in each window, ignored", inside & ~enough),
        ("objects outside of the images that were cut, left out", ~inside),
    ):
        notes.add(what, source, int(mask.sum()))
    return results
