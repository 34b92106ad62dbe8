"""Detections drawn on aerial images. Objects there are often many and small, and nothing may hide them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from remoteclip_jax.data.pictures import MAX_SIDE, reduced
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation.fonts import TextLine, text_line

TEXT_SIZE = 15  # pixels, of text beside the pictures
CROWD = 20  # with more boxes than this, small boxes get no label once their class has one
MOST_TRIED = 300  # boxes of a class for which a place for the label is sought, best score first
WHITE, DARK, GREY = (255, 255, 255), (24, 28, 34), (110, 116, 124)

# Bright, because land is mostly dark green, brown and grey; neighbours in the list differ most.
COLOURS = (
    (255, 45, 35),
    (0, 229, 255),
    (255, 214, 0),
    (255, 79, 216),
    (90, 255, 90),
    (255, 140, 0),
    (95, 145, 255),
    (200, 125, 255),
    (0, 255, 180),
    (255, 180, 200),
    (185, 255, 0),
    (255, 0, 128),
    (143, 211, 255),
    (255, 233, 168),
    (255, 128, 110),
    (0, 200, 185),
    (165, 165, 255),
    (220, 175, 120),
    (230, 200, 255),
    (255, 255, 255),
)

Rectangle = tuple[int, int, int, int]  # x1, y1, x2, y2 in whole pixels, x2 and y2 excluded


def colour(label: int) -> tuple[int, int, int]:
    """The colour of a class, by its index; colours repeat after 20 classes."""
    return COLOURS[label % len(COLOURS)]


def draw(image: Image.Image, found: Detections, *, with_scores: bool = True, max_side: int = MAX_SIDE) -> Image.Image:
    """A new RGB image with outlines, class names and scores; it is first reduced so that no side exceeds `max_side`.

    Outlines lie outside of their boxes. A label is placed where it covers neither another box nor another label, in the
    order of falling scores, and is left out if there is no such place, or after `MOST_TRIED` boxes of a class. With
    more than `CROWD` boxes, boxes smaller than their label get none once their class has one.
    """
    scale = min(1.0, max_side / max(image.size))
    picture = reduced(image, max_side)
    if picture is image:
        picture = image.copy()
    canvas = ImageDraw.Draw(picture)
    boxes, order = _visible(found, scale, picture.size)
    thickest = max(1, round(max(picture.size) / 400))
    outlines: list[Rectangle] = []
    for box in boxes:
        # A sixteenth of the box, so that the outline of a vehicle does not reach the vehicle beside it.
        line = int(np.clip(min(box[2] - box[0], box[3] - box[1]) / 16, 1, thickest))
        outlines.append((box[0] - line, box[1] - line, box[2] + line, box[3] + line))
    for i in np.argsort([-_area(box) for box in boxes], kind="stable"):  # small ones last, so that nothing covers them
        x1, y1, x2, y2 = _clip(outlines[i], picture.size)
        line = boxes[i][0] - outlines[i][0]
        canvas.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour(int(found.labels[order[i]])), width=line)
    _write_labels(canvas, picture.size, found, boxes, outlines, order, with_scores)
    return picture


def _visible(found: Detections, scale: float, size: tuple[int, int]) -> tuple[list[Rectangle], list[int]]:
    """Boxes in pixels of the picture, clipped to it, best score first, and their indices in `found`."""
    boxes, order = [], []
    for i in np.argsort(-found.scores, kind="stable"):
        if not np.isfinite(found.boxes[i]).all():
            continue
        x1, y1, x2, y2 = found.boxes[i].astype(np.float64) * scale
        if x2 < x1 or y2 < y1 or x2 < 0 or y2 < 0 or x1 >= size[0] or y1 >= size[1]:
            continue
        left, top = int(max(x1, 0)), int(max(y1, 0))
        right, bottom = int(np.ceil(min(x2, size[0]))), int(np.ceil(min(y2, size[1])))
        boxes.append((left, top, max(right, left + 1), max(bottom, top + 1)))
        order.append(int(i))
    return boxes, order


def _write_labels(
    canvas: ImageDraw.ImageDraw,
    size: tuple[int, int],
    found: Detections,
    boxes: list[Rectangle],
    outlines: list[Rectangle],
    order: list[int],
    with_scores: bool,
) -> None:
    """Write the labels of boxes in free places; see `draw`. `order` are the boxes' indices in `found`."""
    text_size = max(11, round(max(size) / 70))
    taken: list[Rectangle] = []
    named: set[int] = set()
    tried: Counter[int] = Counter()
    every = np.array(boxes, np.float64).reshape(-1, 4)
    for i, index in enumerate(order):
        label = int(found.labels[index])
        if tried[label] >= MOST_TRIED:
            continue
        text = found.classes[label] + (f" {found.scores[index]:.2f}" if with_scores else "")
        line = text_line(text, text_size)
        width, height = line.width + 4, line.height
        x1, y1, x2, y2 = outlines[i]
        if len(boxes) > CROWD and label in named and max(x2 - x1, y2 - y1) < width:
            continue
        left, right = min(max(x1, 0), size[0] - width), max(0, min(x2, size[0]) - width)
        corners = [(left, y1 - height), (left, y2), (right, y1 - height), (right, y2), (x2, max(y1, 0))]
        corners += [(x1 - width, max(y1, 0))]
        if _area(boxes[i]) > 12 * width * height:
            corners.append((boxes[i][0], boxes[i][1]))  # inside of a large box, where it hides little
        tried[label] += 1
        for x, y in corners:
            spot = (x, y, x + width, y + height)
            if spot != _clip(spot, size):
                continue
            shares = _covered(spot, every)
            shares[i] = 0
            if shares.max() > 0.1:
                continue
            if _covered(spot, np.array(taken, np.float64).reshape(-1, 4)).any():
                continue
            canvas.rectangle((x, y, x + width - 1, y + height - 1), fill=colour(label))
            canvas.text((x + 2, y), line.text, font=line.font, fill=DARK)
            taken.append(spot)
            named.add(label)
            break


def _covered(spot: Rectangle, boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    """The share of each box's area that `spot` covers."""
    sides = np.minimum(boxes[:, 2:], spot[2:]) - np.maximum(boxes[:, :2], spot[:2])
    return np.prod(np.maximum(sides, 0), 1) / np.prod(boxes[:, 2:] - boxes[:, :2], 1)


def _clip(box: Rectangle, size: tuple[int, int]) -> Rectangle:
    return max(box[0], 0), max(box[1], 0), min(box[2], size[0]), min(box[3], size[1])


def _area(box: Rectangle) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def side_by_side(
    image: Image.Image, truth: Detections, found: Detections, title: str = "", panel: int = MAX_SIDE // 2
) -> Image.Image:
    """Annotation (see `true_objects`) on the left, detections on the right, each at most `panel` pixels a side.

    Captions are above, and below is a legend with the colours of the classes in the two pictures.
    """
    left, right = draw(image, truth, with_scores=False, max_side=panel), draw(image, found, max_side=panel)
    gap, column = 8, max(left.width, 150)  # room for the captions even if the image is tiny
    width = 2 * column + 3 * gap
    present = np.unique(np.concatenate([truth.labels, found.labels])).tolist()
    names = [(text_line(found.classes[label], TEXT_SIZE), label) for label in present]
    heading = text_line(title, TEXT_SIZE)
    line = max(one.height for one in (heading, *(name for name, _ in names))) + 4
    legend = legend_rows(names, width - 2 * gap)
    titles = 1 if title else 0
    top = gap + (1 + titles) * line
    height = top + left.height + gap + len(legend) * line + (gap if legend else 0)
    page = Image.new("RGB", (width, height), WHITE)
    canvas = ImageDraw.Draw(page)
    canvas.text((gap, gap), heading.text, font=heading.font, fill=DARK)
    captions = ((gap, left, f"annotated: {len(truth)}"), (2 * gap + column, right, f"detected: {len(found)}"))
    for x, picture, words in captions:
        caption = text_line(words, TEXT_SIZE)
        canvas.text((x, gap + titles * line), caption.text, font=caption.font, fill=GREY if title else DARK)
        page.paste(picture, (x, top))
    paint_legend(canvas, legend, gap, top + left.height + gap, line)
    return page


Legend = list[list[tuple[int, TextLine, int]]]  # rows of (x, name of a class, label)


def legend_rows(names: Sequence[tuple[TextLine, int]], width: int) -> Legend:
    """The legend of classes, each a name and a label, in rows that are at most `width` pixels long."""
    rows: Legend = []
    x = width
    for name, label in names:
        length = name.width + 34
        if x + length > width:
            rows.append([])
            x = 0
        rows[-1].append((x, name, label))
        x += length
    return rows


def paint_legend(canvas: ImageDraw.ImageDraw, rows: Legend, left: int, top: int, line: int) -> None:
    """Write a legend with its upper left corner at (`left`, `top`), in rows that are `line` pixels apart."""
    for row, entries in enumerate(rows):
        y = top + row * line
        for x, name, label in entries:
            canvas.rectangle((left + x, y + 3, left + x + 12, y + 15), fill=colour(label), outline=GREY)
            canvas.text((left + x + 18, y), name.text, font=name.font, fill=DARK)


def contact_sheet(pictures: Sequence[Image.Image], columns: int = 1, gap: int = 12) -> Image.Image:
    """All `pictures` (at least one) on a white page, in rows of `columns`."""
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) + gap for row in rows]
    width = max(picture.width for picture in pictures) + gap
    page = Image.new("RGB", (width * min(columns, len(pictures)) + gap, sum(heights) + gap), WHITE)
    y = gap
    for row, height in zip(rows, heights, strict=True):
        for i, picture in enumerate(row):
            page.paste(picture, (gap + i * width, y))
        y += height
    return page
