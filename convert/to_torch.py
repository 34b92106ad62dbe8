"""Convert weights to a state dict for open_clip: `python -m convert.to_torch --weights=DIR --output=FILE.pt`."""

from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict

from convert import require
from convert.rules import TRANSFORMS, torch_target
from remoteclip_jax.clip.model import Variables
from remoteclip_jax.errors import UserError, run
from remoteclip_jax.files.writing import write_atomically
from remoteclip_jax.path_flags import DEFINE_path
from remoteclip_jax.tasks.loading import load


def to_torch(variables: Variables) -> dict[str, np.ndarray]:
    """The state dict of `variables`, as NumPy arrays by torch's names: the inverse of `from_torch`.

    `num_batches_tracked`, which the Flax model does not have, is set to zero, because a strict load needs it.
    """
    state: dict[str, np.ndarray] = {}
    for path, value in flatten_dict(variables).items():
        target = torch_target(".".join(path))
        if target is None:
            raise ValueError(f"no rule for {'/'.join(path)}")
        rule, key = target
        # A C-ordered copy, which torch can share (np.ascontiguousarray would give scalars an axis).
        state[key] = np.array(TRANSFORMS[rule.transform].inverse(np.asarray(value)), order="C")
        if key.endswith(".running_var"):
            state[key.replace(".running_var", ".num_batches_tracked")] = np.zeros((), np.int64)
    return state


def write_checkpoint(weights: Path, output: Path) -> None:
    """Write converted weights, or the best checkpoint of an `align` or `contrast` run, to the file `output`.

    UserError if `weights` cannot be converted, or if `output` exists.
    """
    torch = require("torch")
    if output.exists():
        raise UserError(f"{output}: this file exists already; choose another name or remove it")
    clip = load(weights)
    if not clip.has_text_tower:
        raise UserError(f"{weights}: there is no text tower here, and a checkpoint needs both towers")
    state = {key: torch.from_numpy(value) for key, value in to_torch(clip.variables).items()}
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, lambda file: torch.save(state, file))
    print(f"{clip.config.arch}, {len(state)} tensors: {weights} → {output}")


if __name__ == "__main__":
    # Defined only here, because a program that imports this module may have flags of these names.
    _WEIGHTS = DEFINE_path("weights", None, "converted weights, or an align or contrast run", required=True)
    _OUTPUT = DEFINE_path("output", None, "the .pt file to write", required=True)
    run(lambda: write_checkpoint(Path(_WEIGHTS.value), Path(_OUTPUT.value)))
