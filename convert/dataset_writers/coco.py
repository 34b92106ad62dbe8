"""COCO: `annotations/instances_SPLIT.json`, and all images in `images/`."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convert.dataset_writers.items import Split, Target
from remoteclip_jax.data.types import Dataset, Example
from remoteclip_jax.evaluation.coco_format import Ids, coco_ground_truth


def _write(root: Path, splits: Sequence[Split]) -> None:
    directory = root / "annotations"
    directory.mkdir()
    for split in splits:
        category_ids = split.ids or range(1, len(split.classes) + 1)
        content = coco_ground_truth(_dataset(split), Ids(_image_ids(split), category_ids))
        for item in content["annotations"]:
            if item.get("difficult"):
                item["ignore"] = 1  # the key by which MMDetection leaves objects out
        (directory / f"instances_{split.name}.json").write_text(json.dumps(content))


def _dataset(split: Split) -> Dataset:
    """`split` with the names that its images are written under."""
    boxes, labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)  # what counts is in the annotations
    examples = []
    for item in split.items:
        a = item.annotations
        examples.append(Example(Path(item.name), a.width, a.height, boxes, labels, annotations=a))
    return Dataset(split.name, split.classes, tuple(examples))


def _image_ids(split: Split) -> Sequence[int | str]:
    """The images' own ids, if they are COCO's and still distinct, as they are not once an image is cut; else numbers
    from 1."""
    ids = [item.annotations.image_id for item in split.items]
    return ids if split.ids is not None and len(set(map(str, ids))) == len(ids) else range(1, len(ids) + 1)


COCO = Target("COCO", True, True, lambda _: "images", lambda name, _: name, lambda name: name, _write)
