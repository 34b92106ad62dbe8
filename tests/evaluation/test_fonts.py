"""Names in any script are drawn: with a font that has their characters, or as numbers, but never as empty boxes."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image

from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.evaluation import fonts as module
from remoteclip_jax.evaluation.curves import precision_recall_figure
from remoteclip_jax.evaluation.detection import Curve
from remoteclip_jax.evaluation.draw import DARK, draw, side_by_side
from remoteclip_jax.evaluation.fonts import drawable_text, text_line

RECALL = np.linspace(0, 1, 101)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts without cached fonts, as on a machine with no font but Matplotlib's."""
    monkeypatch.setattr(module, "_system_files", tuple)
    drawable_text.cache_clear()
    module._warn_of_missing_font.cache_clear()


@pytest.fixture
def chinese_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed font that has a square for 船 and for a few other characters."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, names = pen.glyph(), [".notdef", "square"]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): "square" for c in "船0123456789. "})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": square})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "squares.ttf")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(module, "_system_files", lambda: (tmp_path / "broken.ttf", tmp_path / "squares.ttf"))
    return tmp_path / "squares.ttf"


def one(name: str) -> Detections:
    return Detections(np.array([[20, 40, 60, 90]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32), (name,))


def test_ascii_needs_no_other_font() -> None:
    text = "".join(map(chr, range(32, 127)))
    assert drawable_text(text) == (text, None)
    shapes = [bytes(text_line(c, 15).font.getmask(c)) for c in text]
    assert bytes(text_line("a", 15).font.getmask("\ufffe")) not in shapes  # an empty box


@pytest.mark.parametrize("text", ["café", "порт", "λιμάνι", "größe → ß", "naïve ½"])
def test_alphabets_come_with_matplotlib(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown, path = drawable_text(text)
    assert shown == text
    assert path is not None
    assert path.name == "DejaVuSans.ttf"
    assert text_line(text, 15).width > 20
    assert capsys.readouterr().err == ""


def test_chinese_in_an_installed_font(chinese_font: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drawable_text("船 0.87") == ("船 0.87", chinese_font)
    assert text_line("船船", 20).width == 40
    assert capsys.readouterr().err == ""


def test_without_a_font_the_numbers_are_drawn_and_the_remedy_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert drawable_text("船 é 0.87")[0] == r"\u8239 é 0.87"
    assert drawable_text("🚢")[0] == r"\U0001f6a2"
    note = capsys.readouterr().err
    assert note.count("fonts-noto-cjk") == 1
    assert len(note.splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["船", "a\nb", "bad\udcff", "$x^$", "$\\frac$", "_hidden", "trojan\u202egpj", "x" * 300]
)
def test_pictures_with_any_name(name: str) -> None:
    image = Image.new("RGB", (200, 200), (70, 80, 60))
    assert draw(image, one(name)).size == image.size
    assert side_by_side(image, one(name), one(name), name).height > 200
    with warnings.catch_warnings(action="error"):
        named = precision_recall_figure({name: Curve(RECALL, 1 - RECALL)})
        other = precision_recall_figure({"": Curve(RECALL, 1 - RECALL)})
    assert named != other


def test_a_label_is_drawn_in_its_font(chinese_font: Path) -> None:
    """A square for 船."""
    image = Image.new("RGB", (200, 200), (70, 80, 60))
    assert (np.asarray(draw(image, one("船"), with_scores=False)) == DARK).all(-1).sum() > 40
