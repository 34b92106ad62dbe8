"""Which splits of which data a training uses: its own directory's or synthetic ones, and how validation is chosen."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from remoteclip_jax.clip.text_embeddings import load_text_embeddings
from remoteclip_jax.data.classes import read_class_file
from remoteclip_jax.data.holdout import duplicate_notes, hold_out, without_shared_files
from remoteclip_jax.data.pipeline import steps_per_epoch
from remoteclip_jax.data.reading import dataset_summary, find_component_splits, read_dataset
from remoteclip_jax.data.splits import TEST, TRAIN, TRAINVAL, VAL, split_role
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import check_batch_size
from remoteclip_jax.scenes import generate_dataset

# What a task makes of a split that was read from a directory: a smaller one, or a UserError.
Refine = Callable[[Dataset, Path], Dataset]


def read_splits(config: TrainConfig, run: RunDirectory, refine: Refine, test: bool = False) -> RunData:
    """Read the training and validation splits, with `test` that one, too; make synthetic ones first where no
    `data_dir` is given. The first of the notes says which splits were read, or that there is no validation."""
    if config.data_dir is None:
        counts = {"train": config.synthetic_train, "val": config.synthetic_val, "test": config.synthetic_test}
        generate_dataset(run.data, **counts, seed=config.seed, image_size=config.synthetic_size, progress=True)
    data_dir = data_directory(config, run)
    named = class_names(config, run)
    train = read_split(config, run, config.train_split or TRAIN, named, refine)
    present = {int(label) for example in train.examples for label in example.labels}
    if not present:
        raise UserError(f"{data_dir}: no image of the split {train.split!r} has an object")
    train, val, remark = _validation(config, run, train, refine)
    final = val
    if test and (config.test_split or find_component_splits(data_dir, TEST, config.dataset_format)):
        final = read_split(config, run, config.test_split or TEST, train.classes, refine)
    every = train.classes
    read = list(dict.fromkeys(dataset for dataset in (train, val, final) if dataset))
    notes = [dataset_summary(data_dir, read) + (f"; {remark}" if remark else "")]
    if named and (lacking := [name for i, name in enumerate(every) if i not in present]):
        notes.append(f"{train.split}: no object of {', '.join(lacking)}, which --classes or --text_embeddings names")
    notes += [note for dataset in read for note in dataset.notes]
    notes += [note for dataset in read[1:] for note in duplicate_notes(dataset, train)]
    return RunData(every, train, val, final, tuple(dict.fromkeys(notes)))


def read_split(
    config: TrainConfig, run: RunDirectory, split: str, classes: tuple[str, ...] | None, refine: Refine
) -> Dataset:
    """One split of the run's own data. UserError where nothing is left to learn from."""
    data_dir = data_directory(config, run)
    dataset = read_dataset(data_dir, split, config.dataset_format, classes, config.bands, config.skip_broken)
    return refine(dataset, data_dir)


def data_directory(config: TrainConfig, run: RunDirectory) -> Path:
    """Where the run's data lie."""
    return Path(config.data_dir) if config.data_dir else run.data


def class_names(config: TrainConfig, run: RunDirectory) -> tuple[str, ...] | None:
    """The classes the user named: `--classes`, else those of `--text_embeddings`, else None (the data decide). A run
    that has begun knows them, and needs neither file any more."""
    named = config.classes or config.text_embeddings
    if named and run.text_embeddings.exists() and not Path(named).exists():
        return load_text_embeddings(run.text_embeddings).class_names
    if config.classes:
        return read_class_file(Path(config.classes))
    if config.text_embeddings:
        return load_text_embeddings(Path(config.text_embeddings)).class_names
    return None


def _validation(
    config: TrainConfig, run: RunDirectory, train: Dataset, refine: Refine
) -> tuple[Dataset, Dataset | None, str]:
    """What is trained on and what is validated on, and what there is to say about that. UserError where the user asks
    for validation on what is trained on."""
    data_dir, hint = data_directory(config, run), "--val_share=0.1 takes one from the training images"
    found = find_component_splits(data_dir, config.val_split or VAL, config.dataset_format)
    trained = {split_role(name) or name for name in train.source_split.split("+")}
    trained |= {TRAIN, VAL} if TRAINVAL in trained else set()
    inside = bool(found) and {split_role(name) or name for name in found} <= trained
    if config.val_share is not None:
        unused = f"its split {found[0]!r} is not used" if found and not inside else ""
        return *hold_out(train, config.val_share, config.seed), unused
    if config.val_split is None and not found:
        return train, None, f"no validation: there is no split for it ({hint})"
    if inside and config.val_split is None:
        return train, None, f"no validation: {train.split!r} has its images, too ({hint})"
    if inside:
        raise UserError(f"--val_split={config.val_split} is trained on (--train_split={train.split}): name another")
    val, shared = without_shared_files(read_split(config, run, config.val_split or VAL, train.classes, refine), train)
    if not len(val):
        return train, None, f"no validation: all images of {val.split!r} are trained on ({hint})"
    if shared:
        note = f"{val.split}: {shared} images left out, which are trained on"
        val = dataclasses.replace(val, notes=(*val.notes, note))
    return train, val, ""


def check_batches(config: TrainConfig, data: RunData) -> None:
    """UserError where the batch size goes with neither the images nor the devices."""
    steps_per_epoch(data.train, config.batch_size)
    check_batch_size(config.batch_size)
