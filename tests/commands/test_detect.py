"""Detection in a user's images: the command line, the same in Python, and what can go wrong in either."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image, ImageOps
from rasterio.transform import Affine

import remoteclip_jax as rc
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.detector import inference, seeing
from remoteclip_jax.detector.thresholds import Thresholds
from remoteclip_jax.evaluation import draw
from remoteclip_jax.results import files
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runs.thresholds import write_thresholds
from remoteclip_jax.tasks.detect.image_batches import detect_in_files
from tests.command import ROOT, all_fail, environment, fails, run

PROMPTS = ("storage tank", "ship", "red roof")  # two of the run's classes, in another spelling, and one other
THRESHOLD = 1e-4  # after six steps no score is high
MODULE = ("-m", "remoteclip_jax.detect")
SIZE = 96  # of the view, in place of the run's 128 pixels
UTM = "EPSG:32631", Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
HUGE = 6_500  # pixels a side: more than four times a picture's


@pytest.fixture(scope="module")
def detector(detect_run: Path) -> rc.TrainedDetector:
    return dataclasses.replace(rc.load_detector(detect_run), views=(SIZE,), window=None)


@pytest.fixture(scope="module")
def scene(detect_run: Path) -> Image.Image:
    return read_image(min((detect_run / "data" / "images").glob("*.jpg")))


@pytest.fixture(scope="module")
def folder(scene: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scene in files of many kinds, and a broken file among them."""
    folder = tmp_path_factory.mktemp("images")
    scene.save(folder / "scene.png")
    scene.save(folder / "scene.jpg")
    scene.convert("L").save(folder / "grey.jpg")
    scene.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(np.asarray(scene.convert("L"), np.uint16) * 257).save(folder / "deep.png")
    scene.quantize(32).save(folder / "palette.png", transparency=3)
    scene.crop((0, 0, 1, 1)).save(folder / "pixel.png")
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90° clockwise
    scene.crop((0, 0, scene.width, scene.height // 2)).save(folder / "turned.jpg", exif=exif)
    scene.resize((4000, 3000)).save(folder / "wide.jpg")  # decoded at half its size
    (folder / "middle.jpg").write_bytes((folder / "scene.jpg").read_bytes()[:3000])
    (folder / "notes.txt").write_text("no image")
    scene.save(folder / "nowhere.tif")
    size = {"width": scene.width, "height": scene.height, "count": 3, "dtype": "uint8"}
    with rasterio.open(folder / "map.tif", "w", driver="GTiff", crs=UTM[0], transform=UTM[1], **size) as file:
        file.write(np.asarray(scene).transpose(2, 0, 1))
    grey = Image.new("L", (HUGE, HUGE), 90)
    grey.save(folder / "huge.jpg")
    grey.save(folder / "huge.png", compress_level=1)
    return folder


@pytest.fixture(scope="module")
def results(detect_run: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command writes about `folder`, by name."""
    output = tmp_path_factory.mktemp("output") / "new"
    arguments = (
        f"--workdir={detect_run}",
        f"--image={folder}",
        f"--prompts={', '.join(PROMPTS)}",
        f"--image_size={SIZE}",
        "--window=0",
    )
    result = run(*MODULE, *arguments, f"--score_threshold={THRESHOLD}", f"--output={output}", devices=2)
    assert result.returncode == 2, result.stderr[-2000:]
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert str(folder / "middle.jpg") in errors[0]
    assert "Traceback" not in result.stderr
    assert result.stderr.count("images of uint16 values") == 1  # of deep.png
    assert "images: 1 without GeoJSON: the file has no coordinates (first in nowhere.tif)" in result.stderr
    assert "score threshold" not in result.stderr
    assert [path.name for path in output.glob("*.geojson")] == ["map.geojson"]
    written = {path.stem: json.loads(path.read_text()) for path in output.glob("*.json")}
    assert {path.stem for path in output.glob("*.jpg")} == set(written)
    assert len(result.stdout.splitlines()) == len(written)
    for name, content in written.items():
        with Image.open(output / f"{name}.jpg") as picture:
            assert max(picture.size) == min(1600, max(content["width"], content["height"]))
    counted = next(line for line in result.stdout.splitlines() if "scene.png" in line)
    assert sum(int(word) for word in counted.split() if word.isdigit()) == len(written["scene-2"]["detections"])
    return written


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [d["label"] for d in found] == [d["label"] for d in expected]
    np.testing.assert_allclose([d["score"] for d in found], [d["score"] for d in expected], atol=2e-4)
    np.testing.assert_allclose([d["box"] for d in found], [d["box"] for d in expected], atol=0.05)


def test_what_is_written(results: dict[str, Any], folder: Path) -> None:
    kinds = {"cmyk", "deep", "grey", "huge", "huge-2", "palette", "pixel", "scene", "scene-2", "turned", "wide"}
    assert set(results) == kinds | {"map", "nowhere"}
    assert results["scene"]["image"] == str(folder / "scene.jpg")
    assert results["scene-2"]["image"] == str(folder / "scene.png")
    sizes = {name: (content["width"], content["height"]) for name, content in results.items()}
    assert sizes["pixel"] == (1, 1)
    assert sizes["wide"] == (4000, 3000)
    assert sizes["huge"] == sizes["huge-2"] == (HUGE, HUGE)
    assert sizes["turned"] == (sizes["scene"][1] // 2, sizes["scene"][0])
    assert results["scene"]["detections"]
    for content in results.values():
        assert set(content) == {"image", "width", "height", "detections"}
        scores = [found["score"] for found in content["detections"]]
        assert scores == sorted(scores, reverse=True)
        for found in content["detections"]:
            assert set(found) == {"label", "score", "box"}
            assert found["label"] in PROMPTS
            assert THRESHOLD <= found["score"] <= 1
            x1, y1, x2, y2 = found["box"]
            assert 0 <= x1 <= x2 <= content["width"]
            assert 0 <= y1 <= y2 <= content["height"]


def test_python_finds_what_the_command_finds(
    detector: rc.TrainedDetector, scene: Image.Image, results: dict[str, Any], folder: Path
) -> None:
    found = rc.detect(detector, scene, PROMPTS, THRESHOLD)
    assert isinstance(found, rc.Detections)
    assert found.classes == PROMPTS
    same(found.to_json(), results["scene-2"]["detections"])
    for name in ("cmyk.jpg", "deep.png", "palette.png"):
        with Image.open(folder / name) as image:
            mode, info = image.mode, dict(image.info)
            found = rc.detect(detector, image, PROMPTS, THRESHOLD)
            assert (image.mode, image.info) == (mode, info)  # the caller's image is as it was
        same(found.to_json(), results[Path(name).stem]["detections"])


def test_boxes_of_a_turned_image_are_upright(
    detector: rc.TrainedDetector, results: dict[str, Any], folder: Path
) -> None:
    with Image.open(folder / "turned.jpg") as image:
        upright = ImageOps.exif_transpose(image)
    same(rc.detect(detector, upright, PROMPTS, THRESHOLD).to_json(), results["turned"]["detections"])


def test_a_large_jpeg_is_detected_in_at_its_full_size(
    detector: rc.TrainedDetector, results: dict[str, Any], folder: Path
) -> None:
    """The command decodes it at half its size, and here it is decoded whole: pixels and boxes differ a little."""
    found = rc.detect(detector, read_image(folder / "wide.jpg"), PROMPTS, THRESHOLD)
    best = found.to_json()[0]
    alike = [d for d in results["wide"]["detections"] if d["label"] == best["label"]]
    nearest = min(alike, key=lambda d: np.abs(np.subtract(d["box"], best["box"])).max())
    np.testing.assert_allclose(nearest["box"], best["box"], atol=40)
    assert abs(nearest["score"] - best["score"]) < 0.02


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_huge_image_takes_little_memory(
    kind: str, detector: rc.TrainedDetector, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A JPEG is decoded at a reduced size. A PNG cannot be, but it is reduced before drawing copies it."""
    sizes: dict[str, int] = {}

    def noting(name: str, function: Any, position: int) -> Any:
        def note(*arguments: Any, **options: Any) -> Any:
            sizes[name] = max(arguments[position].size)
            return function(*arguments, **options)

        return note

    monkeypatch.setattr(seeing, "window_pyramid", noting("detected", seeing.window_pyramid, 0))
    monkeypatch.setattr(files, "draw", noting("drawn", draw.draw, 0))
    prompts = inference.encode_prompts(detector, ("ship",))
    options: dict[str, Any] = {"threshold": 0.3, "bands": None, "notes": Notes("images"), "batch_size": 1}
    list(detect_in_files(detector, prompts, [folder / f"huge.{kind}"], [tmp_path / "huge"], **options))
    assert sizes["detected"] <= 2 * draw.MAX_SIDE if kind == "jpg" else sizes["detected"] == HUGE
    assert sizes["drawn"] == draw.MAX_SIDE
    assert json.loads((tmp_path / "huge.json").read_text())["width"] == HUGE


def test_order_and_padding_of_prompts_change_nothing(
    detector: rc.TrainedDetector, scene: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rc.detect(detector, scene, PROMPTS, THRESHOLD)
    turned = rc.detect(detector, scene, PROMPTS[::-1], THRESHOLD)
    assert turned.classes == PROMPTS[::-1]
    monkeypatch.setattr(inference, "PROMPT_STEP", 1)  # three rows in place of eight
    bare = rc.detect(detector, scene, PROMPTS, THRESHOLD)
    for other in (turned, bare):
        assert len(other) == len(found)
        for label, prompt in enumerate(PROMPTS):
            mine, theirs = found.labels == label, other.labels == other.classes.index(prompt)
            np.testing.assert_allclose(other.scores[theirs], found.scores[mine], atol=1e-5)
            np.testing.assert_allclose(other.boxes[theirs], found.boxes[mine], atol=1e-2)


def test_known_prompts_take_stored_embeddings_and_others_the_text_tower(detector: rc.TrainedDetector) -> None:
    encoded = inference.encode_prompts(detector, PROMPTS).embeddings
    for row, name in zip(encoded, ("storagetank", "ship"), strict=False):
        np.testing.assert_array_equal(row, detector.embeddings[detector.classes.index(name)])
    assert detector.text is not None
    np.testing.assert_allclose(encoded[2], rc.class_embeddings(detector.text, ["red roof"])[0], atol=1e-6)


def test_without_prompts_the_classes_of_the_run_or_of_an_npz_are_detected(
    detector: rc.TrainedDetector, detect_run: Path, scene: Image.Image, tmp_path: Path
) -> None:
    found = rc.detect(rc.load_detector(detect_run), scene, score_threshold=THRESHOLD)
    assert found.classes == detector.classes
    np.savez(tmp_path / "two.npz", class_names=["a", "b"], embeddings=detector.embeddings[:2] * 3)
    two = inference.with_embeddings(detector, tmp_path / "two.npz")
    assert rc.detect(two, scene, score_threshold=THRESHOLD).classes == ("a", "b")
    np.savez(tmp_path / "two.npz", class_names=["a", "b"], embeddings=detector.embeddings[:2, 1:])
    with pytest.raises(rc.UserError, match=r"two\.npz: embeddings have 63 dimensions"):
        inference.with_embeddings(detector, tmp_path / "two.npz")


def test_prompts_that_cannot_be(detector: rc.TrainedDetector, scene: Image.Image) -> None:
    for prompts, message in (
        ([], "none given"),
        (["ship", " "], "one of them is empty"),
        (["ship", "-"], "one of them is empty"),
        (["storagetank", "Storage-Tank"], "'storagetank' and 'Storage-Tank' are the same"),
        ("ship", r"expected a list of them, such as \['ship'\]"),
    ):
        with pytest.raises(rc.UserError, match=message):
            rc.detect(detector, scene, prompts)
    no_tower = dataclasses.replace(detector, text=None)
    assert inference.encode_prompts(no_tower, ["Ship"]).class_names == ("Ship",)
    with pytest.raises(rc.UserError, match=r"'red roof' .* stored names: airplane, airport, .* --text_embeddings"):
        rc.detect(no_tower, scene, PROMPTS)
    with pytest.raises(rc.UserError, match="0x5 pixels"):
        rc.detect(detector, Image.new("RGB", (0, 5)))


def test_wrong_flags(detect_run: Path, folder: Path, tmp_path: Path) -> None:
    """They are refused before JAX is loaded."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    workdir, image = f"--workdir={detect_run}", f"--image={folder / 'scene.jpg'}"
    output, labels = f"--output={tmp_path / 'out'}", f"--output={folder / '..' / folder.name}"
    cases: tuple[tuple[str, ...], ...] = (
        ("--score_threshold=1.5", workdir, image, output, "--score_threshold=1.5"),
        ("--image_size=100", workdir, image, output, "--image_size=100"),
        ("--batch_size=0", workdir, image, output, "--batch_size=0"),
        ("--output_format=jsn is unknown", workdir, image, output, "--output_format=csv,jsn"),
        ("--geojson_crs=native is for GeoJSON", workdir, image, output, "--output_format=csv", "--geojson_crs=native"),
        ("may be their labels", workdir, f"--image={folder / 'scene.png'}", labels, "--output_format=yolo"),
        ("--max_detections=0", workdir, image, output, "--max_detections=0"),
        ("no file matches", workdir, f"--image={folder}/*.gif", output),
        ("no such file", workdir, f"--image={folder}/none.jpg", output),
        ("no image in this folder", workdir, f"--image={tmp_path / 'empty'}", output),
        ("is a file", workdir, image, f"--output={tmp_path / 'file'}"),
        ("scene.jpg there is one of the images", workdir, image, f"--output={folder}"),
        ("--output", workdir, image),
    )
    errors = all_fail("remoteclip_jax.commands.detect", *(case[1:] for case in cases), without_jax=True)
    for error, (message, *_) in zip(errors, cases, strict=True):
        assert message in error
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "file").read_text() == "mine"


def test_every_format_above_the_thresholds_of_the_run(detect_run: Path, folder: Path, tmp_path: Path) -> None:
    """Without flags for these, the thresholds are the run's, in Python too."""
    report = (detect_run / "report.md").read_text()
    assert ("detect takes the score threshold" in report) == RunDirectory(detect_run).thresholds.exists()
    copy = Path(shutil.copytree(detect_run, tmp_path / "run", ignore=shutil.ignore_patterns("data")))
    found = rc.detect(rc.load_detector(copy), folder / "map.tif", score_threshold=0.0)
    labels, counts = np.unique(found.labels, return_counts=True)
    most = labels[counts.argmax()]
    overall, own = (float(np.median(found.scores[mask])) for mask in (found.labels != most, found.labels == most))
    write_thresholds(RunDirectory(copy), Thresholds(overall, 0.5, {found.classes[most]: own}, "val"))
    output = tmp_path / "out"
    arguments = (f"--workdir={copy}", f"--image={folder / 'map.tif'}", f"--output={output}")
    result = run(*MODULE, *arguments, "--output_format=json,geojson,coco,yolo,csv", "--geojson_crs=native", devices=2)
    assert result.returncode == 0, result.stderr[-2000:]
    by_class = f"by class: {found.classes[most]} {own:.2g}"
    line = f"score threshold {overall:.2g} (best F1 on val, 50.0 %; {by_class}; --score_threshold=… for another)"
    assert line in result.stderr
    names = {"detections.csv", "detections.coco.json", "classes.txt", "map.jpg", "map.json", "map.geojson", "map.txt"}
    assert {path.name for path in output.iterdir()} == names
    detections = json.loads((output / "map.json").read_text())["detections"]
    expected = rc.detect(rc.load_detector(copy), folder / "map.tif")
    assert 0 < len(expected) < len(found)
    same(detections, expected.to_json())
    content = json.loads((output / "map.geojson").read_text())
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32631"
    assert [feature["properties"] for feature in content["features"]] == detections
    for feature in content["features"]:
        corners = np.array(feature["geometry"]["coordinates"][0])
        box = np.array([corners[:, 0].min() - 500_000, 5_000_000 - corners[:, 1].max()]) * 2
        np.testing.assert_allclose(box, feature["properties"]["box"][:2], atol=0.02)
    counts_written = [len((output / name).read_text().splitlines()) for name in ("map.txt", "detections.csv")]
    assert counts_written == [len(detections), len(detections) + 1]
    assert len(json.loads((output / "detections.coco.json").read_text())["annotations"]) == len(detections)


def test_a_single_broken_image_ends_with_its_error(detect_run: Path, folder: Path, tmp_path: Path) -> None:
    message = fails(*MODULE, f"--workdir={detect_run}", f"--image={folder / 'middle.jpg'}", f"--output={tmp_path}")
    assert "middle.jpg: the image is broken" in message
    assert not list(tmp_path.iterdir())


def test_directories_that_hold_no_detector(detect_run: Path, tmp_path: Path) -> None:
    with pytest.raises(rc.UserError, match="is a detect run"):
        rc.load(detect_run)
    with pytest.raises(rc.UserError, match="no training run"):
        rc.load_detector(tmp_path)
    copy = Path(shutil.copytree(detect_run, tmp_path / "run", ignore=shutil.ignore_patterns("data")))
    shutil.rmtree(copy / "text_tower")
    assert rc.load_detector(copy).text is None
    config = json.loads((copy / "config.json").read_text())
    for changes, message in (
        ({"detector": {**config["detector"], "width": 64}}, "does not fit its config"),
        ({"detector": None}, "damaged"),
        ({"task": "align"}, "is an align run, .* --task=detect"),
    ):
        (copy / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(rc.UserError, match=message):
            rc.load_detector(copy)
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "text_embeddings.npz").unlink()
    with pytest.raises(rc.UserError, match=r"text_embeddings\.npz: no such file"):
        rc.load_detector(copy)
    for step in (copy / "checkpoints").iterdir():
        shutil.rmtree(step)
    with pytest.raises(rc.UserError, match="no checkpoint yet"):
        rc.load_detector(copy)


def test_the_function_works_where_the_module_of_its_name_was_imported() -> None:
    program = "import remoteclip_jax.detect, remoteclip_jax as rc; rc.detect()"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment(), check=False, capture_output=True, text=True
    )
    assert "TypeError: detect() missing 2 required" in result.stderr
