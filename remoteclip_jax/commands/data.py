"""What a data set holds: `python -m remoteclip_jax.data --data_dir=DIR --output=DIR`.

Prints images, objects and sizes of each split, and what was dropped or guessed. Writes contact_sheet.jpg, a couple of
dozen images with their boxes, and statistics.json. Of broken data it says what can be said, and ends with exit code 2.
"""

import json
import sys
from pathlib import Path
from typing import NoReturn, get_args

from absl import flags

from remoteclip_jax import errors
from remoteclip_jax.data.classes import read_class_file
from remoteclip_jax.data.holdout import duplicate_notes
from remoteclip_jax.data.reading import FORMATS, dataset_summary, read_dataset, recognised_format
from remoteclip_jax.data.splits import TRAIN, TRAINVAL, VAL, split_role
from remoteclip_jax.data.statistics import dataset_statistics
from remoteclip_jax.data.statistics_table import statistics_table
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.printable import printable
from remoteclip_jax.runs.config import DatasetFormat

_DATA_DIR = DEFINE_path("data_dir", None, "the data set", required=True)
_OUTPUT = DEFINE_path("output", None, "folder for contact_sheet.jpg and statistics.json", required=True)
_FORMAT = flags.DEFINE_enum("dataset_format", "auto", get_args(DatasetFormat), "of --data_dir")
_CLASSES = DEFINE_path("classes", None, "file of class names, one per line")
_SKIP = flags.DEFINE_bool("skip_broken", False, "leave out images that cannot be read, and say which")

SHEET, FIGURES = "contact_sheet.jpg", "statistics.json"


def main() -> None:
    """Read the data set that the flags name, print its statistics, and write the sheet and the figures."""
    data_dir, output = Path(_DATA_DIR.value), Path(_OUTPUT.value)
    classes = read_class_file(Path(_CLASSES.value)) if _CLASSES.value else None
    if output.exists() and not output.is_dir():
        raise errors.UserError(f"{output}: is a file; --output takes a folder")
    name = recognised_format(data_dir, _FORMAT.value)
    datasets, problems = _read_splits(data_dir, name, classes)
    if datasets:
        from remoteclip_jax.evaluation.data_sheet import data_sheet  # loads Matplotlib, for its fonts

        title = dataset_summary(data_dir, datasets)
        training = [dataset for dataset in datasets if split_role(dataset.split) == TRAIN][:1]
        copies = [note for t in training for d in datasets if d is not t for note in duplicate_notes(d, t)]
        notes = list(dict.fromkeys([*(note for d in datasets for note in d.notes), *copies]))
        statistics = dataset_statistics(datasets)
        print(printable(title), *statistics_table(statistics), *map(printable, notes), sep="\n")
        output.mkdir(parents=True, exist_ok=True)
        content = {"layout": datasets[0].layout, **statistics, "notes": notes, "problems": problems}
        write_atomically(output / FIGURES, json.dumps(content, indent=2) + "\n")
        sheet = data_sheet(title, datasets)
        write_atomically(output / SHEET, lambda file: sheet.save(file, "JPEG", quality=88))
        print(printable(f"written: {output / SHEET}, {output / FIGURES}"))
    else:
        print(printable(f"data: {name} in {data_dir}: splits {', '.join(FORMATS[name].splits(data_dir))}"))
    for problem in problems:
        print(errors.error_line(problem), file=sys.stderr)
    if problems:
        sys.exit(2)


def _read_splits(data_dir: Path, name: str, classes: tuple[str, ...] | None) -> tuple[list[Dataset], list[str]]:
    """The splits that can be read, and what is wrong. Where images are broken or boxes implausible, the split is read
    all the same."""
    datasets, problems = [], []
    splits = FORMATS[name].splits(data_dir)
    roles = {split_role(split) for split in splits}
    for split in splits:
        if split_role(split) == TRAINVAL and {TRAIN, VAL} <= roles:
            continue
        try:
            datasets.append(read_dataset(data_dir, split, name, classes, skip_broken=_SKIP.value))
        except errors.UserError as e:
            problems.append(str(e))
            try:
                datasets.append(read_dataset(data_dir, split, name, classes, skip_broken=True, allow_implausible=True))
            except errors.UserError as second:
                problems += [str(second)] if str(second) != str(e) else []
    return datasets, list(dict.fromkeys(problems))


def run() -> NoReturn:
    """The command `python -m remoteclip_jax.data`."""
    errors.run(main)
