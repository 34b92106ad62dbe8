"""Pascal VOC annotations, which DIOR uses as well: one XML file per image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import defusedxml.ElementTree
import numpy as np
from defusedxml import DefusedXmlException
from jaxtyping import Bool, Float32, Float64

from remoteclip_jax.errors import UserError

MAX_COORDINATE = 1e7  # larger than any image; float32 still distinguishes pixels up to here


@dataclass(frozen=True, eq=False)
class VocAnnotation:
    """The objects of one image.

    `boxes` are (x1, y1, x2, y2) in pixels as the file has them, not clipped. `difficult` marks objects that need not be
    found. `size` is (width, height) in pixels; None if the file does not state it.
    """

    names: tuple[str, ...]
    boxes: Float64[np.ndarray, "n 4"]
    difficult: Bool[np.ndarray, " n"]
    size: tuple[int, int] | None


NO_OBJECTS = VocAnnotation((), np.zeros((0, 4)), np.zeros(0, bool), None)


def parse_voc(path: Path) -> VocAnnotation:
    """The content of one annotation file. UserError, naming it, if it is missing or broken, or declares entities."""
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
        raise UserError(f"{path}: not a VOC annotation: the root element is <{root.tag}>, not <annotation>")
    names, boxes, difficult = [], [], []
    for item in root.iter("object"):
        name = (item.findtext("name") or "").strip()
        if not name:
            raise UserError(f"{path}: an object has no <name>")
        names.append(name)
        boxes.append([_number(path, item, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")])
        difficult.append(_difficult(path, item))
    return VocAnnotation(
        tuple(names), np.array(boxes, np.float64).reshape(-1, 4), np.array(difficult, bool), _size(path, root)
    )


def _difficult(path: Path, item: Any) -> bool:
    """Whether the object is difficult. VOC writes 0 or 1; some tools omit the element or its value."""
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
    if not abs(value) <= MAX_COORDINATE:  # also true for NaN
        raise UserError(f"{path}: <{tag.split('/')[-1]}> is {text.strip()!r}, not a number of pixels")
    return value


def _size(path: Path, root: Any) -> tuple[int, int] | None:
    """The stated size. None if it is missing, or zero, as written by tools that never opened the image."""
    if root.find("size") is None:
        return None
    width, height = (round(_number(path, root, f"size/{side}")) for side in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


def normalise_boxes(
    boxes: Float32[np.ndarray, "n 4"], width: int, height: int
) -> tuple[Float32[np.ndarray, "m 4"], np.ndarray]:
    """Boxes in normalised (cx, cy, w, h), clipped to the image, from (x1, y1, x2, y2) in pixels; and the mask [n] of
    those that were kept.

    Coordinates are read as written, and as continuous: a box from 0 to `width` spans the image. Tools disagree on
    whether pixels begin at 0 or 1, and whether the last pixel is included; reading them all alike is wrong by at most
    one pixel. Boxes without area inside the image are dropped, including those with their corners exchanged.
    """
    corners = np.clip(boxes / np.array([width, height, width, height], np.float32), 0, 1)
    size = corners[:, 2:] - corners[:, :2]
    keep = np.asarray((size > 0).all(-1))
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, size], -1)[keep].astype(np.float32), keep
