"""What of an image could not be read."""

from dataclasses import dataclass, field
from pathlib import Path

from remoteclip_jax.errors import UserError


class BrokenImageError(UserError):
    """Nothing of the image could be read."""


@dataclass
class Damage:
    """The blocks of a file that could not be read, and were taken as black."""

    blocks: dict[tuple[int, int], None] = field(default_factory=dict)  # left, top

    def add(self, left: int, top: int) -> None:
        self.blocks[left, top] = None

    def error(self, path: Path, everything: int) -> UserError | None:
        """What is to be said about it; None if there was none. `everything` is the number of all blocks."""
        if not self.blocks:
            return None
        (left, top), count = next(iter(self.blocks)), len(self.blocks)
        if count >= everything:
            return BrokenImageError(
                f"{path}: the image is broken (none of its {everything} blocks can be read; copy it again)"
            )
        return UserError(
            f"{path}: {count} of its {everything} blocks cannot be read (first at pixel {left}, {top}) and were taken "
            f"as black; the rest was searched (copy or download the file again)"
        )
