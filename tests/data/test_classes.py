"""Class names: spellings of a name are one class, unknown names are refused with the nearest class."""

from pathlib import Path

import pytest

from remoteclip_jax.data.classes import DIOR_CLASSES, class_index, find_class_index, read_class_file
from remoteclip_jax.errors import UserError


@pytest.mark.parametrize(
    "name", ["Expressway-Service-area", "expressway service area", "EXPRESSWAY_SERVICE_AREA", "ExpresswayServicearea"]
)
def test_spellings_of_one_class(name: str) -> None:
    assert class_index(name, DIOR_CLASSES) == 7


def test_every_class_is_found_and_distinct() -> None:
    assert [find_class_index(name.upper(), DIOR_CLASSES) for name in DIOR_CLASSES] == list(range(20))


def test_an_exact_name_takes_precedence() -> None:
    assert class_index("Ship", ["ship", "Ship"]) == 1
    assert class_index("SHIP", ["ship", "Ship"]) == 0


def test_unknown_classes() -> None:
    with pytest.raises(UserError, match=r"some\.xml: unknown class 'airplan'.*'airplane'"):
        class_index("airplan", DIOR_CLASSES, Path("some.xml"))
    with pytest.raises(UserError, match=r"'tennis-curt'.*'tenniscourt'"):
        class_index("tennis-curt", DIOR_CLASSES)
    with pytest.raises(UserError, match="unknown class"):
        class_index("猫", DIOR_CLASSES)
    assert find_class_index("", DIOR_CLASSES) is None


def test_class_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(b"\xef\xbb\xbfship\r\n\r\n  storage tank \r\ndam")
    assert read_class_file(path) == ("ship", "storage tank", "dam")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no class name"),
        (b" \n\n", "no class name"),
        (b"ship\nShip\n", "'Ship' .*twice"),
        (b"\xff\xfea\x00", "UTF-8"),
    ],
)
def test_invalid_class_files(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"classes\.txt: .*{reason}"):
        read_class_file(path)


def test_missing_class_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.txt: No such file"):
        read_class_file(tmp_path / "absent.txt")
    with pytest.raises(UserError, match="Is a directory"):
        read_class_file(tmp_path)
