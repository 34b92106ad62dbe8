"""From a configuration to what the loop needs: the data, the towers, the class embeddings, the first state."""

import dataclasses
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from remoteclip_jax.clip.config import architecture
from remoteclip_jax.clip.inference import RemoteCLIP, class_embeddings
from remoteclip_jax.clip.model import init, one_tower
from remoteclip_jax.clip.text_embeddings import TextEmbeddings, load_text_embeddings
from remoteclip_jax.clip.weights import save_weights
from remoteclip_jax.data.classes import read_class_file, resolve
from remoteclip_jax.data.pipeline import steps_per_epoch
from remoteclip_jax.data.reading import check_boxes, find_parts, read_dataset, what_was_read
from remoteclip_jax.data.splits import TEST, TRAIN, TRAINVAL, VAL, role
from remoteclip_jax.data.types import Dataset
from remoteclip_jax.data.validation import copies_in, take_share, without_files_of
from remoteclip_jax.errors import UserError
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.runs.config import TrainConfig
from remoteclip_jax.runs.data import Data, fingerprints
from remoteclip_jax.runs.directory import RunDirectory
from remoteclip_jax.runtime.devices import check_batch_size
from remoteclip_jax.scenes import draw_dataset
from remoteclip_jax.tasks.align.targets import drop_empty
from remoteclip_jax.tasks.detect.batches import crowded
from remoteclip_jax.tasks.detect.novel import base_classes, without_images_of
from remoteclip_jax.tasks.loading import load, load_towers


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


def read_split(config: TrainConfig, run: RunDirectory, split: str, classes: tuple[str, ...] | None) -> Dataset:
    """One split of the run's own data; for `align`, without the images that have no object to align with. UserError
    where nothing is left to learn from."""
    data_dir = _data_dir(config, run)
    dataset = read_dataset(data_dir, split, config.dataset_format, classes, config.bands, config.skip_broken)
    if config.task == "detect":
        return check_boxes(dataset, data_dir)
    dataset, dropped = drop_empty(dataset)
    if not len(dataset):
        raise UserError(f"{data_dir}: no image of the split {split!r} has an object")
    notes = (f"{split}: {dropped} images without objects skipped",) if dropped else ()
    return dataclasses.replace(dataset, notes=(*dataset.notes, *notes))


def prepare_data(config: TrainConfig, run: RunDirectory) -> Data:
    """Read the training and validation splits; draw synthetic ones first where no `data_dir` is given. The first of the
    notes says which splits were read, or that there is no validation."""
    if config.data_dir is None:
        counts = {"train": config.draw_train, "val": config.draw_val, "test": config.draw_test}
        draw_dataset(run.data, **counts, seed=config.seed, image_size=config.draw_size, progress=True)
    data_dir = _data_dir(config, run)
    named = class_names(config, run)
    train = read_split(config, run, config.train_split or TRAIN, named)
    present = {int(label) for example in train.examples for label in example.labels}
    if not present:
        raise UserError(f"{data_dir}: no image of the split {train.split!r} has an object")
    train, val, remark = _validation(config, run, train)
    final = val
    if config.task == "detect" and (config.test_split or find_parts(data_dir, TEST, config.dataset_format)):
        final = read_split(config, run, config.test_split or TEST, train.classes)
    every = train.classes
    read = list(dict.fromkeys(dataset for dataset in (train, val, final) if dataset))
    notes = [what_was_read(data_dir, read) + (f"; {remark}" if remark else "")]
    if named and (lacking := [name for i, name in enumerate(every) if i not in present]):
        notes.append(f"{train.split}: no object of {', '.join(lacking)}, which --classes or --text_embeddings names")
    notes += [note for dataset in read for note in dataset.notes]
    notes += [note for dataset in read[1:] for note in copies_in(dataset, train)]
    if config.novel:
        val = without_images_of(val, config.novel) if val else None
        train = base_classes(without_images_of(train, config.novel), config.novel)
        notes += [note for dataset in (train, val) if dataset for note in dataset.notes]
    if config.task == "detect":
        notes += crowded(train, config.max_objects)
    return Data(every, train, val, final, tuple(dict.fromkeys(notes)))


def _data_dir(config: TrainConfig, run: RunDirectory) -> Path:
    return Path(config.data_dir) if config.data_dir else run.data


def _validation(config: TrainConfig, run: RunDirectory, train: Dataset) -> tuple[Dataset, Dataset | None, str]:
    """What is trained on and what is validated on, and what there is to say about that. UserError where the user asks
    for validation on what is trained on."""
    data_dir, hint = _data_dir(config, run), "--val_share=0.1 takes one from the training images"
    found = find_parts(data_dir, config.val_split or VAL, config.dataset_format)
    trained = {role(name) or name for name in train.found.split("+")}
    trained |= {TRAIN, VAL} if TRAINVAL in trained else set()
    inside = bool(found) and {role(name) or name for name in found} <= trained
    if config.val_share is not None:
        unused = f"its split {found[0]!r} is not used" if found and not inside else ""
        return *take_share(train, config.val_share, config.seed), unused
    if config.val_split is None and not found:
        return train, None, f"no validation: there is no split for it ({hint})"
    if inside and config.val_split is None:
        return train, None, f"no validation: {train.split!r} has its images, too ({hint})"
    if inside:
        raise UserError(f"--val_split={config.val_split} is trained on (--train_split={train.split}): name another")
    val, shared = without_files_of(read_split(config, run, config.val_split or VAL, train.classes), train)
    if not len(val):
        return train, None, f"no validation: all images of {val.split!r} are trained on ({hint})"
    if shared:
        note = f"{val.split}: {shared} images left out, which are trained on"
        val = dataclasses.replace(val, notes=(*val.notes, note))
    return train, val, ""


def prepare_towers(config: TrainConfig, run: RunDirectory) -> RemoteCLIP:
    """The towers that training starts from. The text tower, which stays frozen, is written into the run directory, and
    read from there ever after."""
    read = load_towers if config.task == "detect" else load
    clip = read(config.weights) if config.weights else None
    clip_config = clip.config if clip else architecture(config.arch)
    with_text_tower = not config.text_embeddings
    if clip is None:
        clip = RemoteCLIP(clip_config, init(clip_config, jax.random.key(config.seed), with_text_tower))
    if not with_text_tower:  # no text was encoded with it, so it is not part of this run
        return RemoteCLIP(clip_config, one_tower(clip.variables, "visual"))
    if not run.frozen.exists():
        frozen = {name: value for name, value in clip.variables["params"].items() if name != "visual"}
        save_weights(run.frozen, clip_config, {"params": frozen, "batch_stats": {}}, {"part": "frozen"})
    return clip


def prepare_texts(
    config: TrainConfig, run: RunDirectory, classes: tuple[str, ...], clip: RemoteCLIP | None
) -> Float[Array, "k d"]:
    """The class embeddings that training aligns with: the user's, or made by the text tower of `clip`, at the first
    start of a run, and read from its directory ever after."""
    dim = architecture(config.arch).embed_dim
    if not run.text_embeddings.exists():
        if config.text_embeddings:
            given = load_text_embeddings(Path(config.text_embeddings), dim)
            rows = [resolve(name, given.class_names, config.text_embeddings) for name in classes]
            embeddings = given.embeddings[np.array(rows)]
        elif clip is None:
            raise UserError(f"{run.text_embeddings} is gone: put it back, or choose another --workdir")
        else:
            embeddings = np.asarray(class_embeddings(clip, classes))
        TextEmbeddings(classes, embeddings).save(run.text_embeddings)
    # Read back even when just written: normalising again may move a last bit, and a resumed run must see the same.
    return jnp.asarray(load_text_embeddings(run.text_embeddings, dim).embeddings)


def check_batches(config: TrainConfig, data: Data) -> None:
    """UserError where the batch size goes with neither the images nor the devices."""
    steps_per_epoch(data.train, config.batch_size)
    check_batch_size(config.batch_size)


def write_summary(
    run: RunDirectory, config: TrainConfig, data: Data, params: dict[str, Any], clip: RemoteCLIP | None
) -> None:
    """What the report tells about a run besides its settings and its curves. `params` are those that train, `clip` the
    towers at the run's first start, None at a later one."""
    sizes = {name: int(sum(np.size(x) for x in jax.tree.leaves(p))) for name, p in params.items()}
    if clip is not None and clip.has_text_tower:
        sizes["text"] = int(sum(np.size(x) for x in jax.tree.leaves(clip.variables["params"]["text"])))
    elif clip is None and run.summary.exists():
        sizes = json.loads(run.summary.read_text())["parameters"]
    device = jax.local_devices()[0]
    summary = {
        "classes": list(data.classes),
        "images": {d.split: len(d) for d in (data.train, data.val) if d},
        "fingerprints": fingerprints(data),
        "notes": list(data.notes),
        "parameters": sizes,
        "device": f"{jax.local_device_count()} × {device.device_kind} ({device.platform})",
        "versions": {name: importlib.metadata.version(name) for name in ("jax", "flax", "optax", "orbax-checkpoint")},
    }
    write_atomically(run.summary, json.dumps(summary, indent=2) + "\n")
