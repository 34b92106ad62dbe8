"""Fields of a dataclass as settings: `--set` assignments are parsed, checked against the field's type, and applied."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.fields import (
    check_fields,
    checked_value,
    field_value,
    from_json,
    parse_assignment,
    setting,
    with_assignments,
)
from remoteclip_jax.tasks.detect.config import DetectConfig


@dataclass(frozen=True)
class Engine:
    fuel: Literal["diesel", "steam"] = "diesel"
    cylinders: int = 4

    def __post_init__(self) -> None:
        if self.cylinders < 1:
            raise ValueError(f"cylinders={self.cylinders} must be at least 1")


@dataclass(frozen=True)
class Ship:
    name: str = "Aurora"
    decks: int = setting(3, between=(1, 20))
    draught: float = 4.5
    armed: bool = False
    captain: str | None = None
    cargo: tuple[int, ...] = ()
    flag: Literal["red", "green"] = "red"
    engine: Engine = Engine()
    built: int = setting(0, derived=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("detector.layers=4", ("detector.layers", 4)),
        (" decks = 4", ("decks", 4)),
        ("draught=1e-3", ("draught", 1e-3)),
        ("armed=true", ("armed", True)),
        ("captain=null", ("captain", None)),
        ('name="a=b"', ("name", "a=b")),
        ("cargo=[1, 2]", ("cargo", [1, 2])),
    ],
)
def test_an_assignment_is_a_name_and_a_json_value(text: str, expected: tuple[str, Any]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["", "decks", "=4", "  =4"])
def test_an_assignment_without_name_or_value_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"expected FIELD=VALUE, such as --set=detector\.layers=4"):
        parse_assignment(text)


def test_a_string_without_quotes_is_shown_with_quotes() -> None:
    with pytest.raises(UserError, match="'Rurik' is not a JSON value; a string needs quotes: --set='name=\"Rurik\"'"):
        parse_assignment("name=Rurik")
    for text in ("name=", "cargo=[1,", "cargo=" + "[" * 100_000):
        with pytest.raises(UserError, match="is not a JSON value"):
            parse_assignment(text)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("decks", 4, 4),
        ("draught", 5, 5),  # a whole number is a number
        ("armed", True, True),
        ("captain", None, None),
        ("captain", "Ahab", "Ahab"),
        ("cargo", [1, 2], (1, 2)),
        ("cargo", [], ()),
        ("flag", "green", "green"),
        ("engine.fuel", "steam", "steam"),
    ],
)
def test_values_of_the_right_type_are_taken(name: str, value: Any, expected: Any) -> None:
    found = checked_value(Ship, name, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("decks", 4.5, "decks=4.5: decks is '4.5', which is not a whole number"),
        ("decks", "4", "decks is '4', which is not a whole number"),
        ("decks", True, "decks is 'True', which is not a whole number"),
        ("decks", None, "decks is null, which is not a whole number"),
        ("draught", "deep", "draught is 'deep', which is not a number"),
        ("armed", 1, "armed is '1', which is not true or false"),
        ("captain", 7, "captain is '7', which is not a string or null"),
        ("cargo", 5, "cargo is '5', not a list, which is not a list, each a whole number"),
        ("cargo", [1, "x"], r"cargo\[1\] is 'x', which is not a list, each a whole number"),
        ("flag", 3, "flag is '3', which is not one of red, green"),
        ("flag", "blue", 'flag="blue" is unknown; known: red, green'),
        ("engine.fuel", "wind", '--set=engine.fuel="wind" is unknown; known: diesel, steam'),
        ("engine.cylinders", [], "engine.cylinders is '\\[\\]', which is not a whole number"),
    ],
)
def test_values_of_another_type_are_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked_value(Ship, name, value)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("deck", "decks"),
        ("cylinders", "engine.cylinders"),
        ("engine.fule", "engine.fuel"),
        ("decks.number", "decks"),
        ("flag.", "flag"),
        ("engine.", "engine.fuel"),
    ],
)
def test_an_unknown_field_is_named_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"there is no such setting; the nearest is {nearest}$"):
        checked_value(Ship, name, 1)


def test_the_nearest_field_of_a_run() -> None:
    for name, nearest in (("detector.layer", "detector.layers"), ("layers", "detector.layers"), ("mosaik", "mosaic")):
        with pytest.raises(UserError, match=f"--set={name}=….* the nearest is {nearest}$"):
            checked_value(DetectConfig, name, 1)


def test_a_derived_field_cannot_be_set() -> None:
    with pytest.raises(UserError, match="--set=built=…: there is no such setting"):
        checked_value(Ship, "built", 1900)
    for name in ("task", "preset", "total_steps", "first_steps", "fits"):
        with pytest.raises(UserError, match=f"--set={name}=…: there is no such setting"):
            checked_value(DetectConfig, name, 1)


def test_a_dataclass_is_set_field_by_field() -> None:
    with pytest.raises(UserError, match=r"--set=engine=…: set its fields one by one, such as engine\.fuel=…"):
        checked_value(Ship, "engine", {"fuel": "steam"})


def test_assigned_values_take_the_place_of_the_old_ones() -> None:
    ship = with_assignments(Ship(), {"decks": 7, "engine.cylinders": 8, "engine.fuel": "steam"})
    assert ship == Ship(decks=7, engine=Engine("steam", 8))
    assert field_value(ship, "engine.cylinders") == 8
    assert field_value(ship, "decks") == 7
    assert with_assignments(Ship(), {}) == Ship()


def test_what_the_dataclass_itself_refuses_names_the_assignment() -> None:
    with pytest.raises(UserError, match=r"--set=engine\.cylinders=0: cylinders=0 must be at least 1"):
        with_assignments(Ship(), {"engine.cylinders": 0})


def test_bounds_and_choices() -> None:
    check_fields(Ship())
    for ship, message in (
        (Ship(decks=0), "--decks=0 is out of range: it must lie between 1 and 20"),
        (Ship(decks=21), "--decks=21 is out of range"),
        (Ship(flag="blue"), "--flag=blue is unknown; known: red, green"),  # type: ignore[arg-type]
    ):
        with pytest.raises(UserError, match=message):
            check_fields(ship)


def test_json_is_read_back_as_dataclasses_and_tuples() -> None:
    value = {"decks": 7, "cargo": [1, 2], "engine": {"fuel": "steam"}}
    assert from_json(Ship, value) == Ship(decks=7, cargo=(1, 2), engine=Engine("steam"))
