"""VOC in DIOR's flat layout: `images/`, `annotations/*.xml`, `splits/*.txt`, and the class names in `classes.txt`."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from convert.dataset_writers.items import Item, Split, Target
from convert.dataset_writers.names import one_line
from convert.dataset_writers.numbers import far_side, number_text
from remoteclip_jax.data.formats.dior import CLASS_FILE
from remoteclip_jax.data.formats.split_lists import is_split_name


def _write(root: Path, splits: Sequence[Split]) -> None:
    (root / "annotations").mkdir()
    (root / "splits").mkdir()
    for split in splits:
        for item in split.items:
            path = (root / "annotations" / item.name).with_suffix(".xml")
            ElementTree.ElementTree(_annotation(item, split.classes)).write(path, encoding="utf-8")
        stems = "".join(f"{Path(item.name).stem}\n" for item in split.items)
        (root / "splits" / f"{split.name}.txt").write_text(stems, encoding="utf-8")
    names = dict.fromkeys(name for split in splits for name in split.classes)
    (root / CLASS_FILE).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _annotation(item: Item, classes: Sequence[str]) -> ElementTree.Element:
    """The XML of an image. Coordinates are written as the readers here read them: continuous and from 0, so that a box
    from 0 to the width spans the image. They are whole numbers only where they were."""
    a = item.annotations
    root = ElementTree.Element("annotation")
    _add(root, "filename", item.name)
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", a.width), ("height", a.height), ("depth", 3)):
        _add(size, tag, str(value))
    columns = (a.boxes.tolist(), a.labels.tolist(), a.difficult.tolist())
    for (x, y, w, h), label, difficult in zip(*columns, strict=True):
        element = ElementTree.SubElement(root, "object")
        _add(element, "name", classes[label])
        _add(element, "difficult", str(int(difficult)))
        box = ElementTree.SubElement(element, "bndbox")
        for tag, side in (("xmin", x), ("ymin", y), ("xmax", far_side(x, w)), ("ymax", far_side(y, h))):
            _add(box, tag, number_text(side))
    ElementTree.indent(root)
    return root


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text


def _split_name(name: str, _: bool) -> str | None:
    return name if is_split_name(name) else None


VOC = Target("VOC (DIOR's flat layout)", False, True, lambda _: "images", _split_name, one_line, _write)
