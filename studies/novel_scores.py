"""What the score of a novel prompt should be made of: python studies/novel_scores.py --workdir=RUN --data_dir=DIR.

For a detector that was trained with `--weights` and `--novel` (see `detector.regions`), the study predicts the first
`--count` images of a split once, with the boxes' similarities to all prompts by the frozen tower at each size, and
prints the AP@50 of the trained classes, of the novel ones, and their harmonic mean, for several means of the detector's
scores and the frozen tower's.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.clip.preprocess import normalise
from remoteclip_jax.data.images import read_image
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.views import size_ranges
from remoteclip_jax.data.windows import image_pyramid
from remoteclip_jax.detector.inference import TrainedDetector
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.postprocess import postprocess, to_detections
from remoteclip_jax.detector.regions import FROZEN, NOVEL_WEIGHT, SIZES, frozen_maps, pooled_regions
from remoteclip_jax.evaluation.detection import evaluate_detections
from remoteclip_jax.ops.similarity import l2_normalise
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.tasks.detect.loading import load_detector

_WORKDIR = DEFINE_path("workdir", None, "a run of train.py --task=detect --weights=CLIP --novel=NAMES", required=True)
_DATA = DEFINE_path("data_dir", None, "images and annotations of the run's classes", required=True)
_SPLIT = flags.DEFINE_string("split", "test", "the split")
_COUNT = flags.DEFINE_integer("count", 100, "the number of images")
QUERIES = 400  # the best of an image
OUT_OF_RANGE = -1e4  # logits of queries that do not belong to their view
BOTH = "both"


def predictor(detector: TrainedDetector) -> Callable[[Any], dict[str, jax.Array]]:
    """A function from an image in all views to `logits` [q, k], `boxes` [q, 4], and the cosines [q, k] at each size."""
    frozen = detector.variables[FROZEN]
    variables = {name: tree for name, tree in detector.variables.items() if name != FROZEN}
    model, texts = Detector(detector.clip, detector.config), jnp.asarray(detector.embeddings)

    @jax.jit
    def predict(squares: Any) -> dict[str, jax.Array]:
        logits, boxes = [], []
        for square, (low, high) in zip(squares, size_ranges(detector.views), strict=True):
            last: Any = model.apply(variables, normalise(square), texts)
            last = last.layer(-1)
            size = jnp.sqrt(last.boxes[..., 2:].prod(-1, keepdims=True))
            logits.append(jnp.where((low <= size) & (size < high), last.logits, OUT_OF_RANGE)[0])
            boxes.append(last.boxes[0])
        all_logits, all_boxes = jnp.concatenate(logits), jnp.concatenate(boxes)
        best = jax.lax.top_k(all_logits.max(-1), QUERIES)[1]
        found = {"logits": all_logits[best], "boxes": all_boxes[best]}
        maps = frozen_maps(detector.clip, frozen, normalise(squares[-1]), jnp.float32)
        regions = [pooled_regions(detector.clip, frozen, one, found["boxes"][None])[0] for one in maps]
        cosines = {str(size): one @ texts.T for size, one in zip(SIZES, regions, strict=True)}
        return found | cosines | {BOTH: l2_normalise(jnp.stack(regions).mean(0)) @ texts.T}

    return predict


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    """log σ(x)."""
    return -np.logaddexp(0, -x)


def main() -> None:
    """Print the table."""
    detector = load_detector(_WORKDIR.value)
    if FROZEN not in detector.variables or detector.trained is None:
        raise errors.UserError(f"{_WORKDIR.value} has no frozen tower: train with --weights=CLIP --novel=NAMES")
    data = read_dataset(Path(_DATA.value), _SPLIT.value, classes=detector.classes)
    data = dataclasses.replace(data, examples=data.examples[: _COUNT.value])
    novel = [name for name in detector.classes if name not in detector.trained.class_names]
    is_novel = np.isin(detector.classes, novel)
    predict, process = predictor(detector), jax.jit(postprocess)
    parts: dict[str, list[np.ndarray]] = {}
    for example in data.examples:
        squares = [jnp.asarray(square[None]) for square in image_pyramid(read_image(example.image), detector.views)]
        for name, value in predict(squares).items():
            parts.setdefault(name, []).append(np.asarray(value))
    arrays = {name: np.stack(values).astype(np.float64) for name, values in parts.items()}
    logits = arrays["logits"]
    best = log_sigmoid(logits.max(-1, keepdims=True))
    scale = float(np.exp(detector.variables[FROZEN]["params"]["logit_scale"]))

    def row(name: str, scores: np.ndarray) -> None:
        found = []
        for i, example in enumerate(data.examples):
            one = process(
                jnp.asarray(scores[i : i + 1], jnp.float32), jnp.asarray(arrays["boxes"][i : i + 1], jnp.float32)
            )
            found.append(to_detections(one, 0, example.width, example.height, data.classes))
        figures = evaluate_detections(data, found, novel)
        shares = [f"{100 * (figures[f'{key}_map_50'] or 0):.1f} %" for key in ("base", "novel", "harmonic")]
        print(f"| {name} | {' | '.join(shares)} |", flush=True)

    def mean(
        region: str = BOTH, weight: float = NOVEL_WEIGHT, factor: float = 1.0, own: bool = False, base: float = 0.0
    ) -> np.ndarray:
        similarity = factor * scale * arrays[region]
        probability = similarity - np.logaddexp.reduce(similarity, -1, keepdims=True)
        of_novel = (1 - weight) * (log_sigmoid(logits) if own else best) + weight * probability
        of_base = (1 - base) * log_sigmoid(logits) + base * probability
        scores = np.minimum(np.where(is_novel, of_novel, of_base), -1e-6)
        scores = scores - np.log(-np.expm1(scores))
        return np.where((logits <= OUT_OF_RANGE) & ~is_novel, OUT_OF_RANGE, scores)

    print("| | trained | novel | harmonic mean |\n| --- | --- | --- | --- |")
    row("the detector alone", logits)
    for region in (*map(str, SIZES), BOTH):
        row(f"frozen tower, {region}, weight {NOVEL_WEIGHT}", mean(region))
    for weight in (0.35, 0.5, 0.8, 0.9):
        row(f"weight {weight}", mean(weight=weight))
    for factor in (0.5, 2.0):
        row(f"cosines times {factor}", mean(factor=factor))
    row("the prompt's own score in place of the largest", mean(own=True))
    for base in (0.2, 0.35):
        row(f"trained classes with weight {base}, too", mean(base=base))


if __name__ == "__main__":
    errors.run(main)
