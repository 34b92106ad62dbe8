"""Finding COCO annotations: COCO's own layout, Roboflow's export, and the layouts of other tools."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remoteclip_jax.data.listing import subdirectories, visible_entries
from remoteclip_jax.data.splits import split_role
from remoteclip_jax.errors import UserError

FILES_BESIDE_IMAGES = ("_annotations.coco.json", "annotations.json", "_annotations.json")
REQUIRED_KEYS = {"images", "annotations", "categories"}


@dataclass(frozen=True)
class CocoLayout:
    """The name of the layout, for people, and the JSON file of each split."""

    name: str
    files: dict[str, Path]

    def image_directories(self, data_dir: Path, split: str) -> list[Path]:
        """The directories in which images of `split` may be, the most likely first."""
        file = self.files[split]
        nearby = [*subdirectories(data_dir), *subdirectories(data_dir / "images")]
        names = dict.fromkeys(
            [split, *(p.name for p in nearby if split_role(split) and split_role(p.name) == split_role(split))]
        )
        places = [file.parent] if file.parent.name.casefold() != "annotations" else []
        for name in names:
            places += [data_dir / name, data_dir / name / "images", data_dir / "images" / name]
        return list(dict.fromkeys([*places, data_dir / "images", data_dir]))


def coco_layout(data_dir: Path) -> CocoLayout | None:
    """The layout of `data_dir`; None if it has no COCO annotations.

    JSON files without one of the usual names are opened to see what they are: tools use many names, and other formats
    have JSON files too.
    """
    annotation_dir = data_dir / "annotations"
    official = {path.stem.removeprefix("instances_"): path for path in _files(annotation_dir, "instances_*.json")}
    if official:
        return CocoLayout("COCO", official)
    exported = {p.name: file for p in subdirectories(data_dir) if (file := p / FILES_BESIDE_IMAGES[0]).is_file()}
    if exported:
        return CocoLayout("COCO (Roboflow's export)", exported)
    beside = {
        p.name: file
        for name in FILES_BESIDE_IMAGES[1:]
        for p in subdirectories(data_dir)
        if split_role(p.name) and (file := p / name).is_file()
    }
    named = {
        path.stem.removeprefix("instances_"): path
        for directory in (data_dir, annotation_dir)
        for path in _files(directory, "*.json")
        if split_role(path.stem.removeprefix("instances_"))
    }
    if files := beside or {name: path for name, path in named.items() if _is_coco_file(path)}:
        return CocoLayout("COCO", files)
    single = [path for directory in (data_dir, annotation_dir) for path in _files(directory, "*.json")]
    single = [path for path in single if path.name in FILES_BESIDE_IMAGES] or single
    if len(single) == 1 and _is_coco_file(single[0]):
        return CocoLayout("COCO", {single[0].stem: single[0]})
    return None


def load_coco(path: Path) -> Any:
    """The content of a JSON file. UserError, naming the file, if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: broken JSON ({e})") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None


def _is_coco_file(path: Path) -> bool:
    return _has_keys(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)  # the file may be large, and the layout is determined more than once
def _has_keys(path: Path, _mtime_ns: int) -> bool:
    try:
        content = load_coco(path)
    except UserError:
        # A file with a usual name counts, so that reading it reports what is broken.
        return path.name in FILES_BESIDE_IMAGES or split_role(path.stem) is not None
    return isinstance(content, dict) and content.keys() >= REQUIRED_KEYS


def _files(directory: Path, pattern: str) -> list[Path]:
    return [path for path in visible_entries(directory) if path.match(pattern)]
