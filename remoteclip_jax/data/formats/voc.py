"""Pascal VOC annotations, as DIOR writes them: one XML file an image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree
import numpy as np
from defusedxml import DefusedXmlException
from jaxtyping import Bool, Float32, Float64

from remoteclip_jax.errors import UserError

LARGEST = 1e7  # no image has a coordinate beyond; float32 still tells its pixels apart


@dataclass(frozen=True, eq=False)
class Annotation:
    """The objects of one image. `boxes` are pixels (x1, y1, x2, y2) as the file has them, not yet clipped; `difficult`
    are those that need not be found; `size` is (width, height), or None where the file does not say."""

    names: tuple[str, ...]
    boxes: Float64[np.ndarray, "n 4"]
    difficult: Bool[np.ndarray, " n"]
    size: tuple[int, int] | None


NOTHING = Annotation((), np.zeros((0, 4)), np.zeros(0, bool), None)


def parse_voc(path: Path) -> Annotation:
    """Read one annotation file. UserError, naming it, where it is missing or broken, or wants to expand entities."""
    try:
        root = defusedxml.ElementTree.parse(path).getroot()
    except DefusedXmlException as e:
        raise UserError(f"{path}: the XML declares entities, which may be an attack ({type(e).__name__})") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such annotation") from None
    except (ParseError, ValueError, LookupError) as e:
        raise UserError(f"{path}: broken XML ({e}); copy or export it again") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    if root.tag != "annotation":
        raise UserError(f"{path}: no VOC annotation: the root element is <{root.tag}>, not <annotation>")
    names, boxes, difficult = [], [], []
    for item in root.iter("object"):
        name = (item.findtext("name") or "").strip()
        if not name:
            raise UserError(f"{path}: an object has no <name>")
        names.append(name)
        boxes.append([_number(path, item, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")])
        difficult.append(_difficult(path, item))
    return Annotation(
        tuple(names), np.array(boxes, np.float64).reshape(-1, 4), np.array(difficult, bool), _size(path, root)
    )


def _difficult(path: Path, item: Any) -> bool:
    """VOC writes 0 or 1; some tools leave it out, or open."""
    text = (item.findtext("difficult") or "").strip()
    if text.lower() in ("", "0", "false", "no", "unspecified"):
        return False
    if text.lower() in ("true", "yes") or text.isdecimal():
        return True
    raise UserError(f"{path}: <difficult> is {text!r}; write 0 or 1")


def _number(path: Path, item: Any, tag: str) -> float:
    text = item.findtext(tag)
    if text is None:
        raise UserError(f"{path}: <{item.tag}> has no <{tag.replace('/', '><')}>")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= LARGEST:  # nor is NaN
        raise UserError(f"{path}: <{tag.split('/')[-1]}> is {text.strip()!r}, not a number of pixels")
    return value


def _size(path: Path, root: Any) -> tuple[int, int] | None:
    """None where the size is left out, or zero, as some tools write it that never opened the image."""
    if root.find("size") is None:
        return None
    width, height = (round(_number(path, root, f"size/{side}")) for side in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


def normalise_boxes(
    boxes: Float32[np.ndarray, "n 4"], width: int, height: int
) -> tuple[Float32[np.ndarray, "m 4"], np.ndarray]:
    """Pixels (x1, y1, x2, y2) to normalised (cx, cy, w, h), clipped to the image.

    Coordinates are taken as written and count as continuous: a box from 0 to `width` spans the image. Tools disagree on
    whether pixels begin at 0 or 1 and whether the last one is inside; reading them all alike is wrong by a pixel at
    most. Boxes that have no area inside the image are left out, among them those with their corners exchanged; the
    second result is the mask [n] of the others.
    """
    corners = np.clip(boxes / np.array([width, height, width, height], np.float32), 0, 1)
    size = corners[:, 2:] - corners[:, :2]
    keep = np.asarray((size > 0).all(-1))
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, size], -1)[keep].astype(np.float32), keep
