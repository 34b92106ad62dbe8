"""Finding the images and labels of a YOLO data set: by its YAML file, read as ultralytics does, or by its folders."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from remoteclip_jax.data.broken_images import ImageOpener
from remoteclip_jax.data.formats.file_finder import FileFinder, visible_files
from remoteclip_jax.data.image_files import is_image_name
from remoteclip_jax.data.listing import image_paths, name_key, subdirectories, visible_entries
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.splits import ALL, split_role
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.text_files import read_text

YAML_NAMES = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")  # LabelImg, Label Studio, CVAT
_EMPTY_VALUES = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class YoloLayout:
    """The layout of a data set.

    `name` is for people. `names` are the classes by number; None if no file gives them. `source` is the file that gives
    them, or the directory. `splits` are directories or lists of images. `absent` are splits that the file names but
    that do not exist. `count` is the number of classes, if the file states it.
    """

    name: str
    source: Path
    names: dict[int, str] | None
    splits: dict[str, tuple[Path, ...]]
    absent: tuple[str, ...] = ()
    count: int | None = None


def yolo_layout(data_dir: Path) -> YoloLayout | None:
    """The layout of `data_dir`; None if it has no YOLO data set. UserError for a broken YAML file."""
    file = _yaml_file(data_dir)
    if file is not None:
        content = _load(file)
        splits = _splits(file, content, data_dir)
        absent = tuple(name for name, paths in splits.items() if not paths)
        splits = {name: paths for name, paths in splits.items() if paths} or _folders(data_dir)
        exported = "roboflow" in content or (data_dir / "README.roboflow.txt").is_file()
        layout_name = "YOLO (Roboflow's export)" if exported else "YOLO"
        count = int(content["nc"]) if _is_number(content.get("nc")) else None
        return YoloLayout(layout_name, file, _names(file, content), splits, absent, count)
    folders = _folders(data_dir)
    if not folders:
        return None
    source = next((path for name in NAME_FILES if (path := data_dir / name).is_file()), data_dir)
    names = None if source is data_dir else dict(enumerate(filter(None, _lines(source))))
    return YoloLayout("YOLO (without a data.yaml)", source, names, folders)


def split_images(paths: tuple[Path, ...], data_dir: Path, images: ImageOpener, notes: Notes) -> list[Path]:
    """The images of a split, each once, in the order of the lists, or sorted by name."""
    found: dict[Path, None] = {}
    for path in paths:
        listed = _listed(path, data_dir, images) if path.is_file() else image_paths(visible_files(path), notes)
        found |= dict.fromkeys(listed)
    return list(found)


def first_images(paths: tuple[Path, ...], data_dir: Path) -> Iterator[Path]:
    """The images of a split one by one, in no particular order, so that a few of them can be looked at quickly."""
    for path in paths:
        files = _listed(path, data_dir, ImageOpener(skip_broken=True)) if path.is_file() else visible_files(path)
        yield from filter(is_image_name, files)


def label_directory(image: Path, data_dir: Path) -> Path:
    """The directory of `image` with `labels/` in place of the last `images/`, if there is one."""
    folders = list(image.relative_to(data_dir).parts[:-1])
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    return data_dir.joinpath(*folders)


def label_file(image: Path, data_dir: Path) -> Path:
    """The label file of `image`: in its `label_directory`, or beside it."""
    places = (label_directory(image, data_dir) / f"{image.stem}.txt", image.with_suffix(".txt"))
    # Names that are not ASCII may differ in Unicode normalisation, so all text files are compared.
    similar = (p for place in places for p in visible_entries(place.parent) if p.suffix == ".txt")
    candidates = places if image.stem.isascii() else (*places, *similar)
    found = (p for p in candidates if name_key(p.stem) == name_key(image.stem) and p.is_file())
    return next(found, places[1])


def _yaml_file(data_dir: Path) -> Path | None:
    """The YAML file with a usual name, or the only one that names classes; None if there is none."""
    for name in YAML_NAMES:
        if (data_dir / name).is_file():
            return data_dir / name
    found = []
    for path in sorted(data_dir.glob("*.y*ml")):
        if path.name.startswith("."):
            continue
        try:
            content = _load(path)
        except UserError:
            continue
        if "names" in content or "nc" in content:
            found.append(path)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{data_dir} has several data sets: {names}; keep one of them there, or call it data.yaml")
    return found[0] if found else None


def _load(path: Path) -> dict[str, Any]:
    """The content of a YAML file. All values are strings, so that a class called `no` or `1e3` keeps its name."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise UserError(f"{path}: broken YAML ({' '.join(str(e).split())[:200]})") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path}: expected names and values, such as `train: images/train`")
    return content


def _names(path: Path, content: dict[str, Any]) -> dict[int, str] | None:
    names = content.get("names")
    if names is None or names in _EMPTY_VALUES:
        return None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise UserError(f"{path}: `names` must be a list, or a mapping of numbers to names")
    result: dict[int, str] = {}
    for key, name in names.items():
        number = int(key) if _is_number(key) else None
        if number is None or number in result or not isinstance(name, str) or not name.strip():
            # Not the value itself: nested aliases may expand to gigabytes.
            value = name[:40] if isinstance(name, str) else type(name).__name__
            raise UserError(f"{path}: `names` says {str(key)[:40]!r}: {value!r}; expected a number and a name")
        result[number] = name.strip()
    return dict(sorted(result.items()))


def _is_number(text: Any) -> bool:
    return str(text).isdecimal() and len(str(text)) < 6 if isinstance(text, str | int) else False


def _splits(path: Path, content: dict[str, Any], data_dir: Path) -> dict[str, tuple[Path, ...]]:
    """The splits that the file names, with their directories or lists of images.

    A path outside the data directory, such as one on the author's machine, is searched for inside by its end. UserError
    if it is not found. Only a missing test split is accepted, and is empty: exports name one whether it exists or not.
    """
    root = content.get("path", "")
    finder = FileFinder(data_dir)
    places = [data_dir]
    if isinstance(root, str) and root not in _EMPTY_VALUES and (inside := finder.find_directory(root, places)):
        places.insert(0, inside)
    result = {}
    for key in content:
        if split_role(key) is None:
            continue
        values = content[key]
        values = values if isinstance(values, list) else [values]
        if not all(isinstance(value, str) for value in values):
            raise UserError(f"{path}: `{key}` must be a directory, a list of images, or several of these")
        values = [value for value in values if value not in _EMPTY_VALUES]
        found = [data_dir if value.rstrip("/\\") == "." else finder.find_directory(value, places) for value in values]
        if None in found and split_role(key) != "test":
            raise UserError(f"{path}: `{key}: {values[found.index(None)]}` is not in {data_dir}")
        if values:
            result[key] = tuple(place for place in found if place is not None)
    return result


def _folders(data_dir: Path) -> dict[str, tuple[Path, ...]]:
    """The splits by folders: `images/SPLIT` or `SPLIT/images`, each with labels; or Darknet's lists beside `obj.names`;
    or a single folder of images."""
    images = data_dir / "images"
    splits = {
        p.name: p for p in subdirectories(images) if split_role(p.name) and _has_labels(p, data_dir / "labels" / p.name)
    }
    for p in subdirectories(data_dir):
        if split_role(p.name) and _has_labels(p / "images", p / "labels"):
            splits.setdefault(p.name, p / "images")
    if not splits and (data_dir / "obj.names").is_file():
        splits = {path.stem: path for path in sorted(data_dir.glob("*.txt")) if split_role(path.stem)}
    if not splits:
        candidates = ((images, data_dir / "labels"), (data_dir, data_dir))
        found = next((directory for directory, labels in candidates if _has_labels(directory, labels)), None)
        splits = {} if found is None else {ALL: found}
    return {name: (path,) for name, path in splits.items()}


def _has_labels(images: Path, labels: Path) -> bool:
    """Whether an image in the directory `images` has a text file in `labels` or beside it."""
    stems = {path.stem for path in visible_entries(images) if is_image_name(path)}
    files = (path for place in (labels, images) for path in visible_entries(place))
    return any(path.suffix == ".txt" and path.stem in stems for path in files)


def _listed(path: Path, data_dir: Path, images: ImageOpener) -> Iterator[Path]:
    """The images in a list, with paths relative to the list or to the data directory. UserError for a missing image,
    unless `images` skips it."""
    finder = FileFinder(data_dir)
    for number, line in enumerate(_lines(path), 1):
        if not line:
            continue
        found = finder.find(line, [path.parent, data_dir, data_dir / "images"])
        if found is None:
            images.reject(line, UserError(f"{path}, line {number}: there is no image {line!r} in {data_dir}"))
        else:
            yield found


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).splitlines()]
