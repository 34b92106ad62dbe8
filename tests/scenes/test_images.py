"""Synthetic scenes: tight boxes at every image size."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from remoteclip_jax.scenes import render_scene
from remoteclip_jax.scenes.images import generate_scene
from remoteclip_jax.scenes.shapes import clip_to_unit_square, ellipse, polygon_area, rect, transform


def test_boxes_are_tight() -> None:
    side, compared = 1600, 0
    for index in range(40):
        scene = generate_scene(4, "train", index)
        boxes, _ = scene.visible_boxes()
        extents = []
        for _, parts in scene.objects:
            mask = Image.new("L", (side, side))
            draw = ImageDraw.Draw(mask)
            for part in parts:
                if part.solid:
                    draw.polygon((part.points * side - 0.5).ravel().tolist(), fill=1)
            ys, xs = np.nonzero(np.asarray(mask))
            extents.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(xs) else (0, 0, 0, 0))
        found = np.array(extents)
        for box in boxes * side:  # objects that are hardly visible are only in `found`
            assert np.abs(found - box).max(1).min() <= 2.5, (index, box)
            compared += 1
    assert compared > 150


def test_a_small_image_is_the_large_one_scaled_down() -> None:
    small, small_boxes, names = render_scene(11, 128)
    large, large_boxes, same = render_scene(11, 512)
    assert names == same
    assert np.abs(large_boxes / 4 - small_boxes).max() <= 1
    reduced = np.asarray(Image.fromarray(large).reduce(8), float).ravel()
    assert np.corrcoef(reduced, np.asarray(Image.fromarray(small).reduce(2), float).ravel())[0, 1] > 0.9


def test_clipping_keeps_the_visible_part() -> None:
    assert polygon_area(clip_to_unit_square(rect(0.0, 0.5, 0.5, 0.2))) == pytest.approx(0.05)
    assert len(clip_to_unit_square(rect(2.0, 2.0, 0.5, 0.5))) == 0
    assert polygon_area(clip_to_unit_square(rect(0.5, 0.5, 5, 5, 0.3))) == pytest.approx(1)
    assert polygon_area(clip_to_unit_square(ellipse(0.0, 0.0, 0.4, n=200))) == pytest.approx(np.pi * 0.16 / 4, rel=1e-2)
    assert transform([], 0, 1, (0, 0)) == []
