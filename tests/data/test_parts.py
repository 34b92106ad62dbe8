"""Images read by parts: the same pixels as from the whole, whatever the format, and what is done about damage."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from remoteclip_jax.data import parts, strips
from remoteclip_jax.data.damage import BrokenImageError
from remoteclip_jax.data.gdal_parts import has_gdal
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.parts import open_parts
from remoteclip_jax.data.strips import DecodedImage, PartialImage, Strip
from remoteclip_jax.data.tiling import SceneWindow, window_rows
from remoteclip_jax.data.windows import enclosing_square, window_pyramid
from remoteclip_jax.errors import UserError

WIDTH, HEIGHT, SIDE = 211, 157, 64
DEFLATE: dict[str, Any] = {"compression": "deflate", "photometric": "rgb"}
with_and_without_gdal = pytest.mark.parametrize("gdal", [False, True])


@pytest.fixture
def rgb() -> np.ndarray:
    """Smooth, so that JPEG keeps it nearly as it is."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 255 // WIDTH, y * 255 // HEIGHT, (x + y) * 255 // (WIDTH + HEIGHT)], -1).astype(np.uint8)


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 0)
    monkeypatch.setattr(strips, "ROWS_AT_A_TIME", 8)


@contextlib.contextmanager
def no_parts(*_: Any) -> Iterator[None]:
    raise ValueError
    yield


def choose(gdal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if gdal and not has_gdal():
        pytest.skip("rasterio is not installed")
    monkeypatch.setattr(parts, "has_gdal", lambda: gdal)
    if gdal:  # which comes second for a TIFF
        monkeypatch.setattr(parts, "open_tiff_parts", no_parts)


def read_all(path: Path, reduce: int = 1, **options: Any) -> np.ndarray:
    """The whole image from strips that overlap."""
    with open_parts(path, lambda _: SIDE, max, **options) as image:
        assert isinstance(image, PartialImage)
        before, pieces, done = None, [], 0
        for top in range(0, HEIGHT, 24):
            before = image.strip(top, min(top + 40, HEIGHT), reduce, before)
            assert isinstance(before.pixels, np.ndarray)
            pieces.append(before.pixels[done - before.top // reduce :])
            done = before.top // reduce + len(before.pixels)
        assert image.damage(path) is None
    return np.concatenate(pieces)


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "tiles": lambda p, a: tifffile.imwrite(p, a, tile=(32, 48), compression="deflate", photometric="rgb"),
    "strips": lambda p, a: tifffile.imwrite(p, a, rowsperstrip=7, compression="lzw", photometric="rgb"),
    "planes": lambda p, a: tifffile.imwrite(
        p, a.transpose(2, 0, 1), tile=(32, 32), compression="deflate", photometric="rgb", planarconfig="separate"
    ),
    "plain": lambda p, a: tifffile.imwrite(p, a, photometric="rgb"),
    "plain planes": lambda p, a: tifffile.imwrite(p, a.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    "big endian": lambda p, a: tifffile.imwrite(p, a.astype(np.uint16) * 257, photometric="rgb", byteorder=">"),
    "BigTIFF": lambda p, a: tifffile.imwrite(p, a, tile=(64, 64), bigtiff=True, photometric="rgb"),
    "one strip": lambda p, a: tifffile.imwrite(p, a, rowsperstrip=HEIGHT, compression="deflate", photometric="rgb"),
    "16 bits": lambda p, a: tifffile.imwrite(
        p, a.astype(np.uint16) * 9 + 40, tile=(32, 32), compression="deflate", photometric="rgb", predictor=True
    ),
    "grey": lambda p, a: tifffile.imwrite(p, a[..., 0], tile=(32, 32), compression="deflate"),
    "16 bits, white is zero": lambda p, a: tifffile.imwrite(
        p, a[..., 0].astype(np.uint16) * 257, rowsperstrip=9, photometric="miniswhite"
    ),
    "white is zero": lambda p, a: tifffile.imwrite(p, a[..., 0], rowsperstrip=9, photometric="miniswhite"),
    "1 bit": lambda p, a: tifffile.imwrite(p, a[..., 0] > 99, photometric="minisblack"),
    "1 bit, white is zero": lambda p, a: tifffile.imwrite(p, a[..., 0] > 99, photometric="miniswhite"),
    "4 bits": lambda p, a: tifffile.imwrite(p, a[..., 0] // 16, bitspersample=4),
    "12 bits": lambda p, a: tifffile.imwrite(p, a[..., 0].astype(np.uint16) * 16, bitspersample=12),
    "WebP": lambda p, a: tifffile.imwrite(
        p, a, tile=(32, 48), compression="webp", compressionargs={"level": -1}, photometric="rgb"
    ),
    "LERC": lambda p, a: tifffile.imwrite(p, a, tile=(32, 48), compression="lerc", photometric="rgb"),
}


@with_and_without_gdal
@pytest.mark.parametrize("kind", list(WRITERS))
def test_a_tiff_by_parts_has_the_pixels_of_the_whole(
    kind: str, gdal: bool, rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(gdal, monkeypatch)
    path = tmp_path / "a.tif"
    WRITERS[kind](path, rgb)
    np.testing.assert_array_equal(read_all(path), np.asarray(read_image(path)))


@with_and_without_gdal
def test_reduced_strips_are_means(gdal: bool, rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(gdal, monkeypatch)
    path = tmp_path / "a.tif"
    WRITERS["tiles"](path, rgb)
    found = read_all(path, reduce=4)
    assert found.shape == (-(-HEIGHT // 4), -(-WIDTH // 4), 3)
    means = rgb[: HEIGHT // 4 * 4, : WIDTH // 4 * 4].reshape(HEIGHT // 4, 4, WIDTH // 4, 4, 3).mean((1, 3))
    np.testing.assert_allclose(found[: HEIGHT // 4, : WIDTH // 4], means, atol=0.51)


def test_coarse_rows_come_from_a_copy_after_the_first_pass(
    rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read once, and the rows are those that the file would give, but for rounding."""
    monkeypatch.setattr(strips, "COPY_BYTES", 3 * (WIDTH // 4) * (HEIGHT // 4))
    path = tmp_path / "a.tif"
    WRITERS["tiles"](path, rgb)
    with open_parts(path, lambda _: SIDE, max) as image:
        assert isinstance(image, PartialImage)
        direct = {reduce: image.strip(0, HEIGHT, reduce).pixels for reduce in (4, 8, 16)}
        before = None
        for top in range(0, HEIGHT, 24):
            assert image.copy.serves(4) == (top + 16 >= HEIGHT)
            before = image.strip(top, min(top + 40, HEIGHT), 1, before)
        monkeypatch.setattr(image.parts, "read", None)
        for reduce, expected in direct.items():
            found = image.strip(0, HEIGHT, reduce).pixels
            np.testing.assert_allclose(np.asarray(found, int)[:-1, :-1], np.asarray(expected, int)[:-1, :-1], atol=1)
            part = image.strip(32, 100, reduce)
            np.testing.assert_array_equal(part.pixels, found[32 // reduce :][: len(part.pixels)])
            assert part.top == 32


@pytest.mark.parametrize("suffix", ["jpg", "jp2", "palette.tif", "ycbcr.tif"])
def test_what_gdal_reads_by_parts(
    suffix: str, rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(True, monkeypatch)
    path, image = tmp_path / f"a.{suffix}", Image.fromarray(rgb)
    if suffix == "palette.tif":
        image.quantize(64).save(path)
    elif suffix == "ycbcr.tif":
        import rasterio

        options = {"compress": "jpeg", "photometric": "ycbcr", "tiled": True, "blockxsize": 64, "blockysize": 64}
        with rasterio.open(path, "w", "GTiff", WIDTH, HEIGHT, 3, dtype="uint8", **options) as file:
            file.write(rgb.transpose(2, 0, 1))
    else:
        image.save(path)
    found = read_all(path).astype(int)
    assert np.abs(found - np.asarray(read_image(path))).max() <= (0 if "palette" in suffix else 3)


@with_and_without_gdal
def test_bands_and_percentiles(gdal: bool, rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each band from its own percentiles, whatever its range, and no-data black and no part of it."""
    choose(gdal, monkeypatch)
    path = tmp_path / "a.tif"
    values = np.concatenate([rgb.astype(np.float32) * [1, 1000, 1e-3], rgb[..., :1] + 5.0], -1).astype(np.float32)
    values[:40, :50] = -1234.0
    values[60:70, 60:70] = np.nan
    tags = [(42113, "s", 0, "-1234", True)]
    tifffile.imwrite(path, values, tile=(32, 32), photometric="minisblack", planarconfig="contig", extratags=tags)
    found = read_all(path, bands=(3, 2, 1), percentiles=(0.0, 100.0)).astype(int)
    assert (found[:40, :50] == 0).all()
    assert (found[60:70, 60:70] == 0).all()
    seen = np.ones((HEIGHT, WIDTH), bool)
    seen[:40, :50] = seen[60:70, 60:70] = False
    for i, band in enumerate((2, 1, 0)):
        known = rgb[..., band][seen].astype(float)
        expected = (rgb[..., band] - known.min()) * 255 / (known.max() - known.min())
        np.testing.assert_allclose(found[..., i][seen], expected[seen], atol=1)
    whole = np.asarray(read_image(path, bands=(3, 2, 1)))
    assert (whole[:40, :50] == 0).all()


@with_and_without_gdal
def test_bytes_of_no_data_are_black(
    gdal: bool, rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(gdal, monkeypatch)
    path = tmp_path / "a.tif"
    rgb[:30, :30] = 255
    tifffile.imwrite(path, rgb, tile=(32, 32), photometric="rgb", extratags=[(42113, "s", 0, "255", True)])
    found = read_all(path)
    assert (found[:30, :30] == 0).all()
    np.testing.assert_array_equal(found[30:], rgb[30:])
    np.testing.assert_array_equal(found, np.asarray(read_image(path)))


@with_and_without_gdal
def test_a_damaged_tile_is_black_and_named(
    gdal: bool, rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(gdal, monkeypatch)
    path = tmp_path / "a.tif"
    WRITERS["tiles"](path, rgb)
    with tifffile.TiffFile(path) as tiff:
        place, count = tiff.pages[0].dataoffsets[6], tiff.pages[0].databytecounts[6]  # the second of the second row
    data = bytearray(path.read_bytes())
    data[place : place + count] = bytes(count)
    path.write_bytes(data)
    with open_parts(path, lambda _: SIDE, max) as image:
        strip = image.strip(0, HEIGHT, 1)
        assert "1 of its 25 blocks cannot be read (first at pixel 48, 32)" in str(image.damage(path))
    expected = rgb.copy()
    expected[32:64, 48:96] = 0
    np.testing.assert_array_equal(strip.pixels, expected)


@with_and_without_gdal
def test_a_file_that_is_cut_off(gdal: bool, rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(gdal, monkeypatch)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.asarray(rgb), rowsperstrip=10, compression="deflate", photometric="rgb")
    path.write_bytes(path.read_bytes()[:-200])
    with open_parts(path, lambda _: SIDE, max) as image:
        strip = image.strip(0, HEIGHT, 1)
        assert "blocks cannot be read" in str(image.damage(path))
    np.testing.assert_array_equal(np.asarray(strip.pixels)[:100], rgb[:100])


@pytest.mark.parametrize("percentiles", [None, (2, 98)])
def test_a_jpeg_that_is_cut_off(
    percentiles: tuple[float, float] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL reports this once. Then it gives grey in place of what is missing."""
    choose(True, monkeypatch)
    path, noise = tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (600, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_parts(path, lambda _: SIDE, max, percentiles=percentiles) as image:
        found = np.asarray(image.strip(0, 600, 1).pixels)
        assert "blocks cannot be read" in str(image.damage(path))
    assert not found[320:].any()
    if percentiles is None:
        assert found[:240].any((1, 2)).all()


def test_what_is_decoded_as_a_whole(rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PNG; a TIFF to be turned; a JPEG that is seen whole, at a reduced size. Up to the limit."""
    turned = tmp_path / "turned.tif"
    tifffile.imwrite(turned, rgb, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    Image.fromarray(rgb).save(tmp_path / "a.png")
    Image.fromarray(rgb).save(tmp_path / "a.jpg")
    for path, side, at_least in ((tmp_path / "a.png", SIDE, 9), (turned, SIDE, 9), (tmp_path / "a.jpg", None, 60)):
        with open_parts(path, lambda _, side=side: side, lambda w, h, least=at_least: least) as image:
            assert isinstance(image, DecodedImage)
            assert image.header.size == read_image(path).size
            assert (image.image.size == image.header.size) == (path.suffix != ".jpg")
    monkeypatch.setattr("remoteclip_jax.data.image_files.MAX_PIXELS", 1000)
    with pytest.raises(UserError, match=r"a\.png: 211x157 pixels are too many .*tiled TIFF"):
        open_parts(tmp_path / "a.png", lambda _: SIDE, max).__enter__()
    WRITERS["tiles"](tmp_path / "a.tif", rgb)
    assert read_all(tmp_path / "a.tif").shape == rgb.shape
    with open_parts(tmp_path / "a.png", lambda _: SIDE, max, allowed=contextlib.nullcontext) as image:
        assert image is None  # not ahead of its turn


def test_windows_of_strips(rgb: np.ndarray) -> None:
    """Each window shows what it would as an image of its own."""
    whole = Image.fromarray(rgb)
    for row in window_rows(WIDTH, HEIGHT, SIDE):
        bottom = min(row.top + row.side, HEIGHT)
        for strip in (Strip(whole), Strip(rgb[row.top : bottom], row.top)):
            for w in row.windows:
                part, inside = strip.cut(w)
                alone = whole.crop((w.left, w.top, min(w.left + w.side, WIDTH), min(w.top + w.side, HEIGHT)))
                (expected,) = window_pyramid(alone, enclosing_square(*alone.size), (96,))
                np.testing.assert_array_equal(window_pyramid(part, inside, (96,))[0], expected)
    small = SceneWindow(10, 22, 50)
    part, inside = Strip(np.asarray(whole.reduce(4)), 0, 4).cut(small)
    assert part.size == (13, 13)
    assert (inside.x * 13 * 4 + 8, inside.y * 13 * 4 + 20) == pytest.approx((10, 22))


def test_of_a_small_damaged_tiff_the_rest_is_read(
    rgb: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only a checksum shows the damage. If nothing can be read, or the image is no TIFF, it is an error."""
    monkeypatch.setattr(parts, "WHOLE_PIXELS", 2**24)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), tile=(32, 32), **DEFLATE)
    with tifffile.TiffFile(path) as tiff:
        places = list(zip(tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts, strict=True))
    data = bytearray(path.read_bytes())
    middle = places[3][0] + places[3][1] // 2
    data[middle : middle + 8] = bytes(8)
    path.write_bytes(data)
    with open_parts(path, lambda _: SIDE, max) as image:
        strip = np.asarray(image.strip(0, 64, 1).pixels)
        assert "1 of its 4 blocks cannot be read (first at pixel 32, 32)" in str(image.damage(path))
    assert strip[:32].any(-1).all()
    assert not strip[32:, 32:].any()
    for place, count in places:
        data[place : place + count] = bytes(count)
    path.write_bytes(data)
    with open_parts(path, lambda _: SIDE, max) as image:
        image.strip(0, 64, 1)
        assert isinstance(image.damage(path), BrokenImageError)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    with pytest.raises(UserError, match="broken"):
        open_parts(tmp_path / "a.png", lambda _: SIDE, max).__enter__()
