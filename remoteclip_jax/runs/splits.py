"""The splits that a training uses, from the user's data or from synthetic data, and the choice of its validation."""

from collections.abc import Callable
from pathlib import Path

from remoteclip_jax.clip.text_embeddings import load_text_embeddings
from remoteclip_jax.data.classes import read_class_file
from remoteclip_jax.data.holdout import duplicate_notes, hold_out, without_trained_files
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

# A task's selection from a split that was read from a directory: a smaller split, or a UserError.
Refine = Callable[[Dataset, Path], Dataset]


def read_splits(config: TrainConfig, run: RunDirectory, refine: Refine, test: bool = False) -> RunData:
    """Read the training and validation splits, and with `test` the test split too. Without a `data_dir`, synthetic
    data are made first. The first note says which splits were read, and whether there is no validation."""
    if config.data_dir is None:
        counts = {"train": config.synthetic_train, "val": config.synthetic_val, "test": config.synthetic_test}
        generate_dataset(run.data, **counts, seed=config.seed, image_size=config.synthetic_size, progress=True)
    data_dir = data_directory(config, run)
    named = named_classes(config, run)
    train = read_split(config, run, config.train_split or TRAIN, named, refine)
    present = {int(label) for example in train.examples for label in example.labels}
    if not present:
        raise UserError(f"{data_dir}: no image of the split {train.split!r} has an object")
    train, val, remark = _validation(config, run, train, refine)
    final = val
    if test and (config.test_split or find_component_splits(data_dir, TEST, config.dataset_format)):
        final = read_split(config, run, config.test_split or TEST, train.classes, refine)
    splits = list(dict.fromkeys(dataset for dataset in (train, val, final) if dataset))
    notes = [dataset_summary(data_dir, splits) + (f"; {remark}" if remark else "")]
    if named and (missing := [name for i, name in enumerate(train.classes) if i not in present]):
        notes.append(f"{train.split}: no object of {', '.join(missing)}, which --classes or --text_embeddings names")
    notes += [note for dataset in splits for note in dataset.notes]
    notes += [note for dataset in splits[1:] for note in duplicate_notes(dataset, train)]
    return RunData(train.classes, train, val, final, tuple(dict.fromkeys(notes)))


def read_split(
    config: TrainConfig, run: RunDirectory, split: str, classes: tuple[str, ...] | None, refine: Refine
) -> Dataset:
    """One split of the run's own data, refined by the task. UserError if it cannot be used."""
    data_dir = data_directory(config, run)
    dataset = read_dataset(data_dir, split, config.dataset_format, classes, config.bands, config.skip_broken)
    return refine(dataset, data_dir)


def data_directory(config: TrainConfig, run: RunDirectory) -> Path:
    """The folder of the run's data."""
    return Path(config.data_dir) if config.data_dir else run.data


def named_classes(config: TrainConfig, run: RunDirectory) -> tuple[str, ...] | None:
    """The classes that the user named: those of `--classes`, else of `--text_embeddings`, else None (the data decide).
    A run that has begun has stored them, and no longer needs either file."""
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
    """The training split, the validation split (None if there is none), and a remark on the choice, perhaps empty.
    UserError if the user asks for validation on the training images."""
    data_dir, hint = data_directory(config, run), "--val_share=0.1 takes one from the training images"
    found = find_component_splits(data_dir, config.val_split or VAL, config.dataset_format)
    trained = {split_role(name) or name for name in train.source_split.split("+")}
    trained |= {TRAIN, VAL} if TRAINVAL in trained else set()
    is_trained_on = bool(found) and {split_role(name) or name for name in found} <= trained
    if config.val_share is not None:
        unused = f"its split {found[0]!r} is not used" if found and not is_trained_on else ""
        return *hold_out(train, config.val_share, config.seed), unused
    if config.val_split is None and not found:
        return train, None, f"no validation: there is no split for it ({hint})"
    if is_trained_on and config.val_split is None:
        return train, None, f"no validation: {train.split!r} has its images, too ({hint})"
    if is_trained_on:
        raise UserError(f"--val_split={config.val_split} is trained on (--train_split={train.split}): name another")
    val = without_trained_files(read_split(config, run, config.val_split or VAL, train.classes, refine), train)
    if not len(val):
        return train, None, f"no validation: all images of {val.split!r} are trained on ({hint})"
    return train, val, ""


def check_batches(config: TrainConfig, data: RunData) -> None:
    """UserError if the batch size does not fit the images or the devices."""
    steps_per_epoch(data.train, config.batch_size)
    check_batch_size(config.batch_size)
