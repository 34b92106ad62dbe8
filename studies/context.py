"""The value of context, and how much of it I_g knows: python studies/context.py --workdir=RUN --data_dir=DIR.

For a detector on a split, the study prints its AP, and its AP if it knew which classes are in each image. The latter is
the most that context can give. It also prints how well I_g predicts which classes are present, at each view, compared
with the detections themselves.

With `--scenes` and `--texts` it prints which texts are nearest to the images of each scene. Both are npz files: one of
image embeddings (`image_embeddings[N, D]`, `labels[N]`, `class_names[S]`), one of text embeddings (`class_names[K]`,
`embeddings[K, D]`).
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
BATCH_SIZE = 4
NEAREST_TEXTS = 3
ABSENT_FACTOR = 1e-4  # for the scores of classes that are not in the image


def main() -> None:
    """Study the run or the embeddings that the flags name."""
    if _WORKDIR.value and _DATA.value:
        print_run_study(Path(_WORKDIR.value), Path(_DATA.value))
    elif _SCENES.value and _TEXTS.value:
        print_nearest_texts(Path(_SCENES.value), Path(_TEXTS.value))
    else:
        raise errors.UserError("expected --workdir and --data_dir, or --scenes and --texts")


def print_run_study(workdir: Path, data_dir: Path) -> None:
    """Print the AP of a detector with and without knowledge of the classes present, and how well these are
    predicted."""
    detector = load_detector(workdir)
    data = read_dataset(data_dir, _SPLIT.value, classes=detector.classes)
    model = Detector(detector.clip, detector.config, jnp.dtype(detector.dtype), AXIS)
    classes = len(detector.classes)
    predict = make_predictor(
        model, jnp.asarray(detector.embeddings), detector.classes, batch_size=BATCH_SIZE, views=detector.views
    )
    found = predict(detector.variables, data)
    present = np.stack([np.isin(np.arange(classes), example.labels) for example in data.examples])
    print(f"{len(data)} images, {present.sum(1).mean():.2f} classes per image")
    print(f"AP@50 {_ap_50(data, found):.1f} %")
    informed = [
        dataclasses.replace(f, scores=(f.scores * np.where(row[f.labels], 1, ABSENT_FACTOR)).astype(np.float32))
        for f, row in zip(found, present, strict=True)
    ]
    print(f"AP@50 if it knew the classes in each image: {_ap_50(data, informed):.1f} %")
    print(f"presence predicted at random: mean AP {100 * present.mean():.1f} %")
    best_scores = np.array([[f.scores[f.labels == k].max(initial=0) for k in range(classes)] for f in found])
    value = mean_average_precision(best_scores, present)
    print(f"presence predicted by the best detection of each class: mean AP {value:.1f} %")
    for view, logits in _context_logits(detector, data).items():
        value = mean_average_precision(logits, present)
        print(f"presence predicted by I_g at {view} pixels: mean AP {value:.1f} %")


def _ap_50(data: Dataset, found: Sequence[Detections]) -> float:
    return 100 * (evaluate_detections(data, found)["map_50"] or 0.0)


def mean_average_precision(scores: Float[np.ndarray, "n k"], present: Bool[np.ndarray, "n k"]) -> float:
    """The mean average precision in % of n images ranked by the scores of k classes. `present` marks the classes that
    are in each image. Classes that are in no image do not count."""
    values = []
    for score, is_present in zip(scores.T, present.T, strict=True):
        if is_present.any():
            hits = is_present[np.argsort(-score, kind="stable")]
            values.append((np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)).mean())
    return 100 * float(np.mean(values))


def _context_logits(detector: TrainedDetector, data: Dataset) -> dict[int, np.ndarray]:
    """The logits [n, k] of the classes for the global context of each image, by view."""
    model, texts = Detector(detector.clip, detector.config), jnp.asarray(detector.embeddings)

    @jax.jit
    def logits(images: jax.Array) -> jax.Array:
        def context_logits(detector: Detector, x: jax.Array) -> jax.Array:
            return detector.similarity(detector.visual(x)["embedding"], texts)

        return jnp.asarray(model.apply(detector.variables, normalise(images), method=context_logits))

    parts: dict[int, list[np.ndarray]] = {view: [] for view in detector.views}
    for batch in whole_image_batches(data, batch_size=BATCH_SIZE, views=detector.views):
        for i, view in enumerate(detector.views):
            parts[view].append(np.asarray(logits(jnp.asarray(batch[str(i)]))))
    return {view: np.concatenate(rows)[: len(data)] for view, rows in parts.items()}


def print_nearest_texts(scenes: Path, texts: Path) -> None:
    """For each scene, print the texts that are most often among the nearest to its images."""
    stored, prompts = np.load(scenes), load_text_embeddings(texts)
    similarity = stored["image_embeddings"].astype(np.float32) @ prompts.embeddings.T
    for label, name in enumerate(stored["class_names"]):
        nearest = np.argsort(-similarity[stored["labels"] == label], axis=1)[:, :NEAREST_TEXTS]
        share = np.bincount(nearest.ravel(), minlength=len(prompts.class_names)) / len(nearest)
        most_frequent = np.argsort(-share, kind="stable")[:NEAREST_TEXTS]
        print(f"{name}: " + ", ".join(f"{prompts.class_names[k]} {100 * share[k]:.0f} %" for k in most_frequent))


if __name__ == "__main__":
    errors.run(main)
