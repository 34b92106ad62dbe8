"""Captions from boxes: RemoteCLIP's rules (Liu et al. 2024, section III-B, "Box-to-Caption Generation"; Algorithm 1 of
arXiv 2306.11029v1), by which detection data become image-caption pairs. The authors' code is not public.

An image gets five captions, as many as RSICD's images have. The first is about the objects at its centre, the second
about those elsewhere; the centre of a box decides. The other three are about classes and their numbers of objects,
chosen at random. Of a class with more than ten objects there are "many" or "a lot of".

The paper does not say how large the centre is, nor how the sentences run. Here the centre is the middle half of the
image in both directions. There are several sentences for each rule; some begin as the prompts of zero-shot
classification do, so that these are no strangers to a text tower that was trained on the captions. The third caption
names all classes, so that every class is in one of the five; the last two are about a random choice of them.
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
    """The five captions, all different, of an image with objects `labels` and `boxes` (cx, cy, w, h in [0, 1] of it);
    none for an image without objects.

    `rng` chooses the sentences, the order of the classes, and which of them the last two captions name. If nothing lies
    at the centre, or nothing elsewhere, that caption is one more about all classes.
    """
    if not len(labels):
        return ()
    central = ((boxes[:, :2] >= CENTRE[0]) & (boxes[:, :2] <= CENTRE[1])).all(1)
    rules = [
        (AT_CENTRE, labels[central]) if central.any() else (COUNTS, labels),
        (ELSEWHERE, labels[~central]) if not central.all() else (COUNTS, labels),
        (COUNTS, labels),
    ]
    present = np.unique(labels)
    for _ in range(CAPTIONS - len(rules)):
        named = rng.choice(present, rng.integers(1, len(present) + 1), replace=False)
        rules.append((COUNTS, labels[np.isin(labels, named)]))
    captions: list[str] = []
    for sentences, chosen in rules:
        caption = _caption(sentences, chosen, class_names, rng)
        while caption in captions:  # at most four captions are of `COUNTS`, which has four sentences
            caption = _caption(sentences, chosen, class_names, rng)
        captions.append(caption)
    return tuple(captions)


def _caption(
    sentences: Sequence[str], labels: Int[np.ndarray, " n"], class_names: Sequence[str], rng: np.random.Generator
) -> str:
    """A sentence about objects, of which there is at least one."""
    counts = list(Counter(labels.tolist()).items())
    order = [counts[i] for i in rng.permutation(len(counts))]
    objects = enumeration([quantity(count, class_names[label], rng) for label, count in order])
    there = f"there {'is' if order[0][1] == 1 else 'are'} {objects}"  # English goes by the first of an enumeration
    sentence = sentences[int(rng.integers(len(sentences)))]
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
