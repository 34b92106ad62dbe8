"""Where COCO's annotations lie: COCO's own layout, Roboflow's export, and what other tools write."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remoteclip_jax.data.listing import visible
from remoteclip_jax.data.splits import role
from remoteclip_jax.errors import UserError

BESIDE = ("_annotations.coco.json", "annotations.json", "_annotations.json")
KEYS = {"images", "annotations", "categories"}


@dataclass(frozen=True)
class CocoLayout:
    """The JSON file of each split, and what to call such a layout."""

    told: str
    files: dict[str, Path]

    def places(self, data_dir: Path, split: str) -> list[Path]:
        """The directories in which images of `split` may lie, the likeliest first."""
        file = self.files[split]
        near = [*_directories(data_dir), *_directories(data_dir / "images")]
        names = dict.fromkeys([split, *(p.name for p in near if role(split) and role(p.name) == role(split))])
        places = [file.parent] if file.parent.name.casefold() != "annotations" else []
        for name in names:
            places += [data_dir / name, data_dir / name / "images", data_dir / "images" / name]
        return list(dict.fromkeys([*places, data_dir / "images", data_dir]))


def coco_layout(data_dir: Path) -> CocoLayout | None:
    """The layout of `data_dir`; None where it holds no COCO annotations.

    Files that have none of the usual names are looked into: tools call them what they like, and so do other formats.
    """
    folder = data_dir / "annotations"
    own = {path.stem.removeprefix("instances_"): path for path in _files(folder, "instances_*.json")}
    if own:
        return CocoLayout("COCO", own)
    exported = {p.name: file for p in _directories(data_dir) if (file := p / BESIDE[0]).is_file()}
    if exported:
        return CocoLayout("COCO (Roboflow's export)", exported)
    beside = {
        p.name: file
        for name in BESIDE[1:]
        for p in _directories(data_dir)
        if role(p.name) and (file := p / name).is_file()
    }
    named = {
        path.stem.removeprefix("instances_"): path
        for directory in (data_dir, folder)
        for path in _files(directory, "*.json")
        if role(path.stem.removeprefix("instances_"))
    }
    if files := beside or {name: path for name, path in named.items() if _is_coco_file(path)}:
        return CocoLayout("COCO", files)
    single = [path for directory in (data_dir, folder) for path in _files(directory, "*.json")]
    single = [path for path in single if path.name in BESIDE] or single
    if len(single) == 1 and _is_coco_file(single[0]):
        return CocoLayout("COCO", {single[0].stem: single[0]})
    return None


def load_coco(path: Path) -> Any:
    """The file's content. UserError, naming it, where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: broken JSON ({e})") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None


def _is_coco_file(path: Path) -> bool:
    return _has_keys(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)  # it may be large, and is asked for more than once
def _has_keys(path: Path, _changed: int) -> bool:
    try:
        content = load_coco(path)
    except UserError:
        return path.name in BESIDE or role(path.stem) is not None  # so that it is named as broken
    return isinstance(content, dict) and content.keys() >= KEYS


def _files(directory: Path, pattern: str) -> list[Path]:
    return [path for path in visible(directory) if path.match(pattern)]


def _directories(path: Path) -> list[Path]:
    return [inner for inner in visible(path) if inner.is_dir()]
