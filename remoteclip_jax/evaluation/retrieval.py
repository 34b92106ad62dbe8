"""Image-text retrieval: recall@1, 5 and 10 in both directions, as RemoteCLIP and CLIP_benchmark report them.

Both (RemoteCLIP's `remoteclip_retrieval.py`, CLIP_benchmark's `zeroshot_retrieval.py`) rank candidates by the cosine
similarity. An image is a hit at k if any of its captions is among the first k of all captions, a text if its image is
among the first k of all images. Identical captions of different images stay different candidates. An image without a
caption is a candidate, and a miss. All of this holds here too.

They leave ties to `torch.topk`, which takes them in any order. Here a tie counts against the query: whatever has the
similarity of the right candidate stands before it. So no order of equal candidates gives a lower figure, and embeddings
that are all the same recall nothing. `recalls_at_random` has the expectation over all orders, which is what the two
programs report on average; the two differ where images share a caption, as in UCM-Captions.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from remoteclip_jax.ops.similarity import l2_normalise

CUTOFFS = (1, 5, 10)
BLOCK = 4096  # images or texts: similarities of 64 MiB at a time


@dataclass(frozen=True)
class Ranks:
    """How many candidates stand before the best right one of each of `n` queries.

    `higher` of the wrong candidates have a higher similarity, `tied` have the same. `right` is the number of right
    candidates with that similarity; it is 0 for a query that has none.
    """

    higher: Int[np.ndarray, " n"]
    tied: Int[np.ndarray, " n"]
    right: Int[np.ndarray, " n"]


def retrieval_metrics(
    images: Float[np.ndarray, "n d"], texts: Float[np.ndarray, "m d"], image_of_text: Int[np.ndarray, " m"]
) -> dict[str, float]:
    """The recalls of `recalls`, in [0, 1], for embeddings of any length. Text j describes image `image_of_text[j]`.

    The memory on the device does not depend on n and m. ValueError if there is no image, no text, or an index out of
    range. A vector that is zero or not finite recalls nothing.
    """
    return recalls(*retrieval_ranks(images, texts, image_of_text))


def recalls(of_images: Ranks, of_texts: Ranks) -> dict[str, float]:
    """`image_to_text_recall_1`, `_5`, `_10`, `text_to_image_recall_1`, `_5`, `_10` and their mean `mean_recall`. Ties
    count against the query."""
    return _named(
        [
            float(np.mean((ranks.higher + ranks.tied < k) & (ranks.right > 0)))
            for ranks in (of_images, of_texts)
            for k in CUTOFFS
        ]
    )


def recalls_at_random(of_images: Ranks, of_texts: Ranks) -> dict[str, float]:
    """Like `recalls`, but the expectation over all orders of tied candidates."""
    return _named([float(np.mean(_at_random(ranks, k))) for ranks in (of_images, of_texts) for k in CUTOFFS])


def _named(values: list[float]) -> dict[str, float]:
    names = [f"{way}_recall_{k}" for way in ("image_to_text", "text_to_image") for k in CUTOFFS]
    return {**dict(zip(names, values, strict=True)), "mean_recall": float(np.mean(values))}


def _at_random(ranks: Ranks, k: int) -> list[float]:
    """For each query the probability that one of its `right` candidates is among the first `k`."""
    chances = []
    for higher, tied, right in zip(ranks.higher.tolist(), ranks.tied.tolist(), ranks.right.tolist(), strict=True):
        places = min(k - higher, tied + right)
        none = math.comb(tied, places) / math.comb(tied + right, places) if places > 0 else 1.0
        chances.append(1 - none)
    return chances


def retrieval_ranks(
    images: Float[np.ndarray, "n d"], texts: Float[np.ndarray, "m d"], image_of_text: Int[np.ndarray, " m"]
) -> tuple[Ranks, Ranks]:
    """The ranks of the images among the texts and of the texts among the images. See `retrieval_metrics`.

    The matrix of similarities is computed in blocks of a fixed shape. The blocks that hold right pairs come first and
    give the best right similarity of each query; the wrong ones beside it are then counted in all blocks. One program
    does both, so that equal vectors have equal similarities.
    """
    n, m = len(images), len(texts)
    if not n or not m:
        raise ValueError(f"{n} images and {m} texts: retrieval needs both")
    if image_of_text.min() < 0 or image_of_text.max() >= n:
        raise ValueError(f"image_of_text must be between 0 and {n - 1}")
    order = np.argsort(image_of_text, kind="stable")  # right pairs then lie in few blocks
    owner = image_of_text[order].astype(np.int32)
    rows, columns = _block_size(n), _block_size(m)
    of_images, of_texts = _Best.empty(n), _Best.empty(m)

    def visit(only_right: bool) -> Iterator[tuple[slice, slice, _Counts, _Counts]]:
        for top in range(0, n, rows):
            row = slice(top, min(top + rows, n))
            image_side = _side(images[row], np.arange(row.start, row.stop), of_images.similarity[row], rows)
            for left in range(0, m, columns):
                column = slice(left, min(left + columns, m))
                if only_right and (owner[left] >= row.stop or owner[column.stop - 1] < row.start):
                    continue
                text_side = _side(texts[order[column]], owner[column], of_texts.similarity[column], columns)
                yield row, column, *_compare(image_side, text_side)

    for row, column, row_counts, column_counts in visit(only_right=True):
        of_images.improve(row, row_counts)
        of_texts.improve(column, column_counts)
    for row, column, row_counts, column_counts in visit(only_right=False):
        of_images.add(row, row_counts)
        of_texts.add(column, column_counts)
    back = np.argsort(order)
    by_text = of_texts.ranks()
    return of_images.ranks(), Ranks(by_text.higher[back], by_text.tied[back], by_text.right[back])


class _Side(NamedTuple):
    """A block of images or texts: embeddings, the image of each, which are no padding, and the best right similarities
    that are known."""

    embeddings: Float[Array, "b d"]
    image: Int32[Array, " b"]
    valid: Bool[Array, " b"]
    best: Float32[Array, " b"]


class _Counts(NamedTuple):
    """For each query of a block: its best right similarity there, and what `Ranks` counts there."""

    best: Float32[Array, " b"]
    higher: Int32[Array, " b"]
    tied: Int32[Array, " b"]
    right: Int32[Array, " b"]


@jax.jit
def _compare(images: _Side, texts: _Side) -> tuple[_Counts, _Counts]:
    """The counts of a block's images among its texts, and of its texts among its images."""
    similarity = jnp.matmul(  # in float32 also where a device would multiply more coarsely by default
        l2_normalise(images.embeddings), l2_normalise(texts.embeddings).T, precision=jax.lax.Precision.HIGHEST
    )
    valid = images.valid[:, None] & texts.valid
    right = valid & (images.image[:, None] == texts.image)

    def counts(best: Float32[Array, "..."], axis: int) -> _Counts:
        equal, wrong = similarity == best, valid & ~right
        return _Counts(
            jnp.max(jnp.where(right, similarity, -jnp.inf), axis),
            jnp.sum(wrong & ~(similarity <= best), axis),  # also true of NaN, which recalls nothing
            jnp.sum(wrong & equal, axis),
            jnp.sum(right & equal, axis),
        )

    return counts(images.best[:, None], 1), counts(texts.best[None], 0)


@dataclass
class _Best:
    """What the blocks seen so far say about each of `n` queries."""

    similarity: Float32[np.ndarray, " n"]
    counts: Int[np.ndarray, "3 n"]

    @staticmethod
    def empty(n: int) -> "_Best":
        return _Best(np.full(n, -np.inf, np.float32), np.zeros((3, n), np.int64))

    def improve(self, part: slice, found: _Counts) -> None:
        best = np.asarray(found.best)[: part.stop - part.start]
        self.similarity[part] = np.maximum(self.similarity[part], best)

    def add(self, part: slice, found: _Counts) -> None:
        self.counts[:, part] += np.stack(found[1:])[:, : part.stop - part.start]

    def ranks(self) -> Ranks:
        return Ranks(*self.counts)


def _block_size(count: int) -> int:
    """A power of two, so that sets of nearly equal size share a program, of at most `BLOCK`."""
    return min(BLOCK, 1 << (count - 1).bit_length())


def _side(
    embeddings: Float[np.ndarray, "b d"], image: Int[np.ndarray, " b"], best: Float32[np.ndarray, " b"], size: int
) -> _Side:
    """A block on the device, padded to `size`."""
    padding = size - len(embeddings)
    return _Side(
        jnp.asarray(np.pad(embeddings, ((0, padding), (0, 0)))),
        jnp.asarray(np.pad(image.astype(np.int32), (0, padding))),
        jnp.asarray(np.arange(size) < len(embeddings)),
        jnp.asarray(np.pad(best, (0, padding))),
    )
