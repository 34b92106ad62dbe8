"""Text in pictures, in whatever script it is: the font that has its characters, among those that are installed.

Pillow's own font has ASCII alone; the one that comes with Matplotlib has most alphabets, and no Chinese.
"""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

import matplotlib
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from remoteclip_jax.printable import printable

# Of the fonts that have all characters, those that are made for reading much go first.
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
_USELESS = ("emoji", "lastresort", "blank")  # of colours and sizes of their own, or without glyphs


class Lettering(NamedTuple):
    """A text as it can be drawn, and the font to draw it in."""

    text: str
    font: ImageFont.FreeTypeFont

    @property
    def width(self) -> int:
        return round(self.font.getlength(self.text))

    @property
    def height(self) -> int:
        return sum(self.font.getmetrics())


def lettering(text: str, size: int) -> Lettering:
    """`text` on one line, `size` pixels high."""
    shown, path = drawable(text)
    return Lettering(shown, _font(path, size))


@functools.lru_cache(maxsize=4096)
def drawable(text: str) -> tuple[str, Path | None]:
    """`text` as it can be drawn, and the font file to draw it with (None: any will do).

    Characters that no font has are escaped as Python writes them, and a line on stderr says what would help.
    """
    text = printable(text)
    if text.isascii():
        return text, None
    most, chosen = -1, None
    for path in _files():
        known = sum(ord(c) in _characters(path) for c in text)
        if known > most:
            most, chosen = known, path
        if known == len(text):
            break
    assert chosen is not None
    missing = {c for c in text if ord(c) not in _characters(chosen)}
    if missing:
        _tell()
    return "".join(c.encode("unicode_escape").decode() if c in missing else c for c in text), chosen


@functools.cache  # once is enough
def _tell() -> None:
    print(
        "note: some characters are in no font that is installed, and are drawn as numbers; fonts-noto-cjk or another "
        "package of fonts has them",
        file=sys.stderr,
    )


def _files() -> Iterator[Path]:
    """Font files, the best first; those of the system are looked for only when they are asked for."""
    yield Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    yield from _system_files()


@functools.cache
def _system_files() -> tuple[Path, ...]:
    from matplotlib.font_manager import fontManager  # which looks through all folders of fonts, the first time

    def rank(font: object) -> tuple[int, bool, int, str]:
        name = font.name  # type: ignore[attr-defined]
        preferred = next((i for i, prefix in enumerate(_PREFERRED) if name.startswith(prefix)), len(_PREFERRED))
        weight = font.weight if isinstance(font.weight, int) else 400  # type: ignore[attr-defined]
        return preferred, font.style != "normal", abs(weight - 400), name  # type: ignore[attr-defined]

    fonts = [f for f in fontManager.ttflist if not any(word in f.name.lower().replace(" ", "") for word in _USELESS)]
    return tuple(dict.fromkeys(Path(font.fname) for font in sorted(fonts, key=rank)))


@functools.cache
def _characters(path: Path) -> frozenset[int]:
    """What a font file has glyphs for; nothing where it cannot be read."""
    try:
        ImageFont.truetype(path, 15)
        return frozenset(FT2Font(str(path)).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@functools.lru_cache(maxsize=64)
def _font(path: Path | None, size: int) -> ImageFont.FreeTypeFont:
    if path is None:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))  # with a size, it is never the bitmap font
    return ImageFont.truetype(path, size)
