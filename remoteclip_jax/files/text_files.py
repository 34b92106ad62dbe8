"""Reading text files that users wrote."""

from pathlib import Path

from remoteclip_jax.errors import UserError


def read_text(path: Path) -> str:
    """The content of a text file in UTF-8, without its byte order mark. UserError, naming it, if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as e:
        raise UserError(f"{path}: {e.strerror}") from None
