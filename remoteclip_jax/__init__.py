"""RemoteCLIP in pure-functional JAX.

    import remoteclip_jax as rc

    clip = rc.load("weights/remoteclip-rn50")
    z = rc.encode_image(clip, rc.preprocess([image], clip))
    t = rc.encode_text(clip, ["a satellite photo of a ship."])

    detector = rc.load_detector("runs/my-detector")
    detections = rc.detect(detector, image, ["ship", "harbor"])

CLIP:

- `load(path)` returns a `RemoteCLIP` from converted weights or from an `align` or `contrast` run.
- `preprocess(images, clip)` turns images into the array that `encode_image` takes.
- `encode_image(clip, pixels)` and `encode_text(clip, sentences)` return unit-length embeddings.
- `class_embeddings(clip, names, templates)` returns one embedding per class, averaged over prompts.
- `RemoteCLIP` is an immutable value: configuration and variables.

Detection:

- `load_detector(path)` returns a `TrainedDetector` from a `detect` run.
- `detect(detector, image, prompts)` returns the `Detections` in one image: boxes, labels and scores, above the run's
  score thresholds.
- `TrainedDetector` is an immutable value: configuration, variables and the run's classes.

Errors:

- `UserError` is raised for whatever a user can fix: a wrong path, a damaged file, an unknown class name.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remoteclip_jax.clip.inference import RemoteCLIP as RemoteCLIP
    from remoteclip_jax.clip.inference import class_embeddings as class_embeddings
    from remoteclip_jax.clip.inference import encode_image as encode_image
    from remoteclip_jax.clip.inference import encode_text as encode_text
    from remoteclip_jax.clip.inference import preprocess as preprocess
    from remoteclip_jax.detector.detections import Detections as Detections
    from remoteclip_jax.detector.inference import TrainedDetector as TrainedDetector
    from remoteclip_jax.detector.searching import detect as detect
    from remoteclip_jax.errors import UserError as UserError
    from remoteclip_jax.tasks.detect.loading import load_detector as load_detector
    from remoteclip_jax.tasks.loading import load as load

_MODULES = {
    "Detections": "detector.detections",
    "RemoteCLIP": "clip.inference",
    "TrainedDetector": "detector.inference",
    "UserError": "errors",
    "class_embeddings": "clip.inference",
    "detect": "detector.searching",
    "encode_image": "clip.inference",
    "encode_text": "clip.inference",
    "load": "tasks.loading",
    "load_detector": "tasks.detect.loading",
    "preprocess": "clip.inference",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, because the processes that render or read images must not load
    JAX."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
