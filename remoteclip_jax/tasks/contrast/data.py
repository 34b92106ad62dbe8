"""The data of a `contrast` run: images with captions."""

from pathlib import Path

from remoteclip_jax.clip.caption_file import CAPTIONS_FILE
from remoteclip_jax.data.captions.reading import caption_splits, forget_files, read_captions
from remoteclip_jax.data.captions.sources import caption_folder
from remoteclip_jax.data.holdout import duplicate_notes, hold_out, without_trained_files
from remoteclip_jax.data.reading import dataset_summary
from remoteclip_jax.data.splits import TRAIN, VAL, component_splits
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.errors import UserError
from remoteclip_jax.runs.data import RunData
from remoteclip_jax.runs.directory import RunDirectory

from .config import ContrastConfig
from .synthetic import draw_captioned_scenes


def read(config: ContrastConfig, run: RunDirectory) -> RunData:
    """The training and validation splits. Without `captions` and `data_dir`, synthetic data are made first.

    The validation split is that of the captions, or the share `val_share` of the training images; without either there
    is no validation. UserError if captions or images are missing or broken.
    """
    synthetic = config.captions is None and config.data_dir is None
    if synthetic and config.val_share is not None:
        raise UserError("--val_share: synthetic data have a validation split of their own; leave it out")
    if synthetic and not run.has_begun():
        draw_captioned_scenes(config, run.data)
    source, data_dir = caption_source(config, run)
    train = read_split(config, run, config.train_split or TRAIN)
    val, remark = None, "no validation: there is no split for it"
    if config.val_share is not None:
        train, val = hold_out(train, config.val_share, config.seed)
    elif config.val_split or component_splits(VAL, caption_splits(source)):
        found = without_trained_files(read_split(config, run, config.val_split or VAL), train)
        val, remark = found if len(found) else None, f"no validation: all images of {found.split!r} are trained on"
    splits = [dataset for dataset in (train, val) if dataset]
    notes = [dataset_summary(data_dir, splits), f"{len_captions(train)} captions of {len(train)} images to train on"]
    notes += [] if val else [f"{remark} (--val_share=0.1 takes one from the training images)"]
    notes += [note for dataset in splits for note in dataset.notes]
    notes += [note for dataset in splits[1:] for note in duplicate_notes(dataset, train)]
    forget_files()
    return RunData((), train, val, None, tuple(dict.fromkeys(notes)))


def caption_source(config: ContrastConfig, run: RunDirectory) -> tuple[Path, Path]:
    """The captions of a run, and the folder of its images. UserError if the user's folder has no captions."""
    if config.captions:
        source = Path(config.captions)
        return source, Path(config.data_dir) if config.data_dir else caption_folder(source)
    data_dir = Path(config.data_dir) if config.data_dir else run.data
    source = data_dir / CAPTIONS_FILE
    if not source.exists():
        raise UserError(
            f"{data_dir} has no {CAPTIONS_FILE}: name the captions with --captions=FILE; python -m convert.captions "
            "makes them from boxes"
        )
    return source, data_dir


def read_split(config: ContrastConfig, run: RunDirectory, split: str) -> Dataset:
    """One split of a run's own images with captions."""
    source, data_dir = caption_source(config, run)
    return read_captions(source, split, data_dir, bands=config.bands, skip_broken=config.skip_broken)


def len_captions(dataset: Dataset) -> int:
    """The number of captions of all images."""
    return sum(len(example.captions) for example in dataset.examples)
