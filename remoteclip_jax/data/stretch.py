"""From values of any depth to the eight bits that a screen shows and a model knows."""

import numpy as np
from jaxtyping import Bool, Num, Shaped, UInt8

PERCENTILES = (2, 98)  # what GIS programs cut off: glints above, shadows below
SMALL_PART = 0.5  # of its range: a deep image of which 98 % lie below is stretched
SAMPLED = 2**18  # pixels, from which the percentiles are taken
SIXTEEN_BITS = 65535.0
ROUNDED = 1e-3  # of a step
BLOCK = 2**20  # values converted at a time, so that no second copy of a scene is needed

NO_DATA = (-9999.0, -32768.0)  # what is written where there is no measurement, whether the file says so or not
BEYOND_MEASURE = 1e30  # so are these, in floating point


def to_eight_bits(
    values: Shaped[np.ndarray, "h w b"], no_data: float | None = None, white: float | None = None
) -> UInt8[np.ndarray, "h w b"]:
    """Values scaled to 0…255, all bands alike, for a stretch of each by itself would change what is green into grey.

    What uses its range is scaled from that: bytes however deep they are stored, 16 bits by 257, fractions by 255. What
    uses less than `SMALL_PART` of it, as 11 bits in 16 or reflectances do, is stretched from the second to the 98th
    percentile of the image. `white` is the largest value possible, where the file tells. Where there is no measurement
    (`no_data`, NaN, `NO_DATA`) the result is 0, and it counts for nothing.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "c":  # radar's amplitude and phase
        values = np.abs(values)
    step = max(1, int(np.ceil(np.sqrt(values.shape[0] * values.shape[1] / SAMPLED))))
    sample = values[::step, ::step]
    low, high = display_range(sample[_measured(sample, no_data)], white)
    if values.dtype in (np.uint16, np.int16):
        every = np.arange(2**16, dtype=np.uint16).view(values.dtype)
        return _scaled(every, low, high, no_data)[values.view(np.uint16)]
    result = np.empty(values.shape, np.uint8)
    rows = max(1, BLOCK // max(1, values[0].size))
    for top in range(0, len(values), rows):
        result[top : top + rows] = _scaled(values[top : top + rows], low, high, no_data)
    return result


def display_range(measured: Num[np.ndarray, " n"], white: float | None = None) -> tuple[float, float]:
    """The values that become 0 and 255, for the `measured` ones of an image."""
    if not len(measured):
        return 0.0, 1.0
    least, most = float(measured.min()), float(measured.max())
    low, high = (float(x) for x in np.percentile(measured, PERCENTILES))
    full = white or SIXTEEN_BITS
    if least == most and measured.dtype.kind in "iu" and measured.dtype.itemsize == 2:
        return 0.0, full  # there is nothing to stretch, and dark stays dark
    if least >= 0:
        for top in (*((1.0,) if measured.dtype.kind == "f" else ()), 255.0, full):
            if most <= top and (high >= SMALL_PART * top or _of_bytes(measured, top)):
                return 0.0, top
    if low == high:
        low, high = least, most
    return (low, high) if low < high else (0.0, max(high, 1.0))


def _of_bytes(measured: Num[np.ndarray, " n"], top: float) -> bool:
    """Whether the values are bytes that were stored so that `top` is white: multiples of its 255th part."""
    steps: np.ndarray = measured / (top / 255)
    return bool((np.abs(steps - np.round(steps)) < ROUNDED).all())


def _measured(values: Shaped[np.ndarray, "..."], no_data: float | None) -> Bool[np.ndarray, "..."]:
    measured = np.ones(values.shape, bool)
    if values.dtype.kind == "f":
        measured &= np.abs(values) < BEYOND_MEASURE  # nor is NaN
    for missing in (*NO_DATA, *(() if no_data is None else (no_data,))):
        measured &= values != missing
    return measured


def _scaled(
    values: Shaped[np.ndarray, "..."], low: float, high: float, no_data: float | None
) -> UInt8[np.ndarray, "..."]:
    with np.errstate(invalid="ignore", over="ignore"):
        exact: np.ndarray = values.astype(np.float32 if values.dtype.itemsize <= 4 else np.float64)
        scaled = (exact - low) * (255 / (high - low))
        scaled = np.where(_measured(values, no_data), np.clip(scaled, 0, 255), 0)
    return np.round(scaled).astype(np.uint8)
