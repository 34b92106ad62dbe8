"""A contact sheet of a data set: a couple of dozen images with their annotation, so that all classes are seen."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32
from PIL import Image, ImageDraw

from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.detector.detections import true_objects
from remoteclip_jax.errors import UserError
from remoteclip_jax.evaluation.draw import DARK, GREY, TEXT_SIZE, WHITE, contact_sheet, draw, legend_rows, paint_legend
from remoteclip_jax.evaluation.fonts import text_line
from remoteclip_jax.evaluation.pictures import frame_ignored

PICTURES = 24  # more if that many do not show all classes
MAX_PICTURES = 60
COLUMNS = 4
CELL = 480  # pixels of the longer side of a picture
CLEAR_SIDE = 24.0  # pixels in the picture; where the typical object would be smaller, a part of the image is shown
MAX_ENLARGEMENT = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """An image for the sheet: an example of a data set, and the label of the class that it was chosen for, if any."""

    dataset: Dataset
    example: Example
    label: int | None = None


def chosen_images(datasets: Sequence[Dataset], count: int = PICTURES) -> list[Choice]:
    """About `count` images, the same ones for the same data.

    First images are taken that have classes that none before shows, as many new ones as possible; a large image is
    taken again for those that are in another part of it. Then the splits take turns, each with images at equal
    distances, so that background is there as often as in the data.
    """
    chosen: list[Choice] = []
    candidates = [(dataset, example) for dataset in datasets for example in dataset.examples]
    present = [frozenset(d.classes[label] for label in np.unique(e.labels)) for d, e in candidates]
    missing = set().union(*present)
    while missing and len(chosen) < MAX_PICTURES:
        best = max(range(len(candidates)), key=lambda i: len(present[i] & missing))
        dataset, example = candidates[best]
        # What is shown should be the rarest of the new classes, which the other pictures are least likely to show.
        frequency = Counter(name for names in present for name in names)
        rarest = min(present[best] & missing, key=lambda name: (frequency[name], name))
        chosen.append(Choice(dataset, example, dataset.classes.index(rarest)))
        part = example_in(example, shown_part(chosen[-1]), (CELL, CELL))
        missing -= {rarest, *(dataset.classes[label] for label in part.labels)}
    spread = [[d.examples[i] for i in np.linspace(0, len(d) - 1, count).round().astype(int)] for d in datasets]
    turns = [(d, examples[k]) for k in range(count) for d, examples in zip(datasets, spread, strict=True)]
    seen = {choice.example.image for choice in chosen}
    for dataset, example in turns:
        if len(chosen) >= count:
            break
        if example.image not in seen:
            chosen.append(Choice(dataset, example))
            seen.add(example.image)
    return chosen


def data_sheet(title: str, datasets: Sequence[Dataset]) -> Image.Image:
    """The sheet: below `title` a legend of the classes, and the chosen images with their boxes, split by split."""
    order = {id(dataset): i for i, dataset in enumerate(datasets)}
    choices = sorted(chosen_images(datasets), key=lambda choice: order[id(choice.dataset)])
    sheet = contact_sheet([_cell(choice) for choice in choices], COLUMNS)
    names = datasets[0].classes
    present = sorted({int(label) for choice in choices for label in np.unique(choice.example.labels)})
    heading = text_line(_shortened(title, sheet.width - 24, TEXT_SIZE + 3), TEXT_SIZE + 3)
    rows = legend_rows([(text_line(names[label], TEXT_SIZE), label) for label in present], sheet.width - 24)
    line = max([heading.height, *(name.height for row in rows for _, name, _ in row)]) + 4
    page = Image.new("RGB", (sheet.width, sheet.height + 12 + line * (1 + len(rows))), WHITE)
    canvas = ImageDraw.Draw(page)
    canvas.text((12, 12), heading.text, font=heading.font, fill=DARK)
    paint_legend(canvas, rows, 12, 12 + line, line)
    page.paste(sheet, (0, page.height - sheet.height))
    return page


def _cell(choice: Choice) -> Image.Image:
    """The picture of an image below two lines of text. An image that cannot be read is grey."""
    dataset, example = choice.dataset, choice.example
    size = f"{example.width}x{example.height}, objects: {len(example.labels)}"
    if len(example.ignored):
        size += f", ignored (grey): {len(example.ignored)}"
    try:
        image = read_image(example.image, bands=dataset.bands)
    except UserError:
        picture, size = Image.new("RGB", (CELL, CELL // 2), GREY), f"{size}: cannot be read"
    else:
        left, top, right, bottom = shown_part(choice)
        if (right - left, bottom - top) != image.size:
            size += f"; {right - left}x{bottom - top} from {left}, {top}"
        scale = min(CELL / max(right - left, bottom - top), MAX_ENLARGEMENT)
        shape = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
        part = example_in(example, (left, top, right, bottom), shape)
        image = image.resize(shape, Image.Resampling.LANCZOS, box=(left, top, right, bottom), reducing_gap=2)
        picture = draw(frame_ignored(image, part), true_objects(part, dataset.classes), with_scores=False)
    texts = [_shortened(f"{dataset.split}: {example.image.name}", CELL, TEXT_SIZE), _shortened(size, CELL, TEXT_SIZE)]
    lines = [text_line(text, TEXT_SIZE) for text in texts]
    height = max(line.height for line in lines)
    cell = Image.new("RGB", (CELL, picture.height + 2 * height + 4), WHITE)
    for i, (line, fill) in enumerate(zip(lines, (DARK, GREY), strict=True)):
        ImageDraw.Draw(cell).text((0, i * height), line.text, font=line.font, fill=fill)
    cell.paste(picture, (0, 2 * height + 4))
    return cell


def shown_part(choice: Choice) -> tuple[int, int, int, int]:
    """The part (left, top, right, bottom) of the image that is shown, in pixels: all of it, if the typical object is
    clear to see then; else the square with the most objects around one of the class that the image was chosen for."""
    example, longer = choice.example, max(choice.example.width, choice.example.height)
    size = np.array([example.width, example.height], np.float64)
    typical = float(np.median(np.sqrt((example.boxes[:, 2:] * size).prod(-1)))) if len(example.boxes) else longer
    wanted = example.boxes if choice.label is None else example.boxes[example.labels == choice.label]
    largest = float((wanted[:, 2:] * size).max(initial=0))
    side = round(max(CELL, CELL * typical / CLEAR_SIDE, 1.2 * largest))
    if side >= longer:
        return 0, 0, example.width, example.height
    centres = example.boxes[:, :2] * size
    corners = np.clip(wanted[:, :2] * size - side / 2, 0, np.maximum(size - side, 0)).round()
    inside = ((centres >= corners[:, None]) & (centres < corners[:, None] + side)).all(-1).sum(-1)
    left, top = (int(x) for x in corners[inside.argmax()])
    return left, top, min(left + side, example.width), min(top + side, example.height)


def example_in(example: Example, part: tuple[int, int, int, int], shape: tuple[int, int]) -> Example:
    """`example` as that of a `part` of its image, resized to `shape` (width, height). Boxes that are outside of the
    part are left out, others not clipped."""
    start = np.array(part[:2], np.float32)
    extent = np.array(part[2:], np.float32) - start
    size = np.array([example.width, example.height], np.float32)

    def moved(boxes: Float32[np.ndarray, "n 4"]) -> tuple[Float32[np.ndarray, "m 4"], Bool[np.ndarray, " n"]]:
        centres, sides = (boxes[:, :2] * size - start) / extent, boxes[:, 2:] * size / extent
        touching = np.asarray(((centres + sides / 2 > 0) & (centres - sides / 2 < 1)).all(-1))
        return np.concatenate([centres, sides], -1)[touching], touching

    (boxes, kept), (ignored, kept_ignored) = moved(example.boxes), moved(example.ignored)
    return dataclasses.replace(
        example,
        width=shape[0],
        height=shape[1],
        boxes=boxes,
        labels=example.labels[kept],
        ignored=ignored,
        ignored_labels=example.ignored_labels[kept_ignored],
        annotations=None,
    )


def _shortened(text: str, width: int, size: int) -> str:
    """`text` with its middle left out, if it is wider than `width` pixels."""
    kept = len(text)
    while text_line(short := _without_middle(text, kept), size).width > width and kept > 4:
        kept -= 2
    return short


def _without_middle(text: str, kept: int) -> str:
    return text if kept >= len(text) else f"{text[: kept // 2]}…{text[len(text) - kept // 2 :]}"
