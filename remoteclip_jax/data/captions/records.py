"""What a caption file says, in one form for all formats."""

from dataclasses import dataclass
from pathlib import Path

from remoteclip_jax.data.image_sources import TarMember


@dataclass(frozen=True)
class CaptionRecord:
    """One image and its captions, as `file` has them.

    `name` is the path of the image as written there; `where` is its place in the file, for messages. `split` is None if
    nothing says it. `member` is the image itself if it lies in the file (a tar shard).
    """

    file: Path
    where: str
    name: str
    captions: tuple[str, ...]
    split: str | None = None
    member: TarMember | None = None


@dataclass(frozen=True)
class CaptionFile:
    """The content of one caption file. `layout` describes it for people; `notes` say what reading it dropped."""

    layout: str
    records: tuple[CaptionRecord, ...]
    notes: tuple[str, ...] = ()
