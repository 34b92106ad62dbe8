"""The detector learns one image by heart: whatever is wrong in boxes, labels, matching or the way back shows here."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from remoteclip_jax.clip.config import ARCHITECTURES
from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.sampling import Sampler, SamplingConfig
from remoteclip_jax.detector.model import Detector, init
from remoteclip_jax.evaluation.detection import evaluate_detections
from remoteclip_jax.tasks.configuration import new_config
from remoteclip_jax.tasks.detect.batches import Slots, detection_batches
from remoteclip_jax.tasks.detect.config import DetectConfig
from remoteclip_jax.tasks.detect.loss import make_detect_loss
from remoteclip_jax.tasks.detect.prediction import make_predictor
from remoteclip_jax.tasks.detect.workload import RULES
from remoteclip_jax.training.state import create_state, evaluation_variables
from remoteclip_jax.training.step import make_train_step
from tests.detector.small_model import random_texts

SIZE, STEPS = 96, 150


@pytest.mark.slow
def test_one_image_is_learned_by_heart(synthetic_data: Path) -> None:
    config = new_config({"task": "detect", "preset": "tiny", "ema": 0.9})
    assert isinstance(config, DetectConfig)
    clip, shape = ARCHITECTURES["tiny"], config.detector
    data = read_dataset(synthetic_data, "train")
    fullest = max(data.examples, key=lambda x: int((x.boxes[:, 2:].min(-1) * SIZE > 8).sum()))
    clear = fullest.boxes[:, 2:].min(-1) * SIZE > 8  # the pyramid's stride: what is smaller is a matter of luck
    example = dataclasses.replace(fullest, boxes=fullest.boxes[clear], labels=fullest.labels[clear], annotations=None)
    one = dataclasses.replace(data, examples=(example,) * 2)
    model, texts = Detector(clip, shape), random_texts(len(data.classes))
    state = create_state(init(clip, shape, jax.random.key(0)), config, RULES, STEPS)
    step = jax.jit(make_train_step(make_detect_loss(model, texts), config, RULES))
    sampler = Sampler(one, SamplingConfig(SIZE, (SIZE,), level="none"))
    batches = detection_batches(one, sampler, batch_size=2, slots=Slots(16, 0), seed=0)
    for _, batch in zip(range(STEPS), batches, strict=False):
        state, metrics = step(state, batch)
    assert np.isfinite(metrics["loss"])
    predict = make_predictor(model, texts, data.classes, batch_size=2, views=(SIZE,))
    assert evaluate_detections(one, predict(evaluation_variables(state), one))["map_50"] == 1.0
