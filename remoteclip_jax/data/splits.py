"""Names of splits: `valid`, `validation`, `val` and `val2017` are one, and so are the others' spellings."""

import re
from collections.abc import Sequence

from remoteclip_jax.errors import UserError

TRAIN, VAL, TEST, TRAINVAL = "train", "val", "test", "trainval"
ALL = "all"  # what data without splits are called, for want of a name of their own
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


def role(name: str) -> str | None:
    """What the split `name` is for: "train", "val", "test" or "trainval"; None where the name does not say."""
    return _SPELLINGS.get(_YEAR.sub("", name.strip().casefold()))


def find_split(asked: str, splits: Sequence[str]) -> str | None:
    """Which of `splits` is the one `asked` for: the one of that name, else the one that means the same (of the same
    year where both have one), else, for the training split, the only one there is if its name says nothing.

    None where there is none. UserError where several mean the same, as `train2014` and `train2017` do.
    """
    if asked in splits:
        return asked
    wanted = role(asked)
    if wanted is None:
        return None
    alike = [name for name in splits if role(name) == wanted and _same_year(name, asked)]
    if len(alike) > 1:
        raise UserError(f"the split {asked!r} may be {' or '.join(map(repr, alike))}: name the one that is meant")
    if not alike and wanted == TRAIN and len(splits) == 1 and role(splits[0]) is None:
        return splits[0]
    return alike[0] if alike else None


def parts(asked: str, splits: Sequence[str]) -> tuple[str, ...]:
    """The splits that `asked` is made of, by their own names: one; those joined by `+`; for `trainval`, where there is
    no list of that name, `train` and `val`. Empty where one of them is missing."""
    found = find_split(asked, splits)
    if found is not None:
        return (found,)
    names = [TRAIN, VAL] if role(asked) == TRAINVAL else asked.split("+")
    each = [find_split(name, splits) for name in names] if len(names) > 1 else []
    return tuple(name for name in each if name is not None) if None not in each else ()


def first_split(splits: Sequence[str]) -> str:
    """The split whose classes are those of all others: the training split, or else the first."""
    return next((name for name in splits if role(name) == TRAIN), splits[0])


def _same_year(a: str, b: str) -> bool:
    years = [match[1] for match in (_YEAR.search(name) for name in (a, b)) if match]
    return len(set(years)) < 2
