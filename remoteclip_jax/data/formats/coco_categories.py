"""The categories and the ids of a COCO file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remoteclip_jax.data.classes import find_class_index
from remoteclip_jax.data.notes import utf8_name
from remoteclip_jax.errors import UserError


def normalised_id(value: Any) -> Any:
    """An id, the same whether it is written 7, "7", "007" or 7.0. TypeError unless it is a number or a string."""
    if isinstance(value, str):
        is_integer = value.isascii() and len(value) < 20 and value.removeprefix("-").isdigit()
        return int(value) if is_integer else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not an id")
    return int(value) if float(value).is_integer() else value


def read_categories(path: Path, content: Any) -> dict[Any, str]:
    """The names of the categories by id, in the order of the ids."""
    try:
        items = [(normalised_id(item["id"]), _category_name(path, item)) for item in content["categories"]]
    except (KeyError, TypeError) as e:
        raise UserError(f"{path}: not in COCO's format (categories: {type(e).__name__}: {e})") from None
    categories = dict(sorted(items, key=lambda item: (isinstance(item[0], str), item[0])))
    if len(categories) < len(items):
        raise UserError(f"{path}: two categories have the same id")
    return categories


def _category_name(path: Path, category: Any) -> str:
    """The name of a category. UserError if it is blank or not valid Unicode; KeyError if it is missing."""
    name = category["name"]
    if not isinstance(name, str | int) or not str(name).strip() or utf8_name(str(name)) != str(name):
        raise UserError(f"{path}: category {category['id']!r} is called {name!r}; give it a name")
    return str(name)


def grouping_category(content: Any, categories: dict[Any, str]) -> Any:
    """The id of the category that Roboflow adds as the supercategory of all others, and that no object has; None if
    there is none."""
    others = [item.get("supercategory") for item in content["categories"] if normalised_id(item["id"]) != 0]
    if 0 not in categories or not others or any(name != categories[0] for name in others):
        return None
    return None if any(normalised_id(item["category_id"]) == 0 for item in content["annotations"]) else 0


def category_ids(categories: dict[Any, str], classes: Sequence[str]) -> tuple[int, ...]:
    """The file's ids of `classes`. A class without a numeric id in the file gets an unused id, above all others."""
    ids_in_file: dict[int, int] = {}
    for category_id, name in categories.items():
        index = find_class_index(name, classes)
        if isinstance(category_id, int) and index is not None:
            ids_in_file.setdefault(index, category_id)
    unused = max((category_id for category_id in categories if isinstance(category_id, int)), default=0)
    ids = []
    for index in range(len(classes)):
        if index not in ids_in_file:
            unused += 1
        ids.append(ids_in_file.get(index, unused))
    return tuple(ids)
