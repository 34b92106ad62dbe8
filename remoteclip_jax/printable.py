"""Strings of unknown origin, such as names of files and classes, made safe to show."""

import unicodedata

# Controls, line and paragraph separators, halves of surrogate pairs (bytes of a file name that is no UTF-8).
_HIDDEN = {"Cc", "Zl", "Zp", "Cs"}
# Characters that reorder the text around them, so that it reads as something else (CVE-2021-42574).
_BIDIRECTIONAL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """`text` on one line and in the order in which it is stored; what cannot be shown as it is stands there escaped, as
    Python writes it."""
    return "".join(_escaped(c) for c in text)


def _escaped(c: str) -> str:
    if c in _BIDIRECTIONAL or unicodedata.category(c) in _HIDDEN:
        return c.encode("unicode_escape").decode()
    return c
