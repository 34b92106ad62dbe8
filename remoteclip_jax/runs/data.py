"""The data of a run, and the check that a resumed run still has the same data."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from remoteclip_jax.clip.text_embeddings import load_text_embeddings
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.directory import RunDirectory


@dataclass(frozen=True, eq=False)
class RunData:
    """The splits that a run uses, and notes about them for the user.

    `final` is evaluated at the end, if the task does that. It is the test split, or else the validation split. `train`
    may have fewer classes than `classes`; the other splits have all of them.
    """

    classes: tuple[str, ...]
    train: Dataset
    val: Dataset | None
    final: Dataset | None
    notes: tuple[str, ...]


def check_same_data(run: RunDirectory, data: RunData) -> None:
    """UserError if a run would be resumed with other classes or other images than it began with. Its labels would then
    mean something else, and nothing would show it."""
    if not run.has_begun():
        return
    if run.text_embeddings.exists():
        before = load_text_embeddings(run.text_embeddings).class_names
        if before != data.classes:
            raise UserError(
                f"{run.root} was begun with other classes: {_difference(before, data.classes)}; put them back, or "
                f"choose another --workdir"
            )
    stored = json.loads(run.summary.read_text()).get("fingerprints", {}) if run.summary.exists() else {}
    now = fingerprints(data)
    for split in sorted({*stored, *now}) if stored else ():
        if stored.get(split) != now.get(split):
            raise UserError(
                f"{run.root} was begun with other data: images or annotations of the split {split!r} are not what they "
                f"were; put them back, or choose another --workdir (--weights={run.root} starts from what was learned)"
            )


def _difference(before: tuple[str, ...], now: tuple[str, ...]) -> str:
    """The difference between two lists of classes, in a few words."""
    gone = [name for name in before if name not in now]
    new = [name for name in now if name not in before]
    if not gone and not new:
        return f"they are in another order, which was {', '.join(before)}"
    parts = [f"{', '.join(names)} {verb}" for names, verb in ((gone, "is gone"), (new, "is new")) if names]
    return " and ".join(parts)


def fingerprints(data: RunData) -> dict[str, str]:
    """Hashes of the training and validation splits, by split. A run may be resumed only if they are unchanged.

    Image names, sizes, boxes, labels and captions count. Folders do not, since the data may have moved.
    """
    result = {}
    for dataset in (data.train, data.val):
        if dataset is not None:
            digest = hashlib.sha256()
            for example in dataset.examples:
                header = f"{example.image.name}\0{example.width}\0{example.height}\0"
                digest.update(header.encode("utf-8", "surrogateescape"))
                for array in (example.boxes, example.labels, example.ignored, example.ignored_labels):
                    digest.update(np.ascontiguousarray(array).tobytes())
                for caption in example.captions:
                    digest.update(f"{caption}\0".encode("utf-8", "surrogatepass"))
            result[dataset.split] = digest.hexdigest()
    return result
