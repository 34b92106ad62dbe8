"""Contrast stretch: converting values of any depth to the eight bits that screens and models use."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Num, Shaped, UInt8

PERCENTILES = (2, 98)  # the default of GIS programs: clips shadows below and glints above
MIN_RANGE_USED = 0.5  # of the range; an image whose 98th percentile lies below is stretched
SAMPLE_PIXELS = 2**18  # the percentiles are taken from about this many
SIXTEEN_BITS = 65535.0
ROUNDING_TOLERANCE = 1e-3  # of a step
BLOCK = 2**20  # values converted at a time, so that the scene is not copied as a whole

Percentiles = tuple[float, float]

NO_DATA = (-9999.0, -32768.0)  # common values for "no measurement", even if the file does not say so
MAX_VALID = 1e30  # floating-point values beyond it are no measurements either


@dataclass(frozen=True)
class Stretch:
    """The values that become 0 and 255: one range for all bands, or one for each. `no_data` marks values that are no
    measurements and become 0. Without ranges, values are bytes that stay as they are."""

    ranges: tuple[tuple[float, float], ...]
    no_data: float | None = None

    def apply(self, values: Shaped[np.ndarray, "h w b"]) -> UInt8[np.ndarray, "h w b"]:
        """The values in eight bits."""
        if not self.ranges:
            return _without_no_data(values, self.no_data)
        if values.dtype.kind == "c":  # radar: amplitude and phase
            values = np.abs(values)
        if len(self.ranges) == 1:
            return _scaled_in_blocks(values, *self.ranges[0], self.no_data)
        bands = [
            _scaled_in_blocks(values[..., i : i + 1], *limits, self.no_data) for i, limits in enumerate(self.ranges)
        ]
        return np.concatenate(bands, -1)


def fit_stretch(
    sample: Shaped[np.ndarray, "h w b"],
    no_data: float | None = None,
    white: float | None = None,
    percentiles: Percentiles | None = None,
) -> Stretch:
    """The stretch for an image of which `sample` is a part, as `to_uint8` describes it."""
    if sample.dtype.kind == "b":
        return Stretch(((0.0, 1.0),))
    if percentiles is None and sample.dtype == np.uint8:
        return Stretch((), no_data)
    if sample.dtype.kind == "c":
        sample = np.abs(sample)
    if percentiles is None:
        return Stretch((display_range(sample[_valid_mask(sample, no_data)], white),), no_data)
    bands = [band[_valid_mask(band, no_data)] for band in np.moveaxis(sample, -1, 0)]
    return Stretch(tuple(percentile_range(band, percentiles) for band in bands), no_data)


def to_uint8(
    values: Shaped[np.ndarray, "h w b"],
    no_data: float | None = None,
    white: float | None = None,
    percentiles: Percentiles | None = None,
) -> UInt8[np.ndarray, "h w b"]:
    """Values scaled to 0…255. All bands are scaled alike, since a stretch per band would turn green into grey.

    An image that uses its range is scaled by that range: bytes stored in a wider type by 1, 16 bits by 1/257, fractions
    by 255. An image that uses less than `MIN_RANGE_USED` of it (11 bits in 16, reflectances) is stretched from
    its 2nd to its 98th percentile. `white` is the largest possible value, if the file states it. Pixels without a
    measurement (`no_data`, NaN, `NO_DATA`) become 0 and do not affect the stretch.

    With `percentiles`, each band is stretched by itself, from one of them to the other: for bands whose ranges have
    nothing to do with each other.
    """
    step = max(1, int(np.ceil(np.sqrt(values.shape[0] * values.shape[1] / SAMPLE_PIXELS))))
    return fit_stretch(values[::step, ::step], no_data, white, percentiles).apply(values)


def percentile_range(valid: Num[np.ndarray, " n"], percentiles: Percentiles) -> tuple[float, float]:
    """The `percentiles` of the `valid` values of a band."""
    if not len(valid):
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(valid, percentiles))
    if low == high:
        low, high = float(valid.min()), float(valid.max())
    return (low, high) if low < high else (0.0, max(high, 1.0))


def display_range(valid: Num[np.ndarray, " n"], white: float | None = None) -> tuple[float, float]:
    """The values that become 0 and 255, from the `valid` values of an image."""
    if not len(valid):
        return 0.0, 1.0
    least, most = float(valid.min()), float(valid.max())
    high = float(np.percentile(valid, PERCENTILES[1]))
    full = white or SIXTEEN_BITS
    if least == most and valid.dtype.kind in "iu" and valid.dtype.itemsize == 2:
        return 0.0, full  # nothing to stretch: dark stays dark
    if least >= 0:
        for top in (*((1.0,) if valid.dtype.kind == "f" else ()), 255.0, full):
            if most <= top and (high >= MIN_RANGE_USED * top or _are_scaled_bytes(valid, top)):
                return 0.0, top
    return percentile_range(valid, PERCENTILES)


def _are_scaled_bytes(valid: Num[np.ndarray, " n"], top: float) -> bool:
    """Whether the values are bytes, stored so that `top` is white: multiples of `top` / 255."""
    steps: np.ndarray = valid / (top / 255)
    return bool((np.abs(steps - np.round(steps)) < ROUNDING_TOLERANCE).all())


def _valid_mask(values: Shaped[np.ndarray, "..."], no_data: float | None) -> Bool[np.ndarray, "..."]:
    """The mask of values that are measurements."""
    valid = np.ones(values.shape, bool)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # of 16 bits, the limit is infinite
            valid &= np.abs(values) < MAX_VALID  # False for NaN too
    for missing in (*NO_DATA, *(() if no_data is None else (no_data,))):
        valid &= values != missing
    return valid


def _without_no_data(values: UInt8[np.ndarray, "h w b"], no_data: float | None) -> UInt8[np.ndarray, "h w b"]:
    """Bytes as they are, but for black where all bands are `no_data`."""
    if no_data is None or not 0 < no_data <= 255 or no_data != int(no_data):
        return values
    missing = (values == np.uint8(no_data)).all(-1)
    return np.where(missing[..., None], np.uint8(0), values) if missing.any() else values


def _scaled_in_blocks(
    values: Shaped[np.ndarray, "h w b"], low: float, high: float, no_data: float | None
) -> UInt8[np.ndarray, "h w b"]:
    if values.dtype in (np.uint16, np.int16):
        all_values = np.arange(2**16, dtype=np.uint16).view(values.dtype)
        return _scaled(all_values, low, high, no_data)[values.view(np.uint16)]  # by a look-up table
    result = np.empty(values.shape, np.uint8)
    rows = max(1, BLOCK // max(1, values[0].size))
    for top in range(0, len(values), rows):
        result[top : top + rows] = _scaled(values[top : top + rows], low, high, no_data)
    return result


def _scaled(
    values: Shaped[np.ndarray, "..."], low: float, high: float, no_data: float | None
) -> UInt8[np.ndarray, "..."]:
    with np.errstate(invalid="ignore", over="ignore"):
        exact: np.ndarray = values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64)
        scaled = (exact - low) * (255 / (high - low))
        scaled = np.where(_valid_mask(values, no_data), np.clip(scaled, 0, 255), 0)
    return np.round(scaled).astype(np.uint8)
