"""Strings of unknown origin, such as the names of files and classes, made safe to print."""

import unicodedata

# Control characters, line and paragraph separators, lone surrogates (bytes of a file name that is not UTF-8).
_UNPRINTABLE_CATEGORIES = {"Cc", "Zl", "Zp", "Cs"}
# Characters that reorder the text around them, so that it seems to say something else (CVE-2021-42574).
_BIDIRECTIONAL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """`text` on one line and in the order in which it is stored. Characters that cannot be shown are escaped as in
    Python."""
    return "".join(_escaped(c) for c in text)


def _escaped(c: str) -> str:
    if c in _BIDIRECTIONAL or unicodedata.category(c) in _UNPRINTABLE_CATEGORIES:
        return c.encode("unicode_escape").decode()
    return c
