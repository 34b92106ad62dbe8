"""Names of splits and their synonyms: `valid`, `validation`, `val` and `val2017` all mean validation."""

import re
from collections.abc import Sequence

from remoteclip_jax.errors import UserError

TRAIN, VAL, TEST, TRAINVAL = "train", "val", "test", "trainval"
ALL = "all"  # the split of data that are not split
_SPELLINGS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "test": TEST,
    "testing": TEST,
    "trainval": TRAINVAL,
}
_YEAR = re.compile(r"[-_]?(\d{4})$")


def split_role(name: str) -> str | None:
    """What the split `name` is for: "train", "val", "test" or "trainval"; None if the name does not say."""
    return _SPELLINGS.get(_YEAR.sub("", name.strip().casefold()))


def find_split(requested: str, splits: Sequence[str]) -> str | None:
    """The one of `splits` that is `requested`.

    This is the one of that name, or else its synonym (of the same year, if both have one). If training data are
    requested and the only split has a name that says nothing, it is that one. None if there is none. UserError if
    several synonyms fit, such as `train2014` and `train2017`.
    """
    if requested in splits:
        return requested
    role = split_role(requested)
    if role is None:
        return None
    synonyms = [name for name in splits if split_role(name) == role and _same_year(name, requested)]
    if len(synonyms) > 1:
        raise UserError(
            f"the split {requested!r} may be {' or '.join(map(repr, synonyms))}: name the one that is meant"
        )
    if not synonyms and role == TRAIN and len(splits) == 1 and split_role(splits[0]) is None:
        return splits[0]
    return synonyms[0] if synonyms else None


def component_splits(requested: str, splits: Sequence[str]) -> tuple[str, ...]:
    """The splits that make up `requested`, by the names in `splits`.

    This is one split, or those joined by `+`; `trainval` is `train` and `val` if there is no split of that name. Empty
    if one of them is missing.
    """
    found = find_split(requested, splits)
    if found is not None:
        return (found,)
    names = [TRAIN, VAL] if split_role(requested) == TRAINVAL else requested.split("+")
    components = [find_split(name, splits) for name in names] if len(names) > 1 else []
    return tuple(name for name in components if name is not None) if None not in components else ()


def reference_split(splits: Sequence[str]) -> str:
    """The split that defines the classes of all splits: the training split, or else the first."""
    return next((name for name in splits if split_role(name) == TRAIN), splits[0])


def _same_year(a: str, b: str) -> bool:
    years = [match[1] for match in (_YEAR.search(name) for name in (a, b)) if match]
    return len(set(years)) < 2
