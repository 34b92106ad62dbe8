"""Where a YOLO data set's images and labels lie: by its YAML file, read as ultralytics does, or by its folders."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from remoteclip_jax.data.broken import Images
from remoteclip_jax.data.formats.finding import Finder, walk
from remoteclip_jax.data.image_files import is_image_name
from remoteclip_jax.data.listing import images_of, same_name, visible
from remoteclip_jax.data.notes import Notes
from remoteclip_jax.data.splits import ALL, role
from remoteclip_jax.errors import UserError

USUAL = ("data.yaml", "dataset.yaml", "data.yml", "dataset.yml")
NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")  # LabelImg, Label Studio, CVAT
_NOTHING = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class YoloLayout:
    """`names` by class number, None where no file says them; `source` is the file that does, or the directory.
    `splits` are directories of images, or lists of them; `absent` those that the file names and that are not there.
    `count` is the number of classes where the file says that."""

    told: str
    source: Path
    names: dict[int, str] | None
    splits: dict[str, tuple[Path, ...]]
    absent: tuple[str, ...] = ()
    count: int | None = None


def yolo_layout(data_dir: Path) -> YoloLayout | None:
    """The layout of `data_dir`; None where there is none. UserError for a YAML file that is broken."""
    file = _yaml_file(data_dir)
    if file is not None:
        content = _load(file)
        splits = _splits(file, content, data_dir)
        absent = tuple(name for name, paths in splits.items() if not paths)
        splits = {name: paths for name, paths in splits.items() if paths} or _folders(data_dir)
        exported = "roboflow" in content or (data_dir / "README.roboflow.txt").is_file()
        told = "YOLO (Roboflow's export)" if exported else "YOLO"
        count = int(content["nc"]) if _is_number(content.get("nc")) else None
        return YoloLayout(told, file, _names(file, content), splits, absent, count)
    folders = _folders(data_dir)
    if not folders:
        return None
    source = next((path for name in NAME_FILES if (path := data_dir / name).is_file()), data_dir)
    names = None if source is data_dir else dict(enumerate(filter(None, _lines(source))))
    return YoloLayout("YOLO (without a data.yaml)", source, names, folders)


def split_images(paths: tuple[Path, ...], data_dir: Path, images: Images, notes: Notes) -> list[Path]:
    """The images of a split, each once, in the order of its lists, or of their names."""
    found: dict[Path, None] = {}
    for path in paths:
        listed = _listed(path, data_dir, images) if path.is_file() else images_of(walk(path), notes)
        found |= dict.fromkeys(listed)
    return list(found)


def label_file(image: Path, data_dir: Path) -> Path:
    """Where the labels of `image` are: in `labels/` for the last folder named `images/` of its path, or beside it."""
    folders = list(image.relative_to(data_dir).parts[:-1])
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    path = data_dir.joinpath(*folders, f"{image.stem}.txt")
    places = (path, image.with_suffix(".txt"))
    alike = () if image.stem.isascii() else (p for place in places for p in visible(place.parent) if p.suffix == ".txt")
    found = (p for p in (*places, *alike) if same_name(p.stem) == same_name(image.stem) and p.is_file())
    return next(found, places[1])


def _yaml_file(data_dir: Path) -> Path | None:
    """The usual one, or the only one that names classes."""
    for name in USUAL:
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
        raise UserError(f"{data_dir} has several data sets: {names}; leave one of them there, or call it data.yaml")
    return found[0] if found else None


def _load(path: Path) -> dict[str, Any]:
    """The file's mapping, of strings: a class called `no` or `1e3` keeps its name."""
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
    if names is None or names in _NOTHING:
        return None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise UserError(f"{path}: `names` must be a list, or a mapping of numbers to names")
    result: dict[int, str] = {}
    for key, name in names.items():
        number = int(key) if _is_number(key) else None
        if number is None or number in result or not isinstance(name, str) or not name.strip():
            value = name[:40] if isinstance(name, str) else type(name).__name__  # aliases may nest without end
            raise UserError(f"{path}: `names` says {str(key)[:40]!r}: {value!r}; expected a number and a name")
        result[number] = name.strip()
    return dict(sorted(result.items()))


def _is_number(text: Any) -> bool:
    return str(text).isdecimal() and len(str(text)) < 6 if isinstance(text, str | int) else False


def _splits(path: Path, content: dict[str, Any], data_dir: Path) -> dict[str, tuple[Path, ...]]:
    """The splits that the file names. What lies outside the data directory, as on the author's machine, is looked for
    inside by the end of its path. UserError where it is not there; a test split, which exports name whether they have
    one or not, is then empty."""
    root = content.get("path", "")
    finder = Finder(data_dir)
    places = [data_dir]
    if isinstance(root, str) and root not in _NOTHING and (inside := finder.find_directory(root, places)):
        places.insert(0, inside)
    result = {}
    for key in content:
        if role(key) is None:
            continue
        values = content[key]
        values = values if isinstance(values, list) else [values]
        if not all(isinstance(value, str) for value in values):
            raise UserError(f"{path}: `{key}` must be a directory, a list of images, or several of these")
        values = [value for value in values if value not in _NOTHING]
        found = [data_dir if value.rstrip("/\\") == "." else finder.find_directory(value, places) for value in values]
        if None in found and role(key) != "test":
            raise UserError(f"{path}: `{key}: {values[found.index(None)]}` is not in {data_dir}")
        if values:
            result[key] = tuple(place for place in found if place is not None)
    return result


def _folders(data_dir: Path) -> dict[str, tuple[Path, ...]]:
    """The splits that the folders show: `images/SPLIT` or `SPLIT/images`, each with labels; Darknet's lists beside
    `obj.names`; or one folder of images."""
    images = data_dir / "images"
    splits = {p.name: p for p in _directories(images) if role(p.name) and _has_labels(p, data_dir / "labels" / p.name)}
    for p in _directories(data_dir):
        if role(p.name) and _has_labels(p / "images", p / "labels"):
            splits.setdefault(p.name, p / "images")
    if not splits and (data_dir / "obj.names").is_file():
        splits = {path.stem: path for path in sorted(data_dir.glob("*.txt")) if role(path.stem)}
    if not splits:
        places = ((images, data_dir / "labels"), (data_dir, data_dir))
        found = next((place for place, labels in places if _has_labels(place, labels)), None)
        splits = {} if found is None else {ALL: found}
    return {name: (path,) for name, path in splits.items()}


def _has_labels(images: Path, labels: Path) -> bool:
    """Whether an image of the directory has a text file in `labels` or beside it."""
    stems = {path.stem for path in visible(images) if is_image_name(path)}
    files = (path for place in (labels, images) for path in visible(place))
    return any(path.suffix == ".txt" and path.stem in stems for path in files)


def _directories(path: Path) -> list[Path]:
    return [inner for inner in visible(path) if inner.is_dir()]


def _listed(path: Path, data_dir: Path, images: Images) -> Iterator[Path]:
    """The images that a list names, relative to itself or to the data directory. UserError for one that is missing,
    unless `images` leaves it out."""
    finder = Finder(data_dir)
    for number, line in enumerate(_lines(path), 1):
        if not line:
            continue
        found = finder.find(line, [path.parent, data_dir, data_dir / "images"])
        if found is None:
            images.fail(line, UserError(f"{path}, line {number}: there is no image {line!r} in {data_dir}"))
        else:
            yield found


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
