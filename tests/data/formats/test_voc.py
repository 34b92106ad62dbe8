"""VOC annotations: real ones are read in full, damaged ones are refused in one line that names the file."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.data.formats.voc import normalise_boxes, parse_voc
from remoteclip_jax.errors import UserError
from tests.data.sample_datasets import voc_xml
from tests.data.sample_images import write_file
from tests.shared_data import SHARED, requires_shared

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
    + "]><annotation><object><name>&j;</name></object></annotation>"
)
EXTERNAL = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation>&x;</annotation>'
ONE = voc_xml([("ship", 8, 6, 40, 30)])


@requires_shared
def test_all_real_annotations_read() -> None:
    parsed = [parse_voc(path) for path in sorted((SHARED / "dior_mini" / "annotations").glob("*.xml"))]
    assert len(parsed) == 100
    assert sum(len(p.names) for p in parsed) == 602
    assert max(len(p.names) for p in parsed) == 123
    assert {p.size for p in parsed} == {(800, 800)}
    for p in parsed:
        boxes, keep = normalise_boxes(p.boxes.astype(np.float32), 800, 800)
        assert keep.all()
        assert (boxes > 0).all()
        assert (boxes <= 1).all()


def test_annotation(tmp_path: Path) -> None:
    parsed = parse_voc(
        write_file(tmp_path / "a.xml", voc_xml([("ship", 8, 6, "40.5", " 30 "), (" harbor ", 1, 2, 3, 4)]))
    )
    assert parsed.names == ("ship", "harbor")
    assert parsed.size == (40, 40)
    np.testing.assert_array_equal(parsed.boxes, [[8, 6, 40.5, 30], [1, 2, 3, 4]])
    assert (parsed.boxes.dtype, parsed.difficult.tolist()) == (np.float64, [False, False])


@pytest.mark.parametrize(("text", "difficult"), [("1", True), (" 0\n", False), ("", False), ("Unspecified", False)])
def test_difficult(tmp_path: Path, text: str, difficult: bool) -> None:
    content = ONE.replace("<bndbox>", f"<difficult>{text}</difficult><bndbox>")
    assert parse_voc(write_file(tmp_path / "a.xml", content)).difficult.tolist() == [difficult]


@pytest.mark.parametrize("size", [None, (0, 0), (80, 0), ("0.2", 60)])
def test_a_missing_size_is_accepted(tmp_path: Path, size: tuple[object, object] | None) -> None:
    assert parse_voc(write_file(tmp_path / "a.xml", voc_xml([], size))).size is None


@pytest.mark.parametrize(
    "content",
    [
        ONE.encode("utf-16"),
        '<?xml version="1.0" encoding="utf-16"?>'.encode("utf-16") + ONE.encode("utf-16-le"),
        ONE.encode("utf-8-sig"),
        b'<?xml version="1.0" encoding="windows-1252"?><!-- \x9c -->' + ONE.encode(),
        ONE.replace("><", ">\r\n\t<").replace(">ship<", "> ship\r\n<"),
        ONE.replace("<name>", "<part><name>bow</name><bndbox><xmin>1</xmin></bndbox></part><name>"),
        "<!DOCTYPE annotation>" + ONE,
    ],
    ids=["utf-16", "utf-16 declared", "bom", "windows-1252", "indented", "with parts", "doctype"],
)
def test_encodings_and_indentation(tmp_path: Path, content: str | bytes) -> None:
    parsed = parse_voc(write_file(tmp_path / "a.xml", content))
    assert (parsed.names, parsed.boxes.tolist()) == (("ship",), [[8, 6, 40, 30]])


def test_deep_nesting(tmp_path: Path) -> None:
    nested = "<annotation>" + "<a>" * 100_000 + "</a>" * 100_000 + "</annotation>"
    assert parse_voc(write_file(tmp_path / "a.xml", nested)).names == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "broken XML"),
        (ONE[:-20], "broken XML"),
        (b"\x89PNG\r\n", "broken XML"),
        ('<?xml version="1.0" encoding="nonsense"?>' + ONE, "broken XML"),
        (BOMB, "entities"),
        (EXTERNAL, "entities"),
        ('<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;]>' + ONE, "entities"),
        (ONE.replace("ship", "&undefined;"), "broken XML"),
        (ONE.replace("ship", "\xff").encode("latin-1"), "broken XML"),
        (b"\x00" * 100, "broken XML"),
        ("<html/>", "root element is <html>"),
        (voc_xml([("ship", 1, 2, 3, "nan")]), "<ymax> is 'nan'"),
        (voc_xml([("ship", "inf", 2, 3, 4)]), "<xmin> is 'inf'"),
        (voc_xml([("ship", "1e300", 2, 3, 4)]), "<xmin> is '1e300'"),
        (voc_xml([("ship", "left\nand right", 2, 3, 4)]), "<xmin> is 'left.*right'"),
        (voc_xml([("ship", 1, 2, "2,5", 4)]), "<xmax> is '2,5'"),
        (voc_xml([("ship", 1, 2, 3, "")]), "<ymax> is ''"),
        (voc_xml([("", 1, 2, 3, 4)]), "no <name>"),
        (ONE.replace("<name>ship</name>", ""), "no <name>"),
        (ONE.replace("<ymax>30</ymax>", ""), "<object> has no <bndbox><ymax>"),
        (ONE.replace("bndbox", "robndbox"), "<object> has no <bndbox><xmin>"),
        (ONE.replace("<bndbox>", "<difficult>rather</difficult><bndbox>"), "<difficult> is 'rather'; write 0 or 1"),
        (voc_xml([], ("wide", 60)), "<width> is 'wide'"),
        ("<annotation><size/></annotation>", "<annotation> has no <size><width>"),
        ("<annotation><object><name>ship</name></object></annotation>", "<object> has no <bndbox><xmin>"),
    ],
)
def test_invalid_files_are_refused(tmp_path: Path, content: str | bytes, reason: str) -> None:
    path = write_file(tmp_path / "bad.xml", content)
    with pytest.raises(UserError, match=rf"bad\.xml: .*{reason}") as error:
        parse_voc(path)
    assert "\n" not in str(error.value)


def test_a_directory_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Is a directory"):
        parse_voc(tmp_path)
    with pytest.raises(UserError, match=r"absent\.xml: no such annotation"):
        parse_voc(tmp_path / "absent.xml")


def test_boxes_are_clipped_and_those_without_area_dropped() -> None:
    pixels = [
        [0, 0, 80, 60],  # the whole image
        [-20, -20, 40, 30],  # crosses the border
        [8, 6, 8, 30],  # no width
        [40, 30, 8, 6],  # corners exchanged
        [80, 0, 90, 60],  # outside
        [8, 6, 40, 30],
    ]
    boxes, keep = normalise_boxes(np.array(pixels, np.float32), 80, 60)
    assert keep.tolist() == [True, True, False, False, False, True]
    assert boxes.dtype == np.float32
    np.testing.assert_allclose(boxes, [[0.5, 0.5, 1, 1], [0.25, 0.25, 0.5, 0.5], [0.3, 0.3, 0.4, 0.4]], atol=1e-7)
    none, keep = normalise_boxes(np.zeros((0, 4), np.float32), 80, 60)
    assert none.shape == (0, 4)
    assert keep.shape == (0,)


def test_mutated_annotations_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        content = bytearray(ONE.encode())
        start = rng.integers(len(content))
        content[start : start + rng.integers(8)] = rng.integers(256, size=rng.integers(4), dtype=np.uint8).tobytes()
        path = write_file(tmp_path / "bad.xml", bytes(content))
        try:
            parse_voc(path)
        except UserError as e:
            assert str(path) in str(e)  # noqa: PT017
