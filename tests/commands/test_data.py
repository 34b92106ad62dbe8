"""`python -m remoteclip_jax.data`: what it prints and writes, also of broken data."""

import json
import shutil
from pathlib import Path
from typing import get_args

from PIL import Image

from remoteclip_jax.data.reading import FORMATS
from remoteclip_jax.runs.config import DatasetFormat
from tests.command import error_lines, fails, run
from tests.data.sample_datasets import coco_content, truncate, write_coco, write_noise


def test_every_format_can_be_named() -> None:
    assert get_args(DatasetFormat) == ("auto", *FORMATS)


def test_statistics_and_sheet(synthetic_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "deep/out"
    result = run("-m", "remoteclip_jax.data", f"--data_dir={synthetic_data}", f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"data: DIOR in {synthetic_data}: train 24 images, val 10 images, test 10 images\n")
    assert result.stdout.endswith(f"written: {output / 'contact_sheet.jpg'}, {output / 'statistics.json'}\n")
    statistics = json.loads((output / "statistics.json").read_text())
    assert {name: split["images"] for name, split in statistics["splits"].items()} == {
        "train": 24,
        "val": 10,
        "test": 10,
    }
    assert (statistics["layout"], statistics["problems"]) == ("DIOR", [])
    with Image.open(output / "contact_sheet.jpg") as sheet:
        assert sheet.width > 1000


def test_of_broken_data_whatever_can_be_said(synthetic_data: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(synthetic_data, tmp_path / "data"))
    (data / "annotations" / f"{(data / 'splits/test.txt').read_text().split()[0]}.xml").write_text("<a>")
    (data / "images" / f"{(data / 'splits/train.txt').read_text().split()[0]}.jpg").write_bytes(b"")
    truncate(data / "images" / f"{(data / 'splits/val.txt').read_text().split()[0]}.jpg")  # its header is intact
    result = run("-m", "remoteclip_jax.data", f"--data_dir={data}", f"--output={tmp_path / 'out'}")
    assert result.returncode == 2
    first, second = error_lines(result)
    assert "the file is empty" in first
    assert "broken XML" in second
    statistics = json.loads((tmp_path / "out/statistics.json").read_text())
    assert {name: split["images"] for name, split in statistics["splits"].items()} == {"train": 23, "val": 10}
    assert statistics["problems"] == [first.removeprefix("error: "), second.removeprefix("error: ")]
    assert "train: 1 images cannot be read and are left out" in result.stdout
    assert (tmp_path / "out/contact_sheet.jpg").is_file()


def test_boxes_in_another_convention_are_drawn(tmp_path: Path) -> None:
    """The message says what they look like, and the picture shows it."""
    boxes = [{"id": i, "image_id": 7, "category_id": 3, "bbox": [20, 20, 38, 38]} for i in range(20)]
    root = write_coco(tmp_path / "data", coco_content(annotations=boxes))
    result = run("-m", "remoteclip_jax.data", f"--data_dir={root}", f"--output={tmp_path / 'out'}")
    assert result.returncode == 2
    (error,) = error_lines(result)
    assert "look like corners in pixels" in error
    assert json.loads((tmp_path / "out/statistics.json").read_text())["splits"]["train"]["objects"] == 20


def test_nothing_can_be_read(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "data", coco_content())
    write_noise(root / "train/a.jpg", 40)
    (root / "annotations/instances_train.json").write_text("{")
    command = ("-m", "remoteclip_jax.data", f"--data_dir={root}")
    assert "broken JSON" in fails(*command, f"--output={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()
    assert "is a file" in fails(*command, f"--output={root / 'train/a.jpg'}")


def test_an_error_that_all_splits_share_is_said_once(tmp_path: Path) -> None:
    root = write_coco(tmp_path / "data", coco_content())
    for split in ("train", "val"):
        write_noise(root / split / "a.jpg", 40)
        (root / f"annotations/instances_{split}.json").write_text('{"images": [], "annotations": []}')
    error = fails("-m", "remoteclip_jax.data", f"--data_dir={root}", f"--output={tmp_path / 'out'}")
    assert "instances_train.json: not in COCO's format" in error
