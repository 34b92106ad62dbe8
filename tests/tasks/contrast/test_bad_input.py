"""What users can get wrong with `--task=contrast`: one line each, and exit code 2."""

import shutil
from pathlib import Path

import pytest

from remoteclip_jax.errors import UserError
from remoteclip_jax.tasks.training import train
from tests.command import all_fail


def test_command_lines(contrast_run: Path, align_run: Path, synthetic_data: Path, tmp_path: Path) -> None:
    no_text = Path(shutil.copytree(align_run, tmp_path / "no_text"))
    shutil.rmtree(no_text / "text_tower")
    data, bare = f"--data_dir={contrast_run / 'data'}", tmp_path / "bare"
    shutil.copytree(synthetic_data, bare)
    (bare / "captions.json").unlink(missing_ok=True)
    cases = {
        f"--data_dir={bare}": f"{bare} has no captions.json: name the captions with --captions=FILE",
        f"--captions={tmp_path / 'none.json'}": "none.json: no such file",
        f"{data} --weights={no_text}": "no_text has no text tower, which --task=contrast needs",
        f"{data} --batch_size=64": "--batch_size=64 is larger than the 20 images",
        f"{data} --accumulate=2": "--accumulate=2 needs --set=train_norm=false",
        f"{data} --accumulate=3 --set=train_norm=false": "must be a multiple of --accumulate=3",
        f"{data} --freeze=nonsense": "--freeze=nonsense",
        f"{data} --train_split=night": "has no split 'night'; it has train, val, test",
        f"{data} --classes={no_text / 'config.json'}": "--classes is not for --task=contrast",
        f'{data} --set=backbone="frozen"': "--freeze=image freezes the image tower",
        f"{data} --label=first": "--label is for --task=align",
    }
    common = ("--task=contrast", "--preset=tiny", f"--workdir={tmp_path / 'run'}")
    errors = all_fail("remoteclip_jax.commands.train", *[(*common, *case.split()) for case in cases])
    for error, expected in zip(errors, cases.values(), strict=True):
        assert expected in error
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_captions_are_for_contrast(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--captions is for --task=contrast; --task=align does not use it"):
        train({"captions": "x.json"}, tmp_path / "run")
