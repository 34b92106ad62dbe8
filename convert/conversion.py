"""A whole conversion: read, map, optionally verify, and write."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from convert.checkpoint_file import local_path, read_checkpoint
from convert.from_torch import from_torch
from convert.verify import BOUND, verify
from remoteclip_jax.clip.config import ARCHITECTURES, CLIPConfig, architecture
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.clip.weights import check_output, load_weights, partial_path, remove_abandoned, save_weights
from remoteclip_jax.errors import UserError


def convert(checkpoint: str, output: Path, arch: str = "RN50", check: bool = False) -> None:
    """Convert `checkpoint` (a path, or hf://OWNER/REPOSITORY/FILE) to weights in the folder `output`, which must not
    exist yet.

    With `check` the written weights are read again and compared with open_clip. UserError if the difference is above
    the bound, or if the file is unusable; nothing is left at `output` then.
    """
    config = architecture(arch)
    check_output(output)
    file = local_path(checkpoint)
    state, openai = read_checkpoint(file)
    quick = f"{arch}-quickgelu"
    if openai and not config.quick_gelu and quick in ARCHITECTURES:
        config = ARCHITECTURES[quick]
        print(f"note: OpenAI's weights were trained with quick_gelu, so the architecture is {quick}, not {arch}")
    variables = from_torch(state, config, str(file))
    extra = {"source": checkpoint if checkpoint.startswith("hf://") else file.name}
    if check:
        _write_verified(output, state, config, variables, extra)
    else:
        save_weights(output, config, variables, extra)
    leaves = jax.tree.leaves(variables)
    print(f"{config.arch}, {len(leaves)} tensors, {sum(x.size for x in leaves) / 1e6:.1f} M values: {file} → {output}")


def _write_verified(
    output: Path, state: Mapping[str, np.ndarray], config: CLIPConfig, variables: Variables, extra: dict[str, Any]
) -> None:
    """Write the weights beside `output`, read them again, compare, and only then move them into place."""
    output = Path(os.path.abspath(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(output)
    partial = partial_path(output)
    partial.mkdir()
    try:
        save_weights(partial / "weights", config, variables, extra)
        report = verify(state, *load_weights(partial / "weights"))
        print(report)
        if not report.passed:
            worst = max(report.image, report.text)
            raise UserError(
                f"{output}: not written, because its embeddings differ from open_clip's by {worst:.1e}, "
                f"more than the bound of {BOUND:.0e}"
            )
        os.rename(partial / "weights", output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
