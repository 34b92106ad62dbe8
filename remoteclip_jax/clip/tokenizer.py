"""CLIP's byte-level BPE (Radford et al. 2021; Sennrich et al. 2016), with `open_clip.tokenize`'s ids, without torch.

The HuggingFace `tokenizers` library does the work; the vocabulary is built from CLIP's merges file, which ships with
the package (`assets/`, MIT).
"""

import gzip
import html
from collections.abc import Sequence
from functools import cache
from importlib import resources

import ftfy
import numpy as np
from jaxtyping import Int32
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split

START, END = "<start_of_text>", "<end_of_text>"
START_ID, END_ID = 49406, 49407
VOCAB_SIZE = 49408

# Letters and digits that are newer than the Unicode tables inside `tokenizers` (version 12 or so), as first-last in
# hexadecimal, up to Unicode 17. Without them a word in one of these scripts would be taken for punctuation.
_NEW_LETTERS = """
558 58B-58C 88F C5C CDC 208F 209D-209F A7CE-A7CF A7D2 A7D4 A7DD A7E2 A7F1 AB6C-AB6D 107BB-107BF 10940-10959 10EC5-10EC7
10ED9-10EEE 11B0A 11DB0-11DDB 11DF1 16EA0-16EB8 16EBB-16ED3 16FF2-16FF3 187F8-187FF 18CD6-18CDA 18D09-18D20 18D80-18DF2
18E00-19191 191A0-191D2 1B123-1B128 1B168 1D6A6 1DF1F-1DF24 1DF2B-1DF81 1DF90-1DF96 1DFCD-1DFFF 1E6C0-1E6DE 1E6E0-1E6E2
1E6E4-1E6E5 1E6E7-1E6ED 1E6F0-1E6F4 1E6FE-1E6FF 2B73A-2B73F 2B81E 2CEA2-2CEAD 323B0-33479 3D000-3FC3F
"""
_NEW_NUMBERS = "11DE0-11DE9 1246F 12475-1247F 12550-12686 16FF4-16FF6"


def _ranges(table: str) -> str:
    return "".join("-".join(chr(int(code, 16)) for code in entry.split("-")) for entry in table.split())


def _word_pattern() -> str:
    """What counts as one word: a special token, a contraction, a run of letters, one digit, a run of anything else.

    open_clip matches without regard to case, after lower-casing. That still matters for two characters: the long s, and
    the combining iota below, which folds to a letter, so that it is not among "anything else" and vanishes. A special
    token is one only where a word begins, so not after punctuation.
    """
    letters, numbers = r"\p{L}" + _ranges(_NEW_LETTERS), r"\p{N}" + _ranges(_NEW_NUMBERS)
    special = "<[sſ]tart_of_text>|<end_of_text>"
    return rf"{special}|'[sſ]|'t|'re|'ve|'m|'ll|'d|[{letters}]+|[{numbers}]|[^\s{letters}{numbers}\u0345]+"


def _byte_characters() -> list[str]:
    """The visible character that stands for each byte, in the order of CLIP's vocabulary (GPT-2's table).

    The bytes that are printable in Latin-1 come first and stand for themselves; the others follow, numbered from 256.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(others)]


@cache
def _build() -> tuple[Split, Tokenizer]:
    """The splitter into words, and the tokenizer of words."""
    file = resources.files("remoteclip_jax.clip") / "assets" / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(file.read_bytes()).decode("utf-8").split("\n")
    characters = _byte_characters()
    # The first line is a header; the file holds more merges than the vocabulary has room for.
    count = VOCAB_SIZE - 2 * len(characters) - 2
    merges = [(a, b) for a, b in (line.split() for line in lines[1 : 1 + count])]
    pieces = [*characters, *(c + "</w>" for c in characters), *(a + b for a, b in merges), START, END]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    assert (vocabulary[START], vocabulary[END], len(vocabulary)) == (START_ID, END_ID, VOCAB_SIZE)

    tokenizer = Tokenizer(BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.add_special_tokens([START, END])
    return Split(Regex(_word_pattern()), behavior="removed", invert=True), tokenizer


def clean(text: str) -> str:
    """`text` with broken encodings repaired, HTML entities (also doubly escaped) resolved, white space collapsed, lower
    case: open_clip's default cleaning."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def tokenize(texts: str | Sequence[str], context_length: int = 77) -> Int32[np.ndarray, "n {context_length}"]:
    """Token ids of `texts`: the start token, the text, the end token, then zeros.

    A text that is too long is cut, and the end token takes the last place. Equal to ``open_clip.tokenize``.
    """
    if context_length < 2:
        raise ValueError(f"context_length {context_length} has no room for the start and the end token")
    splitter, tokenizer = _build()
    texts = [texts] if isinstance(texts, str) else texts
    result = np.zeros((len(texts), context_length), np.int32)
    for row, text in zip(result, texts, strict=True):
        # Split first, then encode word by word: a special token amid punctuation is then not mistaken for one.
        words = [word for word, _ in splitter.pre_tokenize_str(clean(text))]
        ids = [START_ID, *tokenizer.encode(words, is_pretokenized=True, add_special_tokens=False).ids][:context_length]
        row[: len(ids)] = ids
        row[min(len(ids), context_length - 1)] = END_ID
    return result
