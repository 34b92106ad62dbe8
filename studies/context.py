"""What context is worth, and what I_g knows of it: python studies/context.py --workdir=RUN --data_dir=DIR.

Of a detector's run on a split: its AP as it is; its AP if it knew which classes are in each image, the most that
context can bring; and how well I_g tells them, at each view, beside what the detections themselves tell.

With `--scenes` and `--texts`, npz of image embeddings (`image_embeddings[N, D]`, `labels[N]`, `class_names[S]`) and of
texts (`class_names[K]`, `embeddings[K, D]`): which texts come first for the images of each scene.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jaxtyping import Bool, Float

from remoteclip_jax import errors
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.clip.text_embeddings import load_text_embeddings
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import Detections
from remoteclip_jax.detector.inference import TrainedDetector
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.evaluation.detection import evaluate_detections
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.runtime.devices import AXIS
from remoteclip_jax.tasks.detect.batches import whole_image_batches
from remoteclip_jax.tasks.detect.loading import load_detector
from remoteclip_jax.tasks.detect.prediction import make_predictor

_WORKDIR = DEFINE_path("workdir", None, "a run of train.py --task=detect")
_DATA = DEFINE_path("data_dir", None, "images and annotations")
_SPLIT = flags.DEFINE_string("split", "test", "the split")
_SCENES = DEFINE_path("scenes", None, "npz of image embeddings by scene")
_TEXTS = DEFINE_path("texts", None, "npz of text embeddings")
BATCH, FIRST = 4, 3
ABSENT = 1e-4  # what is left of the score of a class that is not in the image


def main() -> None:
    if _WORKDIR.value and _DATA.value:
        of_run(Path(_WORKDIR.value), Path(_DATA.value))
    elif _SCENES.value and _TEXTS.value:
        of_scenes(Path(_SCENES.value), Path(_TEXTS.value))
    else:
        raise errors.UserError("expected --workdir and --data_dir, or --scenes and --texts")


def of_run(workdir: Path, data_dir: Path) -> None:
    detector = load_detector(workdir)
    data = read_dataset(data_dir, _SPLIT.value, classes=detector.classes)
    model = Detector(detector.clip, detector.config, jnp.dtype(detector.dtype), AXIS)
    classes = len(detector.classes)
    predict = make_predictor(
        model, jnp.asarray(detector.embeddings), detector.classes, batch_size=BATCH, views=detector.views
    )
    found = predict(detector.variables, data)
    present = np.stack([np.isin(np.arange(classes), example.labels) for example in data.examples])
    print(f"{len(data)} images, {present.sum(1).mean():.2f} classes an image")
    print(f"AP@50 {_ap(data, found):.1f} %")
    known = [
        dataclasses.replace(f, scores=(f.scores * np.where(row[f.labels], 1, ABSENT)).astype(np.float32))
        for f, row in zip(found, present, strict=True)
    ]
    print(f"AP@50 if it knew the classes in each image: {_ap(data, known):.1f} %")
    print(f"presence told at random: mean AP {100 * present.mean():.1f} %")
    best = [[f.scores[f.labels == k].max(initial=0) for k in range(classes)] for f in found]
    print(f"presence told by the best detection of each class: mean AP {ranking(np.array(best), present):.1f} %")
    for view, likeness in _likeness(detector, data).items():
        print(f"presence told by I_g at {view} pixels: mean AP {ranking(likeness, present):.1f} %")


def _ap(data: Dataset, found: Sequence[Detections]) -> float:
    return 100 * (evaluate_detections(data, found)["map_50"] or 0.0)


def ranking(scores: Float[np.ndarray, "n k"], present: Bool[np.ndarray, "n k"]) -> float:
    """Mean average precision in % of images ranked by each class's score, over the classes that are in some image."""
    values = []
    for score, own in zip(scores.T, present.T, strict=True):
        if own.any():
            hits = own[np.argsort(-score, kind="stable")]
            values.append((np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)).mean())
    return 100 * float(np.mean(values))


def _likeness(detector: TrainedDetector, data: Dataset) -> dict[int, np.ndarray]:
    """Logits of each image's global context for the classes, by view."""
    model, texts = Detector(detector.clip, detector.config), jnp.asarray(detector.embeddings)

    @jax.jit
    def look(images: jax.Array) -> jax.Array:
        def likeness(detector: Detector, x: jax.Array) -> jax.Array:
            return detector.likeness(detector.visual(x)["embedding"], texts)

        return jnp.asarray(model.apply(detector.variables, normalise(images), method=likeness))

    parts: dict[int, list[np.ndarray]] = {view: [] for view in detector.views}
    for batch in whole_image_batches(data, batch_size=BATCH, views=detector.views):
        for i, view in enumerate(detector.views):
            parts[view].append(np.asarray(look(jnp.asarray(batch[str(i)]))))
    return {view: np.concatenate(rows)[: len(data)] for view, rows in parts.items()}


def of_scenes(scenes: Path, texts: Path) -> None:
    stored, prompts = np.load(scenes), load_text_embeddings(texts)
    likeness = stored["image_embeddings"].astype(np.float32) @ prompts.embeddings.T
    for label, name in enumerate(stored["class_names"]):
        first = np.argsort(-likeness[stored["labels"] == label], axis=1)[:, :FIRST]
        share = np.bincount(first.ravel(), minlength=len(prompts.class_names)) / len(first)
        most = np.argsort(-share, kind="stable")[:FIRST]
        print(f"{name}: " + ", ".join(f"{prompts.class_names[k]} {100 * share[k]:.0f} %" for k in most))


if __name__ == "__main__":
    errors.run(main)
