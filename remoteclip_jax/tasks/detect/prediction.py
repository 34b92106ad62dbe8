"""Prediction on whole data sets: every image is seen whole, at each view. Boxes are in pixels of the image."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Array, Float

from remoteclip_jax.clip.model import Variables
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.detector.detections import MAX_DETECTIONS, Detections
from remoteclip_jax.detector.model import Detector
from remoteclip_jax.detector.postprocess import BatchDetections, find_objects, to_detections
from remoteclip_jax.detector.regions import NovelPrompts
from remoteclip_jax.runtime.compilation import announced_compilation
from remoteclip_jax.runtime.devices import check_batch_size, gather, split_batch

from .batches import whole_image_batches


def make_predictor(
    model: Detector,
    texts: Float[Array, "t d"],
    classes: Sequence[str],
    *,
    batch_size: int,
    views: tuple[int, ...],
    max_detections: int = MAX_DETECTIONS,
    novel: NovelPrompts | None = None,
) -> Callable[[Variables, Dataset], list[Detections]]:
    """A function from variables and a data set to the detections in each image. It is compiled once.

    `texts` are the embeddings of `classes`. With `novel` they may be followed by others (see
    `TrainedDetector.novel`). UserError if the batch size does not divide among the devices.
    """
    check_batch_size(batch_size)

    def step(variables: Variables, batch: dict[str, Any]) -> BatchDetections:
        squares = [batch[str(i)] for i in range(len(views))]
        return find_objects(model, variables, squares, texts, count=max_detections, novel=novel)

    parallel_step, is_compiled = gather(step), False

    def predict(variables: Variables, dataset: Dataset) -> list[Detections]:
        nonlocal is_compiled
        found: list[Detections] = []
        for batch in whole_image_batches(dataset, batch_size=batch_size, views=views):
            with contextlib.nullcontext() if is_compiled else announced_compilation("the prediction"):
                result = parallel_step(variables, split_batch(batch))
            is_compiled = True
            for i in range(min(batch_size, len(dataset) - len(found))):
                example = dataset.examples[len(found)]
                found.append(to_detections(result, i, example.width, example.height, classes))
        return found

    return predict
