"""Images of every kind become upright RGB; other files are refused in one line that names the file."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from remoteclip_jax.data import rasters
from remoteclip_jax.data.image_files import MAX_PIXELS
from remoteclip_jax.data.images import image_size, read_image
from remoteclip_jax.errors import UserError
from tests.command import ROOT
from tests.data.sample_images import write_file, write_gradient


def pixels(path: Path) -> np.ndarray:
    image = read_image(path)
    assert image.mode == "RGB"
    assert image.size == image_size(path)
    return np.asarray(image)


def save(array: np.ndarray, path: Path, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


@pytest.mark.parametrize("extension", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, extension: str, orientation: int) -> None:
    """The tag is applied, by Pillow itself for TIFF, and the header gives the same size."""
    upright = np.asarray(Image.open(write_gradient(tmp_path / "upright.png")))
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(extension, {})
    path = save(np.ascontiguousarray(stored), tmp_path / f"a.{extension}", exif=exif, **options)
    np.testing.assert_allclose(pixels(path).astype(int), upright, atol=4 if extension == "jpg" else 0)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_invalid_exif_is_ignored(tmp_path: Path) -> None:
    path = write_gradient(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff\x01")
    assert pixels(path).shape == (60, 80, 3)
    exif = Image.Exif()
    exif[0x0112] = 99
    assert pixels(write_gradient(tmp_path / "b.jpg", exif=exif)).shape == (60, 80, 3)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, extension: str) -> None:
    values = np.array([[0, 128, 129, 257, 25_700, 65_535]], np.uint16)
    result = pixels(save(values, tmp_path / f"a.{extension}"))
    assert result[0, :, 0].tolist() == [0, 0, 1, 1, 100, 255]
    assert (result == result[..., :1]).all()
    dark = pixels(save(np.full((4, 4), 200, np.uint16), tmp_path / f"dark.{extension}"))
    assert dark.max() == 1  # nothing to stretch: dark stays dark


def test_other_bit_depths(tmp_path: Path) -> None:
    assert pixels(save(np.array([[0, 200]], np.int32), tmp_path / "a.tif"))[0, :, 0].tolist() == [0, 200]
    assert pixels(save(np.array([[0, 65_535]], np.int32), tmp_path / "b.tif"))[0, :, 0].tolist() == [0, 255]
    assert pixels(save(np.array([[0, 0.5, 1]], np.float32), tmp_path / "c.tif"))[0, :, 0].tolist() == [0, 128, 255]
    assert pixels(save(np.array([[0, 90, np.nan]], np.float32), tmp_path / "d.tif"))[0, :, 0].tolist() == [0, 90, 0]
    assert pixels(save(np.array([[0, 255]], np.uint8), tmp_path / "e.png", "1"))[0, :, 0].tolist() == [0, 255]


@pytest.mark.filterwarnings("error")  # a warning per image would drown the progress bar
def test_grey_palette_and_alpha(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(pixels(save(grey, tmp_path / "grey.png")), np.repeat(grey[..., None], 3, -1))
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[:4] = 10, 200, 30
    palette = Image.fromarray(colours).quantize(4)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(pixels(tmp_path / "palette.png"), colours)
    palette.save(tmp_path / "transparent.png", transparency=bytes([0, 9]))
    np.testing.assert_array_equal(pixels(tmp_path / "transparent.png"), colours)
    for extension in ("png", "tif"):
        alpha = np.concatenate([colours, np.full((8, 8, 1), 7, np.uint8)], -1)
        np.testing.assert_array_equal(pixels(save(alpha, tmp_path / f"alpha.{extension}")), colours)
        grey_alpha = save(grey, tmp_path / f"grey_alpha.{extension}", "LA")
        np.testing.assert_array_equal(pixels(grey_alpha)[..., 1], grey)


@pytest.mark.parametrize("extension", ["jpg", "tif"])
def test_cmyk(tmp_path: Path, extension: str) -> None:
    colour = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    result = pixels(save(colour, tmp_path / f"a.{extension}", "CMYK"))
    np.testing.assert_allclose(result.astype(int), colour, atol=4)


def test_reduced_decoding(tmp_path: Path) -> None:
    path = write_gradient(tmp_path / "a.jpg", (800, 640), quality=95)
    small = read_image(path, at_least=150)
    assert small.size == (200, 160)
    whole = read_image(path).resize(small.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small, int) - np.asarray(whole, int)).mean() < 4
    assert read_image(path, at_least=320).size == (400, 320)
    assert read_image(path, at_least=321).size == (800, 640)
    assert read_image(path, at_least=600).size == (800, 640)
    assert read_image(path, at_least=5000).size == (800, 640)
    assert read_image(write_gradient(tmp_path / "a.png", (800, 640)), at_least=10).size == (800, 640)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(write_gradient(tmp_path / "turned.jpg", (800, 640), exif=exif), at_least=150).size == (160, 200)
    for size in ((641, 1003), (17, 900), (255, 257)):
        path = write_gradient(tmp_path / "odd.jpg", size)
        assert all(min(read_image(path, at_least=n).size) >= min(n, *size) for n in (1, 15, 16, 80, 81, 127, 128, 256))


def truncated(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("at_least", [None, 8])
def test_truncated_images_are_refused(tmp_path: Path, kind: str, at_least: int | None) -> None:
    path = write_file(tmp_path / "half.jpg", truncated(kind))
    assert image_size(path) == (64, 64)  # the header is whole
    with pytest.raises(UserError, match=r"half\.jpg: the image is broken"):
        read_image(path, at_least)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"  # a program, for Ghostscript to run


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"<svg/>", EPS])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = write_file(tmp_path / "a.jpg", content)
    for read in (read_image, image_size):
        with pytest.raises(UserError, match=r"a\.jpg: cannot be read as an image"):
            read(path)


def test_missing_images_and_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jpg: no such image"):
        image_size(tmp_path / "absent.jpg")
    with pytest.raises(UserError, match="Is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty; copy or download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n", "Git LFS pointer .* `git lfs pull`"),
        (
            b"\r\n <!DOCTYPE html><html>404</html>",
            "an HTML page, perhaps .* message; download the image again",
        ),
        (b"\xef\xbb\xbf<html>", "an HTML page.*"),
        (b"RIFF", "of an unknown format; save it as PNG, JPEG or TIFF"),
    ],
)
def test_the_remedy_for_common_mistakes(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write_file(tmp_path / "a.jpg", content)
    with pytest.raises(UserError, match=rf"a\.jpg: cannot be read as an image \(.*{reason}\)"):
        image_size(path)


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="not a regular file"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns about what it skips
def test_damaged_images_are_read_or_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    for extension in ("jpg", "png", "tif", "bmp"):
        options = {} if extension == "bmp" else {"exif": exif}
        whole = write_gradient(tmp_path / f"a.{extension}", **options).read_bytes()
        for _ in range(80):
            content = bytearray(whole)
            for place in rng.integers(0, min(300, len(content)), 3):
                content[place] = rng.integers(256)
            path = write_file(tmp_path / f"a.{extension}", bytes(content))
            try:
                size = image_size(path)
                assert read_image(path).size == size
            except UserError as e:
                assert str(path) in str(e)  # noqa: PT017


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims a size and has one pixel."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0\0")))
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_large_images_are_read_and_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert image_size(write_file(tmp_path / "large.png", png_of_size(20_000, 20_000))) == (20_000, 20_000)
    assert MAX_PIXELS < 25_000**2
    bomb = write_file(tmp_path / "bomb.png", png_of_size(25_000, 25_000))
    for read in (read_image, image_size):
        with pytest.raises(UserError, match=r"bomb\.png: 25000x25000 pixels are too many"):
            read(bomb)
    large = tmp_path / "large.jpg"
    Image.new("L", (1_400, 1_400), 90).save(large)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # so that it is beyond Pillow's own limit
    assert read_image(large, at_least=100).size == (175, 175)


@pytest.mark.filterwarnings("error")
def test_global_settings_of_pillow_and_opencv_are_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's global limit is neither changed nor applied here."""
    paths = [write_gradient(tmp_path / f"a.{extension}") for extension in ("jpg", "png", "bmp", "jp2")]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for path in paths:
        assert read_image(path).size == image_size(path) == (80, 60)
        with pytest.raises(Image.DecompressionBombError):
            Image.open(path)
    program = """
import cv2
from PIL import Image
before = Image.MAX_IMAGE_PIXELS, cv2.getNumThreads()
import remoteclip_jax, remoteclip_jax.tasks.detect.batches
assert before == (Image.MAX_IMAGE_PIXELS, cv2.getNumThreads()) and before[0] > 0
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


def test_a_large_tiff_is_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gradient(tmp_path / "a.tif")
    jpeg = write_gradient(tmp_path / "b.tif", compression="jpeg", quality=95)
    expected = pixels(path), pixels(jpeg)
    monkeypatch.setattr(rasters, "PILLOW_MAX_PIXELS", 10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    np.testing.assert_array_equal(pixels(path), expected[0])
    np.testing.assert_allclose(pixels(jpeg).astype(int), expected[1], atol=3)
