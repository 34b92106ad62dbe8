"""Contrast stretch: converting values of any depth to the eight bits that screens and models use."""

import numpy as np
from jaxtyping import Bool, Num, Shaped, UInt8

PERCENTILES = (2, 98)  # the default of GIS programs: clips shadows below and glints above
MIN_RANGE_USED = 0.5  # of the range; an image whose 98th percentile lies below is stretched
SAMPLE_PIXELS = 2**18  # the percentiles are taken from about this many
SIXTEEN_BITS = 65535.0
ROUNDING_TOLERANCE = 1e-3  # of a step
BLOCK = 2**20  # values converted at a time, so that the scene is not copied as a whole

NO_DATA = (-9999.0, -32768.0)  # common values for "no measurement", even if the file does not say so
MAX_VALID = 1e30  # floating-point values beyond it are no measurements either


def to_uint8(
    values: Shaped[np.ndarray, "h w b"], no_data: float | None = None, white: float | None = None
) -> UInt8[np.ndarray, "h w b"]:
    """Values scaled to 0…255. All bands are scaled alike, since a stretch per band would turn green into grey.

    An image that uses its range is scaled by that range: bytes stored in a wider type by 1, 16 bits by 1/257, fractions
    by 255. An image that uses less than `MIN_RANGE_USED` of it (11 bits in 16, reflectances) is stretched from
    its 2nd to its 98th percentile. `white` is the largest possible value, if the file states it. Pixels without a
    measurement (`no_data`, NaN, `NO_DATA`) become 0 and do not affect the stretch.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "c":  # radar: amplitude and phase
        values = np.abs(values)
    step = max(1, int(np.ceil(np.sqrt(values.shape[0] * values.shape[1] / SAMPLE_PIXELS))))
    sample = values[::step, ::step]
    low, high = display_range(sample[_valid_mask(sample, no_data)], white)
    if values.dtype in (np.uint16, np.int16):
        all_values = np.arange(2**16, dtype=np.uint16).view(values.dtype)
        return _scaled(all_values, low, high, no_data)[values.view(np.uint16)]  # by a look-up table
    result = np.empty(values.shape, np.uint8)
    rows = max(1, BLOCK // max(1, values[0].size))
    for top in range(0, len(values), rows):
        result[top : top + rows] = _scaled(values[top : top + rows], low, high, no_data)
    return result


def display_range(valid: Num[np.ndarray, " n"], white: float | None = None) -> tuple[float, float]:
    """The values that become 0 and 255, from the `valid` values of an image."""
    if not len(valid):
        return 0.0, 1.0
    least, most = float(valid.min()), float(valid.max())
    low, high = (float(x) for x in np.percentile(valid, PERCENTILES))
    full = white or SIXTEEN_BITS
    if least == most and valid.dtype.kind in "iu" and valid.dtype.itemsize == 2:
        return 0.0, full  # nothing to stretch: dark stays dark
    if least >= 0:
        for top in (*((1.0,) if valid.dtype.kind == "f" else ()), 255.0, full):
            if most <= top and (high >= MIN_RANGE_USED * top or _are_scaled_bytes(valid, top)):
                return 0.0, top
    if low == high:
        low, high = least, most
    return (low, high) if low < high else (0.0, max(high, 1.0))


def _are_scaled_bytes(valid: Num[np.ndarray, " n"], top: float) -> bool:
    """Whether the values are bytes, stored so that `top` is white: multiples of `top` / 255."""
    steps: np.ndarray = valid / (top / 255)
    return bool((np.abs(steps - np.round(steps)) < ROUNDING_TOLERANCE).all())


def _valid_mask(values: Shaped[np.ndarray, "..."], no_data: float | None) -> Bool[np.ndarray, "..."]:
    """The mask of values that are measurements."""
    valid = np.ones(values.shape, bool)
    if values.dtype.kind == "f":
        valid &= np.abs(values) < MAX_VALID  # False for NaN too
    for missing in (*NO_DATA, *(() if no_data is None else (no_data,))):
        valid &= values != missing
    return valid


def _scaled(
    values: Shaped[np.ndarray, "..."], low: float, high: float, no_data: float | None
) -> UInt8[np.ndarray, "..."]:
    with np.errstate(invalid="ignore", over="ignore"):
        exact: np.ndarray = values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64)
        scaled = (exact - low) * (255 / (high - low))
        scaled = np.where(_valid_mask(values, no_data), np.clip(scaled, 0, 255), 0)
    return np.round(scaled).astype(np.uint8)
