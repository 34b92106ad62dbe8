"""The statistics of a data set, against its annotations."""

import json
from pathlib import Path

import numpy as np

from remoteclip_jax.data.reading import read_dataset
from remoteclip_jax.data.statistics import dataset_statistics
from remoteclip_jax.data.statistics_table import statistics_table
from tests.data.sample_datasets import write_class_folders, write_flat, write_image, write_lines, write_voc


def test_counts_and_sizes(tmp_path: Path) -> None:
    root = write_flat(tmp_path, "a", "b")
    write_image(root / "images/a.jpg", size=(200, 100))
    boxes = [("ship", 0, 0, 10, 10), ("ship", 10, 0, 50, 40), ("dam", 0, 0, 120, 90)]
    write_voc(root / "annotations/a.xml", boxes, size=(200, 100))
    (root / "annotations/b.xml").unlink()
    write_lines(root / "splits/val.txt", "b")
    datasets = [read_dataset(root, split) for split in ("train", "val")]
    statistics = json.loads(json.dumps(dataset_statistics(datasets)))
    train = statistics["splits"]["train"]
    assert (train["images"], train["images_without_objects"], train["objects"], train["ignored"]) == (2, 1, 3, 0)
    assert train["image_width"] == {"min": 40, "median": 120, "max": 200}
    assert train["objects_per_image"] == {"mean": 1.5, "median": 1.5, "max": 3, "fullest_image": "a.jpg"}
    assert train["objects_by_area"] == {"small": 1, "medium": 1, "large": 1}
    assert train["side_in_pixels"]["50%"] == 40
    assert train["side_as_share_of_image"]["50%"] == 0.2
    assert train["notes"] == list(datasets[0].notes)
    assert statistics["splits"]["val"]["side_in_pixels"] is None
    assert statistics["classes"]["ship"] == {"train": {"objects": 2, "images": 1}, "val": {"objects": 0, "images": 0}}
    assert sum(counts["train"]["objects"] for counts in statistics["classes"].values()) == 3
    lines = statistics_table(statistics)
    rows = {line[:30].split(":")[0].strip(): line.split() for line in lines}
    assert rows["ship"][-3:] == ["2", "(1)", "-"]
    assert rows["images"][-2:] == ["2", "1"]
    assert "airplane" in lines[-1]


def test_class_folders_have_no_sizes(tmp_path: Path) -> None:
    write_class_folders(write_class_folders(tmp_path, "train", port=2, 机场=1), "val", port=1)
    datasets = [read_dataset(tmp_path, "train"), read_dataset(tmp_path, "val", classes=("port", "机场"))]
    statistics = dataset_statistics(datasets)
    assert "objects_by_area" not in statistics["splits"]["train"]
    assert {name: counts["train"]["objects"] for name, counts in statistics["classes"].items()} == {
        "port": 2,
        "机场": 1,
    }
    columns = [line for line in statistics_table(statistics) if line.startswith(("  port", "  机场"))]
    ends = {sum(1 + (ord(c) > 0x2E80) for c in line.split(")")[0]) for line in columns}
    assert len(ends) == 1  # in a terminal, where a Chinese character is two columns wide
    assert np.isfinite(statistics["splits"]["val"]["image_width"]["median"])
