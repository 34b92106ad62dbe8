"""Captions from boxes: the box-to-caption rules of RemoteCLIP (Liu et al. 2024, section III-B; Algorithm 1 of its first
version), by which detection data become image-caption pairs.

An image gets five captions. The first says what lies at its centre, the second what does not, and three say which
classes there are, and how many objects of each. From eleven objects on, a number is "many" or "a lot of". The paper does
not say how large the centre is, nor how its sentences run: here it is the middle half of the image in both directions,
and there are several sentences for each rule, "a satellite photo of …" among them, so that the prompts of zero-shot
classification are no strangers to a text tower that was trained on these captions.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from remoteclip_jax.clip.prompts import words

CAPTIONS = 5  # of an image
COUNTED = 10  # larger numbers are not counted
CENTRE = (0.25, 0.75)  # where the centre of a box lies at the centre of the image, in x and in y
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MANY = ("many", "a lot of")

AT_CENTRE = ("{There} in the center of the image.", "In the middle of the image {there}.")
ELSEWHERE = ("{There} away from the center of the image.", "Near the edges of the image {there}.")
COUNTS = (
    "{There} in the image.",
    "A satellite photo of {objects}.",
    "An aerial image with {objects}.",
    "A photo of {objects}.",
)


def box_captions(
    labels: Int[np.ndarray, " n"],
    boxes: Float[np.ndarray, "n 4"],
    class_names: Sequence[str],
    rng: np.random.Generator,
) -> tuple[str, ...]:
    """The five captions of an image with objects `labels` and `boxes` (cx, cy, w, h in [0, 1] of it); none for an image
    without objects.

    `rng` chooses the sentences, the order of the classes, and which of them the last two captions name. If nothing lies
    at the centre, or nothing elsewhere, that caption is one more about all classes.
    """
    if not len(labels):
        return ()
    central = ((boxes[:, :2] >= CENTRE[0]) & (boxes[:, :2] <= CENTRE[1])).all(1)
    captions = []
    for sentences, chosen in ((AT_CENTRE, labels[central]), (ELSEWHERE, labels[~central]), (COUNTS, labels)):
        found = chosen if len(chosen) else labels
        captions.append(_caption(sentences if len(chosen) else COUNTS, found, class_names, rng))
    while len(captions) < CAPTIONS:
        present = np.unique(labels)
        named = rng.choice(present, rng.integers(1, len(present) + 1), replace=False)
        captions.append(_caption(COUNTS, labels[np.isin(labels, named)], class_names, rng))
    return tuple(captions)


def _caption(
    sentences: Sequence[str], labels: Int[np.ndarray, " n"], class_names: Sequence[str], rng: np.random.Generator
) -> str:
    """A sentence about objects, of which there is at least one."""
    counts = list(Counter(labels.tolist()).items())
    objects = enumeration(
        [quantity(n, class_names[k], rng) for k, n in (counts[i] for i in rng.permutation(len(counts)))]
    )
    there = f"there {'is' if objects.startswith(('one ', 'a ', 'an ')) and not objects.startswith(MANY) else 'are'} {objects}"
    sentence = sentences[rng.integers(len(sentences))]
    return sentence.format(There=there.capitalize(), there=there, objects=objects)


def quantity(count: int, class_name: str, rng: np.random.Generator) -> str:
    """`count` objects of a class in words, such as "two ships" and "many ships"."""
    name = words(class_name)
    if count == 1:
        return f"{('one', 'an' if name[:1] in 'aeiou' else 'a')[rng.integers(2)]} {name}"
    return f"{NUMBERS[count - 1] if count <= COUNTED else MANY[rng.integers(2)]} {plural(name)}"


def plural(noun: str) -> str:
    """The regular plural of an English noun, or of the last word of a phrase."""
    if noun.endswith("y") and noun[-2:-1] not in (*"aeiou", ""):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")


def enumeration(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
