"""Class embeddings as a value, and as an npz file with `class_names[K]` and `embeddings[K, D]`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from remoteclip_jax.errors import UserError
from remoteclip_jax.files.npz import as_finite_float32, as_strings, load_arrays
from remoteclip_jax.files.writing import write_atomically


@dataclass(frozen=True, eq=False)
class TextEmbeddings:
    """Unit-length embeddings of class names, one row for each class."""

    class_names: tuple[str, ...]
    embeddings: Float32[np.ndarray, "k d"]

    def save(self, path: Path) -> None:
        """Write the npz file `path`, completely or not at all."""
        names = np.array(self.class_names)
        write_atomically(path, lambda file: np.savez(file, class_names=names, embeddings=self.embeddings))


def load_text_embeddings(path: Path, dim: int | None = None) -> TextEmbeddings:
    """The class names and embeddings in an npz file; rows are scaled to unit length.

    UserError if the file is missing or broken, a name occurs twice, a row is zero or not finite, or D is not `dim`.
    """
    arrays = load_arrays(path, ("class_names", "embeddings"))
    names = as_strings(arrays["class_names"], f"{path}: class_names")
    values = as_finite_float32(arrays["embeddings"], f"{path}: embeddings")
    if values.ndim != 2 or len(values) != len(names) or not names:
        raise UserError(
            f"{path}: embeddings of shape {list(values.shape)} do not go with {len(names)} class names; "
            f"expected class_names[K] and embeddings[K, D]"
        )
    if not all(name.strip() for name in names):
        raise UserError(f"{path}: a class name is empty")
    if len(set(names)) < len(names):
        raise UserError(f"{path}: class name {next(n for n in names if names.count(n) > 1)!r} occurs twice")
    if dim is not None and values.shape[1] != dim:
        raise UserError(f"{path}: embeddings have {values.shape[1]} dimensions, the image tower has {dim}")
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise UserError(f"{path}: an embedding is zero or too long")
    return TextEmbeddings(names, values / lengths)
