"""Fonts for text in pictures, in any script: of the installed fonts, one that has the text's characters.

Pillow's own font has only ASCII. The font that comes with Matplotlib has most alphabets, but no Chinese.
"""

import functools
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from remoteclip_jax.printable import printable

# Among fonts that have all characters of a text, those made for continuous text come first.
_PREFERRED = (
    "Noto Sans CJK",
    "Noto Sans",
    "Source Han Sans",
    "WenQuanYi",
    "PingFang",
    "Hiragino Sans",
    "Heiti",
    "Microsoft YaHei",
    "SimHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
    "Arial",
    "Droid Sans Fallback",
)
_UNUSABLE = ("emoji", "lastresort", "blank")  # with fixed colours and sizes, or without glyphs
_warning = threading.Lock()


class TextLine(NamedTuple):
    """A line of text as it can be drawn, and the font to draw it with. Sizes are in pixels."""

    text: str
    font: ImageFont.FreeTypeFont

    @property
    def width(self) -> int:
        return round(self.font.getlength(self.text))

    @property
    def height(self) -> int:
        return sum(self.font.getmetrics())


def text_line(text: str, size: int) -> TextLine:
    """`text` on one line, in a font of `size` pixels."""
    shown, path = drawable_text(text)
    return TextLine(shown, _font(path, size))


@functools.lru_cache(maxsize=4096)
def drawable_text(text: str) -> tuple[str, Path | None]:
    """`text` as it can be drawn, and the font file to draw it with (None: any font has it).

    Characters that no font has are escaped as in Python strings, and a line on stderr names the remedy.
    """
    text = printable(text)
    if text.isascii():
        return text, None
    most, chosen = -1, None
    for path in _files():
        covered = sum(ord(c) in _characters(path) for c in text)
        if covered > most:
            most, chosen = covered, path
        if covered == len(text):
            break
    assert chosen is not None
    missing = {c for c in text if ord(c) not in _characters(chosen)}
    if missing:
        with _warning:  # a cache alone lets two threads in
            _warn_of_missing_font()
    return "".join(c.encode("unicode_escape").decode() if c in missing else c for c in text), chosen


@functools.cache  # so that it is printed only once
def _warn_of_missing_font() -> None:
    print(
        "note: no installed font has some of the characters, and they are drawn as numbers; install fonts-noto-cjk or "
        "another package of fonts that has them",
        file=sys.stderr,
    )


def _files() -> Iterator[Path]:
    """Font files, the best first. The system's fonts are searched only if Matplotlib's own does not have the text."""
    yield Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    yield from _system_files()


@functools.cache
def _system_files() -> tuple[Path, ...]:
    from matplotlib.font_manager import fontManager  # searches all font folders when it is first imported

    def rank(font: object) -> tuple[int, bool, int, str]:
        name = font.name  # type: ignore[attr-defined]
        preferred = next((i for i, prefix in enumerate(_PREFERRED) if name.startswith(prefix)), len(_PREFERRED))
        weight = font.weight if isinstance(font.weight, int) else 400  # type: ignore[attr-defined]
        return preferred, font.style != "normal", abs(weight - 400), name  # type: ignore[attr-defined]

    fonts = [f for f in fontManager.ttflist if not any(word in f.name.lower().replace(" ", "") for word in _UNUSABLE)]
    return tuple(dict.fromkeys(Path(font.fname) for font in sorted(fonts, key=rank)))


@functools.cache
def _characters(path: Path) -> frozenset[int]:
    """The code points that a font file has glyphs for; none if it cannot be read."""
    try:
        ImageFont.truetype(path, 15)
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@functools.lru_cache(maxsize=64)
def _font(path: Path | None, size: int) -> ImageFont.FreeTypeFont:
    if path is None:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))  # given a size, it is never the bitmap font
    return ImageFont.truetype(path, size)
