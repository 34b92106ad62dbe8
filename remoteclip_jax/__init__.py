"""RemoteCLIP in pure-functional JAX.

import remoteclip_jax as rc
clip = rc.load("weights/remoteclip-rn50")
z = rc.encode_image(clip, rc.preprocess([image], clip))
t = rc.encode_text(clip, ["a satellite photo of a ship."])

detector = rc.load_detector("runs/my-detector")
detections = rc.detect(detector, image, ["ship", "harbor"])
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
    from remoteclip_jax.detector.inference import detect as detect
    from remoteclip_jax.errors import UserError as UserError
    from remoteclip_jax.tasks.detect.loading import load_detector as load_detector
    from remoteclip_jax.tasks.loading import load as load

_HOMES = {
    "Detections": "detector.detections",
    "RemoteCLIP": "clip.inference",
    "TrainedDetector": "detector.inference",
    "UserError": "errors",
    "class_embeddings": "clip.inference",
    "detect": "detector.inference",
    "encode_image": "clip.inference",
    "encode_text": "clip.inference",
    "load": "tasks.loading",
    "load_detector": "tasks.detect.loading",
    "preprocess": "clip.inference",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the processes that draw or read images must not load JAX."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
