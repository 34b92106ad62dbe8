"""Finding the images that a caption file names."""

import os
from pathlib import Path

from remoteclip_jax.data.captions.records import CaptionRecord
from remoteclip_jax.data.formats.file_finder import FileFinder
from remoteclip_jax.data.listing import subdirectories
from remoteclip_jax.data.splits import split_role
from remoteclip_jax.errors import UserError

_IMAGE_FOLDERS = ("images", "imgs")  # and those whose name ends with one of these, as RSICD_images


class ImageLocator:
    """Finds images by the paths in caption files, which are relative to `root`.

    Those that are not there are looked for in the folders of images and in those of the split, then anywhere below
    `root` (see `FileFinder`), and at last beside the caption file. An absolute path may lead anywhere.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._finder = root, FileFinder(root)
        self._folders: dict[str | None, list[Path]] = {}

    def find(self, record: CaptionRecord) -> Path | None:
        """The image of `record`; None if there is none. UserError if it may be one of several."""
        if os.path.isabs(record.name) and os.path.isfile(record.name):
            return Path(record.name)
        try:
            found = self._finder.find(record.name, self._directories(record.split))
        except UserError as e:
            raise UserError(f"{record.file}: {record.where}: {e}") from None
        beside = record.file.parent / record.name
        return found or (beside if os.path.isfile(beside) else None)

    def _directories(self, split: str | None) -> list[Path]:
        if split not in self._folders:
            nearby = subdirectories(self._root)
            images = [path for path in nearby if path.name.casefold().endswith(_IMAGE_FOLDERS)]
            below = [path for folder in images for path in subdirectories(folder)]
            own = [path for path in (*nearby, *below) if split is not None and _is_of_split(path.name, split)]
            self._folders[split] = [self._root, *own, *images]
        return self._folders[split]


def _is_of_split(folder: str, split: str) -> bool:
    return folder == split or (split_role(split) is not None and split_role(folder) == split_role(split))
