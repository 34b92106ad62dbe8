"""The size that boxes refer to: decided for all images of a split by clear evidence, or refused."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data.formats.stated_size import (
    ROTATED,
    SCALED,
    SCALED_UP,
    UNSCALED,
    UNSURE,
    Frame,
    Size,
    SizedImage,
    resolve_frames,
)
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.errors import UserError


def item(stated: Size | None, actual: Size, *boxes: Sequence[float], orientation: int = 1) -> SizedImage:
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    boxes_ = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], -1)
    return SizedImage(Path("a.xml"), Path("a.jpg"), stated, actual, orientation, boxes_)


def resolved(*items: SizedImage) -> tuple[list[Frame], str]:
    notes = Notes("train")
    return resolve_frames(items, notes), "\n".join(notes.lines())


NEAR, MIDDLE, FAR = (10, 10, 40, 40), (280, 280, 400, 330), (700, 700, 900, 720)


def test_equal_and_missing_sizes_need_no_note() -> None:
    frames, notes = resolved(item((600, 600), (600, 600), NEAR), item(None, (800, 600), FAR), item(None, (9, 9)))
    assert [(f.width, f.height) for f in frames] == [(600, 600), (800, 600), (9, 9)]
    assert notes == ""


@pytest.mark.parametrize(
    ("stated", "actual", "boxes", "frame", "note"),
    [
        ((1200, 1200), (600, 600), [NEAR, FAR], (1200, 1200), SCALED),
        ((1200, 1200), (600, 600), [NEAR, MIDDLE], (600, 600), UNSCALED),
        ((600, 600), (1200, 1200), [NEAR, FAR], (1200, 1200), UNSCALED),
        ((600, 600), (1200, 1200), [NEAR, MIDDLE], (600, 600), SCALED_UP),
        (
            (600, 300),
            (400, 800),
            [NEAR, (0, 700, 20, 800)],
            (400, 800),
            UNSCALED,
        ),  # another shape: never scaled
        ((1200, 1200), (600, 600), [(-4, -9, 606, 605), MIDDLE], (600, 600), UNSCALED),  # slightly beyond the border
        ((1200, 1200), (600, 600), [MIDDLE] * 99 + [(0, 0, 5000, 5000)], (600, 600), UNSCALED),  # one outlier
    ],
)
def test_one_of_the_two_sizes(stated: Size, actual: Size, boxes: list[Sequence[float]], frame: Size, note: str) -> None:
    one = item(stated, actual, *boxes)
    [result], notes = resolved(one)
    assert (result.width, result.height) == frame
    np.testing.assert_array_equal(result.boxes, one.boxes)
    assert f"train: 1 {note} (first in a.jpg)" == notes


def test_evidence_from_one_image_holds_for_all() -> None:
    """The first two boxes fit both sizes of their images, which have several sizes themselves."""
    undecided = item((2000, 1000), (1000, 500), NEAR), item((900, 900), (450, 450), NEAR)
    frames, notes = resolved(*undecided, item((1200, 1200), (600, 600), FAR))
    assert [(f.width, f.height) for f in frames] == [(2000, 1000), (900, 900), (1200, 1200)]
    assert f"3 {SCALED}" in notes
    frames, notes = resolved(*undecided, item((1200, 1200), (600, 600), MIDDLE), item((300, 300), (600, 600), MIDDLE))
    assert [(f.width, f.height) for f in frames] == [(1000, 500), (450, 450), (600, 600), (600, 600)]
    assert f"4 {UNSCALED}" in notes


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([item((1200, 1200), (600, 600), NEAR)], "fit both, as in 1 images: correct the stated size, or leave it out"),
        (
            [item((60, 80), (80, 60), (1, 1, 9, 9))],
            "a.xml: says 60x80 pixels for a.jpg, which has 80x60: give the image",
        ),
        ([item((1200, 1200), (600, 600), FAR), item((300, 300), (600, 600), MIDDLE)], "contradict each other"),
    ],
)
def test_undecided_sizes_are_refused(items: list[SizedImage], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolved(*items)


def test_without_boxes_any_size_is_accepted() -> None:
    [frame], notes = resolved(item((50, 90), (600, 600)))
    assert (frame.width, frame.height, frame.boxes.shape, notes) == (600, 600, (0, 4), "")


UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_boxes_rotate_like_pixels(orientation: int) -> None:
    """An image whose size shows nothing is treated like one whose size does."""
    picture = Image.new("L", (80, 60))
    picture.paste(255, (50, 10, 75, 20))
    upright = picture.transpose(UPRIGHT[orientation])
    decided = item((80, 60), (60, 80), NEAR, orientation=6)
    [_, frame], notes = resolved(decided, item((80, 60), upright.size, (50, 10, 75, 20), orientation=orientation))
    assert (frame.width, frame.height) == upright.size
    x, y, w, h = frame.boxes[0]
    assert upright.getbbox() == (x, y, x + w, y + h)
    assert f"2 {ROTATED}" in notes


def test_rotated_and_scaled() -> None:
    [frame], notes = resolved(item((160, 120), (60, 80), (140, 0, 160, 10), orientation=6))
    assert (frame.width, frame.height, frame.boxes.tolist()) == (120, 160, [[110, 140, 10, 20]])
    assert ROTATED in notes
    assert SCALED in notes


def test_boxes_alone_may_show_that_an_image_was_rotated() -> None:
    [frame], notes = resolved(item(None, (60, 80), (70, 0, 80, 10), orientation=6))
    assert (frame.boxes.tolist(), ROTATED in notes) == ([[50, 70, 10, 10]], True)


@pytest.mark.parametrize(
    "one",
    [
        item((80, 80), (80, 80), NEAR, orientation=6),
        item((80, 60), (80, 60), NEAR, orientation=3),
        item(None, (60, 80), NEAR, orientation=8),
    ],
)
def test_rotated_without_evidence(one: SizedImage) -> None:
    [frame], notes = resolved(one)
    np.testing.assert_array_equal(frame.boxes, one.boxes)
    assert UNSURE in notes
    drawn_upright = item((60, 80), (60, 80), NEAR, orientation=6)
    assert resolved(one, drawn_upright)[1] == ""
