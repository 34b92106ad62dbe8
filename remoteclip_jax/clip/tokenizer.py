"""CLIP's byte-level BPE (Radford et al. 2021; Sennrich et al. 2016), with `open_clip.tokenize`'s ids, without torch.

`regex` splits a text into words as open_clip does, and HuggingFace's `tokenizers` encodes the words. The vocabulary is
built from CLIP's merges file, which comes with the package (`assets/`, MIT).
"""

import gzip
import html
from collections.abc import Sequence
from functools import cache
from importlib import resources

import ftfy
import numpy as np
import regex
from jaxtyping import Int32
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

START, END = "<start_of_text>", "<end_of_text>"
START_ID, END_ID = 49406, 49407
VOCAB_SIZE = 49408

# open_clip's pattern: a special token, a contraction, a run of letters, one digit, a run of anything else but space.
# `regex`, unlike `tokenizers`, has current Unicode tables, and it is what open_clip itself splits words with.
_WORD = regex.compile(
    r"<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


def _byte_characters() -> list[str]:
    """The visible character that represents each byte, in the order of CLIP's vocabulary (GPT-2's table).

    Bytes that are printable in Latin-1 come first and represent themselves. The characters of the others follow, from
    code point 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = 256 - len(printable)
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(others)]


@cache
def _word_tokenizer() -> Tokenizer:
    """The byte-level BPE tokenizer for single words."""
    file = resources.files("remoteclip_jax.clip") / "assets" / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(file.read_bytes()).decode("utf-8").split("\n")
    characters = _byte_characters()
    # The first line is a header, and the file has more merges than the vocabulary uses.
    count = VOCAB_SIZE - 2 * len(characters) - 2
    merges = [(a, b) for a, b in (line.split() for line in lines[1 : 1 + count])]
    pieces = [*characters, *(c + "</w>" for c in characters), *(a + b for a, b in merges), START, END]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    assert (vocabulary[START], vocabulary[END], len(vocabulary)) == (START_ID, END_ID, VOCAB_SIZE)

    tokenizer = Tokenizer(BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.add_special_tokens([START, END])
    return tokenizer


def clean(text: str) -> str:
    """`text` as open_clip cleans it by default.

    Broken encodings are repaired, HTML entities resolved (even if escaped twice), white space is collapsed, and letters
    become lower case.
    """
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def tokenize(texts: str | Sequence[str], context_length: int = 77) -> Int32[np.ndarray, "n {context_length}"]:
    """Token ids of `texts`: the start token, the text, the end token, then zeros. Equal to ``open_clip.tokenize``.

    A text that is too long is cut, and the end token takes the last position. ValueError if `context_length` < 2.
    """
    if context_length < 2:
        raise ValueError(f"context_length {context_length} has no room for the start and the end token")
    tokenizer = _word_tokenizer()
    texts = [texts] if isinstance(texts, str) else texts
    result = np.zeros((len(texts), context_length), np.int32)
    for row, text in zip(result, texts, strict=True):
        # Words are split before they are encoded, so that "<end_of_text>" inside punctuation is no special token.
        words = _WORD.findall(clean(text))
        ids = [START_ID, *tokenizer.encode(words, is_pretokenized=True, add_special_tokens=False).ids][:context_length]
        row[: len(ids)] = ids
        row[min(len(ids), context_length - 1)] = END_ID
    return result
