"""`predict.json`: with what the results of a folder were made. They are not mixed with results of other settings."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.json_files import read_json
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.tasks.detect.request import DetectionRequest, ReadyDetector

if TYPE_CHECKING:
    from remoteclip_jax.detector.inference import TrainedDetector

MOST_SHOWN = 60  # characters of a value in an error message


def result_settings(request: DetectionRequest, ready: ReadyDetector, output_format: str) -> dict[str, Any]:
    """Everything that the results depend on, as JSON. The detector is known by its weights, wherever its run lies, and
    an npz of embeddings by its content."""
    settings = {
        "detector": detector_fingerprint(ready.detector),
        "prompts": list(ready.prompts.class_names),
        "text_embeddings": _file_fingerprint(request.text_embeddings),
        "score_threshold": np.asarray(ready.threshold, float).tolist(),
        "views": list(ready.detector.views),
        "max_detections": ready.detector.max_detections,
        "window": ready.detector.window,
        **json.loads(json.dumps(dict(ready.options))),
    }
    return {**settings, "output_format": output_format}


def keep_settings(path: Path, settings: dict[str, Any], begun: bool) -> None:
    """Write `settings` to the file `path`. UserError if there are results, and the file says otherwise."""
    if not begun or not path.exists():
        write_atomically(path, json.dumps(settings, indent=2) + "\n")
        return
    before = read_json(path, {str: object})
    names = [name for name in sorted({*before, *settings}) if before.get(name) != settings.get(name)]
    if names:
        changes = "; ".join(
            f"{name} was {_shown(before.get(name))}, now {_shown(settings.get(name))}" for name in names
        )
        raise UserError(f"{path.parent} has results of other settings ({changes}): choose another --output")


def detector_fingerprint(detector: "TrainedDetector") -> str:
    """A hash of the detector's weights: the same wherever they are stored, and on any device."""
    import jax

    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(detector.variables)):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _file_fingerprint(path: str | None) -> str | None:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] if path else None


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"
