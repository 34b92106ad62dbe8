"""Class embeddings as a value and as a file: an npz with `class_names[K]` and `embeddings[K, D]`."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from remoteclip_jax.errors import UserError
from remoteclip_jax.files import write_atomically


@dataclass(frozen=True, eq=False)
class TextEmbeddings:
    """Unit-length embeddings of class names, one row a class."""

    class_names: tuple[str, ...]
    embeddings: Float32[np.ndarray, "k d"]

    def save(self, path: Path) -> None:
        names = np.array(self.class_names)
        write_atomically(path, lambda file: np.savez(file, class_names=names, embeddings=self.embeddings))


def load_text_embeddings(path: Path, dim: int | None = None) -> TextEmbeddings:
    """Read an npz of class names and embeddings; rows are brought to unit length.

    UserError where the file is missing or broken, names repeat, a row is zero or not finite, or D is not `dim`.
    """
    arrays = load_arrays(path, ("class_names", "embeddings"))
    names = tuple(str(name) for name in arrays["class_names"].tolist())
    try:
        values = np.asarray(arrays["embeddings"], np.float32)
    except (ValueError, TypeError):
        raise UserError(f"{path}: embeddings are no numbers") from None
    if values.ndim != 2 or len(values) != len(names) or not names:
        raise UserError(
            f"{path}: embeddings of shape {list(values.shape)} do not go with {len(names)} class names; "
            f"expected class_names[K] and embeddings[K, D]"
        )
    if len(set(names)) < len(names):
        raise UserError(f"{path}: class name {next(n for n in names if names.count(n) > 1)!r} stands there twice")
    if dim is not None and values.shape[1] != dim:
        raise UserError(f"{path}: embeddings have {values.shape[1]} dimensions, the image tower has {dim}")
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    if not np.isfinite(values).all() or (lengths == 0).any():
        raise UserError(f"{path}: an embedding is zero or not finite")
    return TextEmbeddings(names, values / lengths)


def load_arrays(path: Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays called `keys` of an npz. UserError where the file or one of them is missing or broken."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive]
            if missing:
                raise UserError(f"{path} lacks {', '.join(missing)}; it has {', '.join(archive.files) or 'nothing'}")
            return {key: archive[key] for key in keys}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as e:
        raise UserError(f"{path} is no readable npz file: {e}") from None
