"""The images of a folder, a pattern, a list and a URL: each once, and in the same order every time."""

import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from remoteclip_jax.bulk.remote import LocalImage, discard, local_images
from remoteclip_jax.bulk.sources import find_images
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images in a folder and its subfolders, beside what is none. It is the working directory."""
    for name in (
        "b.jpg",
        "a.PNG",
        "z/2.tif",
        "z/10.tif",
        "c d/é.jpg",
        ".hidden.jpg",
        ".thumbs/b.jpg",
        "x.txt",
        "y.xcf",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def storage() -> Iterator[str]:
    """The URL of a folder with images in another one, in fsspec's memory."""
    system = fsspec.filesystem("memory")
    for name in ("b.jpg", "sub/a.png", "notes.txt"):
        system.pipe(f"/bucket/{name}", name.encode())
    yield "memory:///bucket"
    system.rm("/bucket", recursive=True)


def test_a_folder_with_its_subfolders(folder: Path) -> None:
    notes = Notes("images")
    expected = [str(folder / name) for name in ("a.PNG", "b.jpg", "c d/é.jpg", "z/10.tif", "z/2.tif")]
    assert find_images(str(folder), True, notes) == expected
    assert find_images(".", True, notes) == expected  # wherever the command is started
    assert notes.lines() == ("images: 2 .xcf files skipped: not a supported image format (first in y.xcf)",)
    notes = Notes("images")
    assert find_images(str(folder), False, notes) == expected[:2]
    assert "2 subfolders left out (--norecursive)" in notes.lines()[-1]


def test_links_are_followed_and_circles_are_not(folder: Path) -> None:
    (folder / "z" / "up").symlink_to(folder)
    notes = Notes("images")
    assert len(find_images(str(folder), True, notes)) == 5
    assert any("1 folders left out: links to others that were read" in line for line in notes.lines())


def test_a_pattern(folder: Path) -> None:
    notes = Notes("images")
    assert find_images("**/*.tif", True, notes) == [str(folder / "z/10.tif"), str(folder / "z/2.tif")]
    assert find_images("b.jpg", True, notes) == [str(folder / "b.jpg")]


def test_a_list(folder: Path) -> None:
    (folder / "lists").mkdir()
    listed = folder / "lists" / "some.txt"
    listed.write_bytes(b"\xef\xbb\xbfb.jpg\r\n\n./b.jpg\n  \ns3://bucket/x.jpg\nabsent.jpg\nbad\xff.jpg\nz/../a.PNG")
    notes = Notes("images")
    names = [str(folder / name) for name in ("b.jpg", "absent.jpg", "bad\udcff.jpg", "a.PNG")]
    assert find_images(str(listed), True, notes) == [names[0], "s3://bucket/x.jpg", *names[1:]]
    assert "1 images listed more than once, and predicted once" in notes.lines()[0]


def test_a_list_for_another_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a million images would be reported as missing."""
    (folder / "list.txt").write_text("z/2.tif\nz/10.tif\n")
    monkeypatch.chdir(folder / "z")
    with pytest.raises(UserError, match=r"'z/2\.tif' does not exist, nor does any other .* the working directory"):
        find_images(str(folder / "list.txt"), True, Notes("images"))


def test_no_images(folder: Path, storage: str) -> None:
    (folder / "empty").mkdir()
    (folder / "utf16.txt").write_text("a.jpg", encoding="utf-16")
    for images, message in (
        ("empty", "no image in this folder"),
        ("x.txt", "this list is empty"),
        ("*.gif", "no file matches"),
        ("none.jpg", "no such file"),
        ("utf16.txt", "in UTF-16"),
        (f"{storage}/none", "no image there"),
        ("nosuch://bucket", "nosuch"),
    ):
        with pytest.raises(UserError, match=message):
            find_images(images, True, Notes("images"))


def test_storage(storage: str) -> None:
    notes = Notes("images")
    assert find_images(storage, True, notes) == [f"{storage}/b.jpg", f"{storage}/sub/a.png"]
    assert "1 files left out: not the name of an image" in notes.lines()[0]
    assert find_images(storage, False, notes) == [f"{storage}/b.jpg"]
    assert find_images(f"{storage}/*/*.png", True, notes) == [f"{storage}/sub/a.png"]
    assert find_images(f"{storage}/b.jpg", True, notes) == [f"{storage}/b.jpg"]


def test_copies_are_there_in_order_and_then_gone(storage: str, folder: Path) -> None:
    names = [f"{storage}/b.jpg", str(folder / "b.jpg"), f"{storage}/none.jpg", f"{storage}/sub/a.png"]
    copies = []
    with local_images(names, ahead=2) as images:
        for image in images:
            assert isinstance(image, LocalImage)
            if isinstance(image.file, Path):
                copies.append(image.file)
                assert image.file.suffix == Path(image.name).suffix
                assert image.name == str(image.file) or image.file.read_text() == image.name.removeprefix(f"{storage}/")
                discard(image)
            else:
                assert image.name == names[2]
                assert str(image.file) == f"{names[2]}: no such file"
    assert [os.path.exists(copy) for copy in copies] == [False, True, False]
