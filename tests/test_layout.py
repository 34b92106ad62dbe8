"""What the layout promises: short files, rooms that say what they are for, one place for pmap."""

import ast
import re

import pytest

from tests.command import ROOT

PACKAGE = ROOT / "remoteclip_jax"
MODULES = sorted(path for folder in (PACKAGE, ROOT / "convert") for path in folder.rglob("*.py"))


def test_no_file_is_long() -> None:
    long = {str(path.relative_to(ROOT)): n for path in MODULES if (n := len(path.read_text().splitlines())) > 250}
    assert not long


@pytest.mark.parametrize(
    "room", sorted({path.parent for path in MODULES}), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_room_says_what_it_is_for(room: object) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))  # type: ignore[operator]
    assert docstring


def test_pmap_stands_in_one_place() -> None:
    calling = [path for path in MODULES if re.search(r"\bpmap\(", path.read_text())]
    assert [path.relative_to(PACKAGE).as_posix() for path in calling] == ["runtime/devices.py"]
