"""Token ids against open_clip's, for strings that are hard to tokenize."""

import html
import random
import sys
import unicodedata

import numpy as np
import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remoteclip_jax.clip.tokenizer import END_ID, START_ID, tokenize

HARD = [
    "",
    " ",
    "\n\t \r\n",
    "\x00",
    "\x1c\x1f",
    "a",
    "A photo of a SHIP.",
    "it's we've they'll I'm you'd don't we're 'S 'T",
    "'ſ it'ſ ſhip ſ",
    "100 3.14 ½ ² Ⅷ ١٢٣ 12a34b",
    "!!! ?!... --- _-_ ...a",
    "<start_of_text>",
    "<end_of_text>",
    "a <start_of_text> b<end_of_text>c",
    "!<start_of_text>",
    "<START_OF_TEXT>",
    "<ſtart_of_text>",
    "<<start_of_text>>",
    "<start_of_text><end_of_text><start_of_text>",
    "'s<end_of_text>",
    "&lt;start_of_text&gt;",
    "<start_of_text",
    "&amp;amp; &lt;b&gt; &eacute; &#233; &#xe9; &amp;lt; &amp;amp;amp; &nbsp; &#0; &#xD800; &bogus; &copy",
    "schÃ¶n cafÃ© â€œquotedâ€\x9d l’humanitÃ©",
    "ﬁne ﬂow ﬅ ﬆ",
    "İstanbul ISTANBUL ıstanbul ẞ ß",
    "👨‍👩‍👧‍👦 👩🏽‍🚀 🏳️‍🌈 🇩🇪🇫🇷 1️⃣ ☃️",
    "e\u0301 n\u0303 Z̸͖͝a̷l̶g̵o",
    "\u200b\ufeff\u00ad\u2060",
    "\u202eabc\u202c",
    "\x1b[31mred\x1b[0m",
    "日本語のテキスト 中文字 한국어",
    "שלום مرحبا नमस्ते สวัสดี",
    "Ω≈ç√∫˜µ≤≥÷",
    "𝕳𝖊𝖑𝖑𝖔 𠜎𠜱 \U000323b0\U0003347a",
    "ＦＵＬＬ　ｗｉｄｔｈ",
    "x" * 500,
    "ship " * 100,
    "!" * 300,
    "é" * 200,
    "'" * 7 + "s",
    "\ud800",
    "a\ud83d\ude00b",
    "x" * 75,
    " ".join(["ship"] * 75),
    " ".join(["ship"] * 76),
    "\x85next\x85line",
    "\u2028 \u3000 \u180e",
]
BLOCKS = [
    (0x20, 0x7F),
    (0x20, 0x7F),
    (0x00, 0x20),
    (0x80, 0x100),
    (0x100, 0x250),
    (0x300, 0x370),
    (0x370, 0x530),
    (0x590, 0x700),
    (0x900, 0xE80),
    (0x1200, 0x13A0),
    (0x2000, 0x2070),
    (0x2070, 0x2C00),
    (0x3040, 0x3100),
    (0x4E00, 0x9FA0),
    (0xAC00, 0xD7A0),
    (0xFB00, 0xFE10),
    (0xFE00, 0x10000),
    (0x1F300, 0x1FB00),
    (0x1D400, 0x1D800),
    (0x20000, 0x2A6D0),
]
FRAGMENTS = [
    "<start_of_text>",
    "<end_of_text>",
    "'s",
    "'ll",
    "'RE",
    "'",
    "&amp;",
    "&amp;lt;",
    "&#39;",
    "&quot;",
    "&#x1F600;",
    "\u200d",
    "\ufe0f",
    "🏽",
    "👩",
    "🚀",
    " ",
    "  ",
    "\n",
    "\t",
    "\xa0",
    "_",
    "-",
    "...",
    "12",
    "7",
    "²",
    "ship",
    "Harbor",
    "Ã©",
    "â€™",
    "ï¬\x81",
    "photo of",
    "İ",
    "ſ",
    "{",
    "}",
    "\x00",
    "\x7f",
    "\x9f",
]


def generated(count: int) -> list[str]:
    rng = random.Random(2024)
    texts = []
    for i in range(count):
        blocks = rng.sample(BLOCKS, rng.choice([1, 1, 2, 4]))
        length = rng.choice([1, 3, 10, 30, 30, 200])
        parts = []
        for _ in range(length):
            parts.append(rng.choice(FRAGMENTS) if rng.random() < 0.3 else chr(rng.randrange(*rng.choice(blocks))))
        text = "".join(parts)
        if i % 7 == 0:
            text = html.escape(html.escape(text))
        if i % 11 == 0:  # mojibake: UTF-8 read as Latin-1 or as Windows-1252
            text = text.encode("utf-8").decode("latin-1" if i % 2 else "cp1252", errors="replace")
        texts.append(text)
    return texts


def assert_equal_ids(texts: list[str], context_length: int = 77) -> None:
    expected = open_clip.tokenize(texts, context_length).numpy()
    for text, row, want in zip(texts, tokenize(texts, context_length), expected, strict=True):
        assert row.tolist() == want.tolist(), ascii(text)


def test_hard_cases_equal_open_clip() -> None:
    assert_equal_ids(HARD)


def test_generated_strings_equal_open_clip() -> None:
    texts = generated(3000)
    assert len(set(texts)) > 2000
    assert_equal_ids(texts)


@pytest.mark.parametrize("context_length", [2, 3, 16, 130])
def test_other_lengths_equal_open_clip(context_length: int) -> None:
    assert_equal_ids([*HARD, *generated(100)], context_length)


def test_every_assigned_character_equals_open_clip() -> None:
    # Between two letters, so that a character taken for a letter, a digit or punctuation shows.
    everything = map(chr, range(sys.maxunicode + 1))
    assigned = [c for c in everything if unicodedata.category(c) not in ("Cn", "Cs", "Co")]
    # Of the large scripts a sample is enough; of all others, every character is tested.
    large = [(0x3400, 0xD7A4), (0x17000, 0x1B000), (0x20000, sys.maxunicode)]
    sample = [c for i, c in enumerate(assigned) if i % 37 == 0 or not any(a <= ord(c) < b for a, b in large)]
    texts = [" ".join(f"a{c}a" for c in sample[i : i + 40]) for i in range(0, len(sample), 40)]
    assert_equal_ids(texts, context_length=600)


def test_shape_and_type() -> None:
    ids = tokenize("a photo of a ship")
    assert ids.shape == (1, 77)
    assert ids.dtype == np.int32
    assert ids[0, 0] == START_ID
    assert ids.max() == END_ID
    assert tokenize([]).shape == (0, 77)
    assert tokenize(("a", "b"), 5).tolist() == [[START_ID, 320, END_ID, 0, 0], [START_ID, 321, END_ID, 0, 0]]


def test_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        tokenize("a", context_length=1)


@settings(max_examples=300, deadline=None)
@given(st.text([chr(c) for c in range(0x20, 0x7F) if chr(c) != "&"]))
def test_capitals_change_nothing(caption: str) -> None:
    # RemoteCLIP's evaluation capitalises each caption; the readers of captions need not. (HTML's entities have capitals
    # of their own, and a few letters beyond ASCII, such as ß, change when they are capitalised.)
    assert tokenize(caption.capitalize()).tolist() == tokenize(caption).tolist()
