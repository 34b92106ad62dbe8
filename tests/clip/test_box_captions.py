"""RemoteCLIP's box-to-caption rules, one by one."""

import re
from collections.abc import Sequence

import numpy as np
import pytest

from remoteclip_jax.clip.box_captions import MANY, box_captions, enumeration, plural, quantity

CLASSES = ("ship", "harbor", "Expressway-Service-area", "airplane", "storagetank")
SHIP, HARBOR, AREA, AIRPLANE, TANK = range(5)
CENTRE, EDGE = (0.5, 0.5), (0.1, 0.9)
AT_CENTRE = re.compile("in the center of the image|In the middle of the image")
ELSEWHERE = re.compile("away from the center|Near the edges")


def captions(*objects: tuple[int, tuple[float, float]], seed: int = 0, classes: Sequence[str] = CLASSES) -> list[str]:
    """The captions of an image with these labels and centres."""
    labels = np.array([label for label, _ in objects], np.int32)
    boxes = np.array([[*centre, 0.1, 0.1] for _, centre in objects], np.float32).reshape(-1, 4)
    return list(box_captions(labels, boxes, classes, np.random.default_rng(seed)))


def many_times(*objects: tuple[int, tuple[float, float]]) -> list[list[str]]:
    return [captions(*objects, seed=seed) for seed in range(50)]


def test_five_captions_all_different() -> None:
    for objects in ([(SHIP, CENTRE)], [(SHIP, EDGE)] * 2, [(SHIP, CENTRE)] * 40, [(SHIP, CENTRE), (HARBOR, EDGE)]):
        for found in many_times(*objects):
            assert len(found) == len(set(found)) == 5


def test_an_image_without_objects_has_none() -> None:
    assert captions() == []


def test_the_first_is_about_the_centre_and_the_second_about_the_rest() -> None:
    for first, second, *rest in many_times((SHIP, CENTRE), (HARBOR, EDGE)):
        assert AT_CENTRE.search(first)
        assert "ship" in first
        assert "harbor" not in first
        assert ELSEWHERE.search(second)
        assert "harbor" in second
        assert "ship" not in second
        assert not any(AT_CENTRE.search(caption) or ELSEWHERE.search(caption) for caption in rest)


@pytest.mark.parametrize(
    ("centre", "is_central"),
    [
        ((0.5, 0.5), True),
        ((0.25, 0.75), True),
        ((0.24, 0.5), False),
        ((0.5, 0.76), False),
        ((0.1, 0.1), False),
    ],
)
def test_the_centre_is_the_middle_half_in_both_directions(centre: tuple[float, float], is_central: bool) -> None:
    first, second, *_ = captions((SHIP, centre))
    assert bool(AT_CENTRE.search(first)) == is_central
    assert bool(ELSEWHERE.search(second)) == (not is_central)


def test_the_third_names_all_classes_and_the_last_two_some_with_all_their_objects() -> None:
    counts = {"ship": "three ships", "harbor": "two harbors", "service": "four expressway service areas"}
    objects = [(SHIP, CENTRE)] * 3 + [(HARBOR, EDGE)] * 2 + [(AREA, CENTRE)] * 3 + [(AREA, EDGE)]
    named = set()
    for _, _, third, *last in many_times(*objects):
        assert all(count in third for count in counts.values())
        for caption in last:
            present = {word for word in counts if word in caption}
            assert present
            assert all(counts[word] in caption for word in present)
            named.add(len(present))
    assert named == {1, 2, 3}


def test_more_than_ten_are_many() -> None:
    for found in many_times(*[(SHIP, CENTRE)] * 10):
        assert all("ten ships" in caption for caption in found)
    several = [caption for found in many_times(*[(SHIP, CENTRE)] * 11) for caption in found]
    assert all(any(f"{many} ships" in caption for many in MANY) for caption in several)
    assert all(any(many in caption for caption in several) for many in MANY)


def test_it_depends_on_the_generator_alone() -> None:
    objects = [(SHIP, CENTRE), (HARBOR, EDGE), (TANK, CENTRE)]
    assert captions(*objects, seed=3) == captions(*objects, seed=3)
    assert len({tuple(found) for found in many_times(*objects)}) > 40


def test_sentences_are_grammatical() -> None:
    for found in many_times((SHIP, CENTRE), *[(AIRPLANE, EDGE)] * 2, *[(TANK, CENTRE)] * 12, (AREA, EDGE)):
        for caption in found:
            assert re.fullmatch(r"[A-Z][a-z ,]+\.", caption)
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|\b(one|a|an) (ships|airplanes|storage tanks)\b", caption)


def test_is_or_are_goes_by_the_first_of_an_enumeration() -> None:
    for found in many_times((SHIP, CENTRE), *[(HARBOR, CENTRE)] * 11):
        for caption in found:
            for number, first in re.findall(r"[Tt]here (is|are) ((?:a lot of|\w+) \w+)", caption):
                assert (number == "is") == first.endswith(" ship"), caption


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("ship", "ships"),
        ("bridge", "bridges"),
        ("factory", "factories"),
        ("runway", "runways"),
        ("bus", "buses"),
        ("church", "churches"),
        ("storage box", "storage boxes"),
    ],
)
def test_plurals(noun: str, expected: str) -> None:
    assert plural(noun) == expected


def test_quantities() -> None:
    rng = np.random.default_rng(0)
    assert {quantity(1, "airplane", rng) for _ in range(20)} == {"one airplane", "an airplane"}
    assert {quantity(1, "ship", rng) for _ in range(20)} == {"one ship", "a ship"}
    assert quantity(2, "storagetank", rng) == "two storage tanks"
    assert quantity(10, "ship", rng) == "ten ships"


def test_enumerations() -> None:
    assert enumeration(["a"]) == "a"
    assert enumeration(["a", "b"]) == "a and b"
    assert enumeration(["a", "b", "c"]) == "a, b and c"


def test_braces_in_class_names_stay() -> None:
    assert all("{x}" in caption for caption in captions((0, CENTRE), classes=["{x}"]))
