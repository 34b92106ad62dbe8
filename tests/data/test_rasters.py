"""Rasters: ordinary images stored in wide types or with extra bands are recovered exactly, and images that use a small
part of their range are stretched."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from remoteclip_jax.data.bands import note_raster, parse_bands
from remoteclip_jax.data.images import ImageHeader, image_size, read_header, read_image
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.sampling import Sampler, SamplingConfig
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.tasks.align.batches import evaluation_batches, training_batches
from remoteclip_jax.tasks.configuration import load_config
from remoteclip_jax.tasks.detect.batches import whole_image_batches
from tests.data.sample_datasets import write_flat
from tests.data.sample_images import write_file, write_gradient
from tests.data.test_images import save
from tests.shared_data import SHARED, make_report, requires_reports

Array = np.ndarray


@pytest.fixture(scope="module")
def rgb() -> Array:
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def tiff(path: Path, values: Array, **options: object) -> Path:
    bands = values.shape[2] if values.ndim == 3 else 1
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig" if bands > 1 else None, **options)
    return path


def pixels(path: Path, bands: tuple[int, ...] | None = None) -> Array:
    image = read_image(path, bands=bands)
    assert (image.mode, image.size) == ("RGB", image_size(path))
    return np.asarray(image)


def with_more(rgb: Array, count: int) -> Array:
    """Bands 4, 5, … are the first three again, inverted."""
    return np.concatenate([rgb, 255 - rgb, rgb], -1)[..., :count]


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda x: x.astype(np.uint16) * 257, {}),
        (lambda x: x.astype(np.uint16) * 257, {"compression": "lzw"}),
        (lambda x: x.astype(np.uint16) * 257, {"compression": "deflate", "predictor": True, "tile": (16, 32)}),
        (lambda x: x.astype(np.uint16) * 257, {"byteorder": ">", "rowsperstrip": 7, "bigtiff": True}),
        (lambda x: x.astype(np.uint16), {}),  # bytes in a wider type
        (lambda x: x.astype(np.int16), {}),
        (lambda x: (x / 255).astype(np.float32), {"compression": "zstd"}),
        (lambda x: x.astype(np.float16), {}),
        (lambda x: x.astype(np.float64), {}),
        (lambda x: with_more(x, 4), {}),
        (lambda x: with_more(x, 5).astype(np.uint16) * 257, {}),
        (lambda x: with_more(x, 7), {"compression": "lzw"}),
        (lambda x: with_more(x, 7), {"tile": (16, 16)}),
    ],
)
def test_bytes_in_wider_types_are_recovered(tmp_path: Path, rgb: Array, change, options: dict) -> None:
    path = tiff(tmp_path / "a.tif", change(rgb), **options)
    np.testing.assert_array_equal(pixels(path), rgb)
    assert not path.with_suffix(".aux.xml").exists()


def test_separate_band_planes(tmp_path: Path, rgb: Array) -> None:
    """In planes, in pages of one band, and in slices of the first axis, as tifffile writes arrays by default."""
    first = np.moveaxis(with_more(rgb, 7).astype(np.uint16) * 257, -1, 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, first, photometric="minisblack", planarconfig="separate")
    np.testing.assert_array_equal(pixels(path), rgb)
    np.testing.assert_array_equal(pixels(path, (6, 6, 2)), np.stack([255 - rgb[..., 2]] * 2 + [rgb[..., 1]], -1))
    for stack in (first, np.moveaxis(first, 0, -1), with_more(rgb, 5)):
        tifffile.imwrite(path, stack, photometric="minisblack")
        assert read_header(path).bands == min(stack.shape)
        np.testing.assert_array_equal(pixels(path), rgb)


def test_png_and_jpeg2000_of_16_bits(tmp_path: Path, rgb: Array) -> None:
    """Pillow would drop the lower eight bits, and with them the whole image if it uses no others."""
    wide = rgb.astype(np.uint16)
    for values in (wide * 257, wide):
        png = write_file(tmp_path / "a.png", imagecodecs.png_encode(values))
        assert read_header(png) == ImageHeader((56, 40), 1, 3, "uint16")
        np.testing.assert_array_equal(pixels(png), rgb)
        grey_alpha = imagecodecs.png_encode(np.ascontiguousarray(values[..., :2]))
        np.testing.assert_array_equal(pixels(write_file(tmp_path / "b.png", grey_alpha))[..., 2], rgb[..., 0])
        rgba = np.concatenate([values, values[..., :1]], -1)
        np.testing.assert_array_equal(pixels(write_file(tmp_path / "c.png", imagecodecs.png_encode(rgba))), rgb)
        jp2 = write_file(tmp_path / "a.jp2", imagecodecs.jpeg2k_encode(values, level=0, reversible=True))
        assert read_header(jp2) == ImageHeader((56, 40), 1, 3, "uint16")
        np.testing.assert_array_equal(pixels(jp2), rgb)


def test_jpeg2000_with_coordinates(tmp_path: Path, rgb: Array) -> None:
    """Kilobytes of them lie before the codestream, which says how many bits a value has. Pillow cannot decode three
    bands as GDAL writes them."""
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": "EPSG:32631", "transform": rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 4e6)}
    for bands in (1, 3, 4):
        for dtype, factor in ((np.uint8, 1), (np.uint16, 257)):
            values, path = with_more(rgb, bands).astype(dtype) * dtype(factor), tmp_path / f"{bands}.jp2"
            options = {**place, "dtype": values.dtype, "quality": 100, "reversible": "yes"}
            with rasterio.open(path, "w", "JP2OpenJPEG", 56, 40, bands, **options) as file:
                file.write(np.moveaxis(values, -1, 0))
            assert read_header(path).wide_type == (None if dtype is np.uint8 else "uint16")
            np.testing.assert_array_equal(pixels(path), rgb if bands > 1 else rgb[..., :1].repeat(3, -1))


@pytest.mark.parametrize("no_data", [None, 9])
def test_sparse_tiffs(tmp_path: Path, rgb: Array, no_data: float | None) -> None:
    """GDAL omits tiles without data. Without compression, such a file is smaller than its pixels."""
    rasterio = pytest.importorskip("rasterio")
    values, path = rgb.copy(), tmp_path / "a.tif"
    values[:, :32] = no_data or 0
    options = {"dtype": "uint8", "tiled": True, "blockxsize": 16, "blockysize": 16, "sparse_ok": True}
    with rasterio.open(path, "w", "GTiff", 56, 40, 3, nodata=no_data, **options) as file:
        file.write(np.moveaxis(values, -1, 0))
    expected = values.copy()
    expected[:, :32] = 0
    np.testing.assert_array_equal(pixels(path), expected)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (lambda x: x * 8, None),  # 11 bits
        (lambda x: x.astype(np.int16) * 8 - 500, None),
        (lambda x: (x * 12).astype(np.float32) / 10_000, None),  # reflectance
        (lambda x: (x * 20).astype(np.float32), None),
        (lambda x: (x * 20).astype(np.int32), None),
        (lambda x: (x * 20).astype(np.float64) - 40_000, -9999),
        (lambda x: (x / 900).astype(np.float32), np.nan),
        (lambda x: (x / 900).astype(np.float32), np.float32(-3.4e38)),
    ],
)
def test_a_small_part_of_the_range_is_stretched(tmp_path: Path, rgb: Array, change, missing: float | None) -> None:
    values = change(rgb.astype(np.uint16))
    if missing is not None:
        values[:20] = missing
    result = pixels(tiff(tmp_path / "a.tif", values))
    low, high = np.percentile(rgb[20:] if missing is not None else rgb, (2, 98))
    expected = np.clip((rgb - low) * 255 / (high - low), 0, 255)
    if missing is not None:
        expected[:20] = 0
    assert np.abs(result - expected).max() <= 1  # all bands alike, so that colours are preserved


def test_the_no_data_tag(tmp_path: Path, rgb: Array) -> None:
    values = rgb.astype(np.uint16) * 8
    values[:20] = 65_000
    assert pixels(tiff(tmp_path / "plain.tif", values))[20:].mean() < 30
    named = tiff(tmp_path / "named.tif", values, extratags=[(42113, 2, 0, "65000", True)])
    assert (pixels(named)[:20].max(), pixels(named)[20:].max()) == (0, 255)


def test_a_bright_outlier_does_not_darken_the_rest(tmp_path: Path, rgb: Array) -> None:
    values = rgb.astype(np.uint16) * 8
    values[0, 0] = 65_535
    assert 100 < pixels(tiff(tmp_path / "a.tif", values)).mean() < 150


def test_min_is_white(tmp_path: Path, rgb: Array) -> None:
    tifffile.imwrite(tmp_path / "a.tif", rgb[..., 0].astype(np.uint16) * 257, photometric="miniswhite")
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif")[..., 1], 255 - rgb[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_rasters(tmp_path: Path, rgb: Array, orientation: int) -> None:
    tag = [(274, 3, 1, orientation, True)]
    deep = tiff(tmp_path / "deep.tif", rgb.astype(np.uint16) * 257, extratags=tag)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = save(rgb, tmp_path / "plain.png", exif=exif)
    np.testing.assert_array_equal(pixels(deep), pixels(plain))
    assert [read_header(path).orientation for path in (deep, plain)] == [orientation] * 2


def test_selected_bands(tmp_path: Path, rgb: Array) -> None:
    four, seven = (tiff(tmp_path / f"{n}.tif", with_more(rgb, n)) for n in (4, 7))
    jpg, grey = write_gradient(tmp_path / "a.jpg"), save(rgb[..., 0], tmp_path / "grey.png")
    np.testing.assert_array_equal(pixels(seven, (7, 4, 2)), with_more(rgb, 7)[..., [6, 3, 1]])
    np.testing.assert_array_equal(pixels(seven, (4,)), np.repeat(255 - rgb[..., :1], 3, -1))
    np.testing.assert_array_equal(pixels(four, (4, 2, 1)), with_more(rgb, 4)[..., [3, 1, 0]])
    rgba = save(with_more(rgb, 4), tmp_path / "rgba.png")
    np.testing.assert_array_equal(pixels(rgba, (4, 2, 1)), with_more(rgb, 4)[..., [3, 1, 0]])
    np.testing.assert_array_equal(pixels(jpg, (3, 2, 1)), pixels(jpg)[..., ::-1])
    np.testing.assert_array_equal(pixels(grey, (3, 2, 1)), pixels(grey))  # no choice
    small = np.asarray(read_image(write_gradient(tmp_path / "b.jpg", (800, 600)), at_least=100, bands=(3, 2, 1)))
    np.testing.assert_array_equal(small, np.asarray(read_image(tmp_path / "b.jpg", at_least=100))[..., ::-1])
    for path, count in ((four, 4), (rgba, 4), (jpg, 3)):
        with pytest.raises(UserError, match=rf"{path.name}: has {count} bands; --bands=7,4,2 asks for others"):
            read_header(path, (7, 4, 2))


def test_parse_bands() -> None:
    assert (parse_bands("3,2,1"), parse_bands("4")) == ((3, 2, 1), (4,))
    for text in ("", "red", "0,1,2", "1,2", "1,2,3,4", "1;2;3"):
        with pytest.raises(UserError, match=f"--bands={text}: write the numbers of three bands"):
            parse_bands(text)


def test_a_run_keeps_its_bands(tmp_path: Path) -> None:
    for bands in (None, (3, 2, 1)):
        TrainConfig(bands=bands).save(tmp_path / "config.json")
        assert load_config(tmp_path / "config.json").bands == bands


def test_batches_have_the_selected_bands(tmp_path: Path, rgb: Array) -> None:
    root = write_flat(tmp_path, "a")
    (root / "images/a.jpg").unlink()
    values = np.zeros((40, 40, 5), np.uint8)
    values[..., 3], values[..., 4] = 200, 100
    tiff(root / "images/a.tif", values)
    dataset = read_dataset(root, "train", bands=(4, 5, 1))
    whole = next(whole_image_batches(dataset, batch_size=1, views=(64,)))["0"]
    training = next(training_batches(dataset, batch_size=1, image_size=64, seed=0, rule="first"))["image"]
    evaluation = next(evaluation_batches(dataset, batch_size=1, image_size=64, rule="first"))["image"]
    sample = Sampler(dataset, SamplingConfig(64, (64,), level="none")).sample(
        dataset.examples[0], np.random.default_rng(0)
    )[0]
    for pixels in (whole[0], training[0], evaluation[0], sample):
        assert pixels[:30, :30].reshape(-1, 3).max(0).tolist() == [200, 100, 0]


def test_notes_of_a_data_set(tmp_path: Path, rgb: Array) -> None:
    root = write_flat(tmp_path, "a", "b", "c")
    for name, values in (("a", rgb.astype(np.uint16)), ("b", with_more(rgb, 5).astype(np.uint16))):
        (root / f"images/{name}.jpg").unlink()
        tiff(root / f"images/{name}.tif", values[:40, :40])
    dataset = read_dataset(root, "train")
    assert dataset.notes == (
        "train: 2 images of uint16 values; those that use under half of their range are stretched from the "
        "2nd to the 98th percentile (first in a.tif)",
        "train: 1 images of 5 bands; bands 1, 2, 3 are used (see --bands) (first in b.tif)",
    )
    assert "3 bands; bands 3, 2, 1 are used" in read_dataset(root, "train", bands=(3, 2, 1)).notes[1]
    with pytest.raises(UserError, match=r"a\.tif: has 3 bands; --bands=5,2,1 asks for others"):
        read_dataset(root, "train", bands=(5, 2, 1))


def test_the_note_says_the_percentiles_that_were_asked_for() -> None:
    notes = Notes("images")
    note_raster(ImageHeader((9, 9), 1, 3, "uint16"), Path("a.tif"), None, notes, (0, 99.5))
    (line,) = notes.lines()
    assert "each band is stretched from percentile 0 to 99.5 (first in a.tif)" in line


def test_truncated_files_and_false_sizes(tmp_path: Path, rgb: Array) -> None:
    for options in ({}, {"compression": "lzw"}):
        whole = tiff(tmp_path / "a.tif", rgb.astype(np.uint16), **options).read_bytes()
        path = write_file(tmp_path / "cut.tif", whole[: len(whole) * 3 // 4])
        assert image_size(path) == (56, 40)
        with pytest.raises(UserError, match=r"cut\.tif: the image is broken \(.*; copy or download it again\)"):
            read_image(path)
    huge = tiff(tmp_path / "huge.tif", rgb.astype(np.uint16)).read_bytes()
    with tifffile.TiffFile(tmp_path / "huge.tif", mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[name].overwrite(30_000)
    assert huge != (tmp_path / "huge.tif").read_bytes()
    with pytest.raises(UserError, match=r"huge\.tif: 30000x30000 pixels are too many"):
        image_size(tmp_path / "huge.tif")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns about what it skips
def test_mutated_rasters_are_read_or_refused_in_one_line(tmp_path: Path, rgb: Array) -> None:
    rng = np.random.default_rng(0)
    wide = with_more(rgb, 5).astype(np.uint16) * 8
    files = [
        tiff(tmp_path / "a.tif", wide),
        tiff(tmp_path / "b.tif", wide, compression="lzw", tile=(16, 16)),
        write_file(tmp_path / "c.png", imagecodecs.png_encode(np.ascontiguousarray(wide[..., :3]))),
        write_file(tmp_path / "d.jp2", imagecodecs.jpeg2k_encode(np.ascontiguousarray(wide[..., :3]))),
    ]
    for file in files:
        whole = file.read_bytes()
        for _ in range(30):
            content = bytearray(whole)
            for place in rng.integers(0, min(400, len(content)), 3):
                content[place] = rng.integers(256)
            file.write_bytes(content[: rng.integers(len(content))] if rng.random() < 0.2 else content)
            try:
                size = image_size(file)
                assert read_image(file).size == size
            except UserError as e:
                assert str(file) in str(e)  # noqa: PT017


@requires_reports
def test_the_scenes_of_the_report(tmp_path: Path) -> None:
    folder = make_report("05", tmp_path)
    with Image.open(SHARED / "gdit_airport/images/airport_1.jpg") as image:
        original = np.asarray(image.convert("RGB")).astype(int)
    scenes = sorted((folder / "scenes").glob("*.tif"))
    assert len(scenes) == 10
    for path in scenes:
        result = pixels(path).astype(int)
        if path.stem == "pan_float32_nodata":
            np.testing.assert_array_equal(result[50:, :, 1], original[50:, :, 0])
            assert not result[:50].any()
        elif path.stem.startswith("pan"):
            stretched = np.abs(result[..., 1] - original[..., 0])
            assert (stretched.mean(), np.corrcoef(result[..., 1].flat, original[..., 0].flat)[0, 1]) < (30, 1)
            assert (np.percentile(result, 2), np.percentile(result, 98)) == (0, 255)
        else:
            np.testing.assert_array_equal(result, original)
