"""What was found in one image, as all formats are given it; and the choice of formats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from remoteclip_jax.data.georeference import Georeference
from remoteclip_jax.detector.detections import Detections


@dataclass(frozen=True, eq=False)
class ImageResult:
    """The detections `found` in the file `image`, in pixels of the upright image, `width` × `height`, best first.

    `place` is where on Earth the image lies, or why that is not known; None if no format asks. If `native`, GeoJSON has
    coordinates of the image's own reference system.
    """

    image: Path
    width: int
    height: int
    found: Detections
    place: Georeference | str | None = None
    native: bool = False


@dataclass(frozen=True)
class ResultSettings:
    """The `formats` to write, by their names in `formats.FORMATS`, and whether the user `named` them. See `ImageResult`
    for `native`."""

    formats: Sequence[str] = ("json", "geojson")
    named: bool = False
    native: bool = False

    @property
    def wants_place(self) -> bool:
        """Whether a format has use for the place of an image."""
        return "geojson" in self.formats or "csv" in self.formats
