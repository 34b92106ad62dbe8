"""A detector as users call it: the same detections as in evaluation, and images in whatever form they are at hand."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image

import remoteclip_jax as rc
from remoteclip_jax.clip.model import init
from remoteclip_jax.clip.text_embeddings import TextEmbeddings
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.detector import seeing
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks import loading
from remoteclip_jax.tasks.configuration import new_config
from remoteclip_jax.tasks.detect import loading as detector_loading
from remoteclip_jax.tasks.detect.prediction import make_predictor
from tests.detector.small_model import SMALL, TINY, random_texts, random_variables

CLASSES = tuple("abcdefgh")  # as many as prompts are padded to


@pytest.fixture(scope="module")
def detector() -> rc.TrainedDetector:
    """Of a run in bfloat16 that keeps thirty objects an image."""
    texts = random_texts(len(CLASSES))
    return rc.TrainedDetector(TINY, SMALL, random_variables(SMALL), (64,), CLASSES, texts, None, "bfloat16", 30)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8))


def test_deployed_in_the_type_of_its_evaluation(
    detector: rc.TrainedDetector, image: Image.Image, tmp_path: Path
) -> None:
    image.save(tmp_path / "i.png")
    example = Example(tmp_path / "i.png", *image.size, np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
    model = Detector(TINY, SMALL, jnp.bfloat16, AXIS)
    predict = make_predictor(
        model, jnp.asarray(detector.embeddings), CLASSES, batch_size=2, views=(64,), max_detections=30
    )
    evaluated = predict(detector.variables, Dataset("test", CLASSES, (example,)))[0]
    assert len(evaluated) > 15
    deployed = rc.detect(detector, image, score_threshold=0)
    assert len(deployed) == len(evaluated)
    np.testing.assert_array_equal(deployed.labels, evaluated.labels)
    np.testing.assert_allclose(deployed.scores, evaluated.scores, rtol=1e-4)  # float32's are others
    np.testing.assert_allclose(deployed.boxes, evaluated.boxes, atol=1e-2)


def test_an_image_in_any_form(detector: rc.TrainedDetector, image: Image.Image, tmp_path: Path) -> None:
    image.save(tmp_path / "i.png")
    expected = rc.detect(detector, image, score_threshold=0).to_json()
    pixels = np.asarray(image)
    for given in (tmp_path / "i.png", str(tmp_path / "i.png"), pixels, jnp.asarray(pixels)):
        assert rc.detect(detector, given, score_threshold=0).to_json() == expected
    grey = image.convert("L")
    expected = rc.detect(detector, grey, score_threshold=0).to_json()
    assert rc.detect(detector, np.asarray(grey), score_threshold=0).to_json() == expected
    clip = rc.RemoteCLIP(TINY, {"params": {}, "batch_stats": {}})
    every = rc.preprocess([image, str(tmp_path / "i.png"), pixels, jnp.asarray(pixels)], clip)
    assert (every == every[:1]).all()
    np.testing.assert_array_equal(rc.preprocess(np.stack([pixels] * 2), clip), every[:2])


def test_a_file_is_seen_through_the_bands_of_the_run(
    detector: rc.TrainedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bands = np.random.default_rng(0).integers(0, 256, (40, 50, 5), np.uint8)
    tifffile.imwrite(tmp_path / "five.tif", bands, photometric="minisblack", planarconfig="contig")
    seen: list[np.ndarray] = []
    pyramid = seeing.window_pyramid
    monkeypatch.setattr(
        seeing, "window_pyramid", lambda image, *rest: seen.append(np.asarray(image)) or pyramid(image, *rest)
    )
    rc.detect(dataclasses.replace(detector, bands=(5, 3, 1)), tmp_path / "five.tif")
    rc.detect(detector, tmp_path / "five.tif")
    np.testing.assert_array_equal(seen[0], bands[..., [4, 2, 0]])
    np.testing.assert_array_equal(seen[1], bands[..., :3])


def test_what_is_no_image(detector: rc.TrainedDetector, image: Image.Image, tmp_path: Path) -> None:
    clip = rc.RemoteCLIP(TINY, {"params": {}, "batch_stats": {}})
    pixels = np.asarray(image)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    cut = tmp_path / "cut.jpg"
    image.save(cut, quality=95)
    cut.write_bytes(cut.read_bytes()[:1200])
    for given, message in (
        (str(tmp_path / "none.jpg"), "none.jpg: no such image"),
        (tmp_path / "broken.png", r"broken\.png: cannot be read as an image"),
        (pixels / 255, r"uint8 \[height, width, 3\] .* got an array of float64 \[48, 64, 3\]"),
        (pixels.astype(np.uint16), r"got an array of uint16 \[48, 64, 3\]"),
        (pixels.transpose(2, 0, 1), r"got an array of uint8 \[3, 48, 64\]"),
        (pixels[0, 0], r"got an array of uint8 \[3\]"),
        (pixels[:0], "64x0 pixels"),
        (Image.new("RGB", (0, 5)), "0x5 pixels"),
        (Image.open(cut), r"cut\.jpg: the image is broken"),
        (None, "got NoneType"),
        ([image], "got list"),
        (b"bytes", "got bytes"),
    ):
        with pytest.raises(rc.UserError, match=message):
            rc.detect(detector, given)
        if not isinstance(given, list):
            with pytest.raises(rc.UserError, match=message):
                rc.preprocess([given], clip)
    for given in (image, pixels, "scene.jpg", Path("scene.jpg")):
        with pytest.raises(rc.UserError, match=r"expected a list of them, such as \[image\]"):
            rc.preprocess(given, clip)
    with pytest.raises(rc.UserError, match="got NoneType"):
        rc.preprocess(None, clip)


def test_what_encode_image_and_encode_text_do_not_take(image: Image.Image) -> None:
    clip = rc.RemoteCLIP(TINY, {"params": {"text": {}}, "batch_stats": {}})
    for given, told in (
        ([image], "got list"),
        (image, "got Image"),
        (np.asarray(image), r"got an array of uint8 \[48, 64, 3\]"),
        (np.zeros((1, 64, 64, 3), np.uint8), r"got an array of uint8 \[1, 64, 64, 3\]"),
        (np.zeros((1, 3, 64, 64), np.float32), r"got an array of float32 \[1, 3, 64, 64\]"),
    ):
        with pytest.raises(rc.UserError, match=rf"takes what preprocess\(images, clip\) gives, .*{told}"):
            rc.encode_image(clip, given)
    with pytest.raises(rc.UserError, match=r"expected a list of them, such as \['a ship'\]"):
        rc.encode_text(clip, "a ship")
    with pytest.raises(rc.UserError, match=r"class_names: expected a list of them, such as \['ship'\]"):
        rc.class_embeddings(clip, "ship")


def test_as_many_detections_as_asked_for(detector: rc.TrainedDetector, image: Image.Image) -> None:
    """The best of them; of the detector's own number where none is named."""
    every = rc.detect(detector, image, score_threshold=0)
    assert 15 < len(every) <= 30
    best = rc.detect(dataclasses.replace(detector, max_detections=7), image, score_threshold=0)
    assert len(best) == len(rc.detect(detector, image, score_threshold=0, max_detections=7)) == 7
    for count in (0, 3001):
        with pytest.raises(rc.UserError, match=f"--max_detections={count} is out of range"):
            rc.detect(detector, image, max_detections=count)


def test_runs_are_loaded_in_their_own_type(
    detector: rc.TrainedDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    TextEmbeddings(CLASSES, detector.embeddings).save(run.text_embeddings)
    run.metrics.touch()
    settings = {"preset": "tiny", "dtype": "bfloat16"}
    for task, own, trained in (
        ("align", {}, {"params": {"visual": {}}, "batch_stats": {}}),
        ("detect", {"detector": SMALL, "max_detections": 30}, detector.variables),
    ):
        config = new_config({**settings, **own, "task": task})
        config.save(run.config)
        for module in (loading, detector_loading):
            best = lambda _, config=config, trained=trained: (run, config, trained)  # noqa: E731
            monkeypatch.setattr(module, "best_checkpoint", best)
        loaded = rc.load(tmp_path) if task == "align" else rc.load_detector(tmp_path)
        assert loaded.dtype == "bfloat16"
    assert loaded.max_detections == 30


def test_images_are_embedded_in_the_type_of_the_run() -> None:
    variables = jax.tree.map(np.asarray, init(TINY, jax.random.key(0), False))
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    found = rc.encode_image(rc.RemoteCLIP(TINY, variables, "bfloat16"), images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    program = jax.make_jaxpr(lambda x: rc.encode_image(rc.RemoteCLIP(TINY, variables, "bfloat16"), x))(images)
    assert "bf16" in str(program)
    assert "bf16" not in str(jax.make_jaxpr(lambda x: rc.encode_image(rc.RemoteCLIP(TINY, variables), x))(images))
