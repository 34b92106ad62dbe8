"""Class names as words, and templates from a file."""

from pathlib import Path

import numpy as np
import pytest

from remoteclip_jax.clip.prompts import TEMPLATE, parse_templates, prompts, read_templates, words
from remoteclip_jax.clip.template_sets import TEMPLATE_SETS
from remoteclip_jax.data.classes import DIOR_CLASSES
from remoteclip_jax.errors import UserError
from remoteclip_jax.printable import printable
from tests.shared_data import SHARED, requires_shared


@pytest.mark.parametrize(
    ("name", "spoken"),
    [
        ("Expressway-Service-area", "expressway service area"),
        ("Expressway-toll-station", "expressway toll station"),
        ("baseballfield", "baseball field"),
        ("GroundTrackField", "ground track field"),
        ("ship", "ship"),
        ("railwaystation", "railway station"),
        ("oil_tank", "oil tank"),
        (" swimming  pool ", "swimming pool"),
    ],
)
def test_words(name: str, spoken: str) -> None:
    assert words(name) == spoken


def test_dior_names_are_all_short_words() -> None:
    # Nothing in DIOR is longer than "basketball" or "expressway" once compound names are split.
    assert max(len(word) for name in DIOR_CLASSES for word in words(name).split()) <= len("basketball")


def test_prompts_are_classes_by_templates() -> None:
    assert prompts(["ship", "golffield"], [TEMPLATE, "{} from {above}"]) == [
        ["a satellite photo of a ship.", "ship from {above}"],
        ["a satellite photo of a golf field.", "golf field from {above}"],
    ]
    assert prompts(["a {} b"]) == [["a satellite photo of a a {} b."]]


def test_templates_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "templates.txt"
    file.write_text("\ufeffa photo of a {}.\n\n  an aerial view of {}  \r\n", encoding="utf-8")
    assert read_templates(file) == ["a photo of a {}.", "an aerial view of {}"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a {}.\na photo\n", "line 2"),
        (b"a {} and a {}\n", "line 1"),
        (b"a {class}\n", "line 1"),
        (b"\n \n", "no prompt"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_bad_templates_name_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "templates.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_templates(file)
    assert str(file) in str(error.value)


def test_a_template_or_a_file_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_templates("a photo of a {}.") == ["a photo of a {}."]
    assert parse_templates("{} in {c}") == ["{} in {c}"]
    for name in ("a photo of {c}.", "all {} and {}", "~templates"):
        Path(name).write_text("from above: {}\n")
        assert parse_templates(name) == ["from above: {}"]
        Path(name).unlink()
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("list").write_text("a {}\nthe {}\n")
    assert parse_templates("~/list") == ["a {}", "the {}"]
    for value in ("a photo of {c}.", "a {} and a {}", "templates.txt", "", "x" * 300, "x\0"):
        with pytest.raises(UserError, match=r"a template needs exactly one \{\}, .* nor is there a file") as error:
            parse_templates(value)
        assert f"--templates={printable(value)}:" in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.txt"):
        read_templates(tmp_path / "nowhere.txt")


def test_sets_of_templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"remoteclip": 1, "openai-eurosat": 3, "openai-resisc45": 18, "rs106": 106}
    assert {name: len(set(parse_templates(name))) for name in TEMPLATE_SETS} == counts
    assert all(template.count("{}") == 1 for templates in TEMPLATE_SETS.values() for template in templates)
    assert parse_templates("openai-eurosat")[1] == "a centered satellite photo of a {}."
    assert {"satellite imagery of {}.", "aerial view of the {}."} < set(parse_templates("openai-resisc45"))
    monkeypatch.chdir(tmp_path)
    Path("rs106").write_text("mine: {}\n")
    assert parse_templates("./rs106") == ["mine: {}"]
    with pytest.raises(UserError, match="the sets are remoteclip, openai-eurosat, openai-resisc45, rs106"):
        parse_templates("openai-aid")


@requires_shared
def test_the_106_are_those_of_the_published_embeddings() -> None:
    with np.load(SHARED / "remoteclip_rn50" / "whu_rs19_embeddings.npz") as stored:
        assert set(stored["templates"].tolist()) == set(TEMPLATE_SETS["rs106"])
