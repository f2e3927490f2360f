"""Volumes as PNG sprites, to travel in a web page: every slice of a volume is one tile of a sheet.

PNG keeps every byte and every browser reads it; it takes the bytes of lossless WebP, and half the time to write. Label
maps go in as they are; images are reduced to 254 steps, probabilities to 256 levels, other maps to 255 steps.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

#: Pixels along a side of a sheet: what browsers on phones still decode.
SHEET = 4096


@dataclass(frozen=True)
class Quantised:
    """A volume in bytes: 0 is the value 0, and ``byte`` > 0 stands for ``low + (byte - 1) / 254 * (high - low)``.

    Attributes:
        volume: uint8 (z, y, x).
        low, high: the range; what lies beyond it is drawn to its end.
        minimum, maximum: the extremes of all voxels but the background, which tell where that happened.
    """

    volume: np.ndarray
    low: float
    high: float
    minimum: float
    maximum: float


def has_background(volume: np.ndarray) -> bool:
    """Whether zero means that nothing was measured: so in images without negative values, and in those whose eight
    corner voxels are all zero (a skull-stripped scan after normalisation); not in CT, where zero is water."""
    corners = volume[:: max(volume.shape[0] - 1, 1), :: max(volume.shape[1] - 1, 1), :: max(volume.shape[2] - 1, 1)]
    return bool(volume.min() >= 0 or not corners.any())


def quantise(volume: np.ndarray) -> Quantised:
    """Reduce an image (z, y, x) to 254 steps between its 0.1 and 99.9 percentiles; background zeros stay zero."""
    volume = np.asarray(volume, np.float64)
    measured = volume != 0 if has_background(volume) else np.ones(volume.shape, bool)
    if not measured.any():
        return Quantised(np.zeros(volume.shape, np.uint8), 0.0, 0.0, 0.0, 0.0)
    values = volume[measured]
    low, high = (float(bound) for bound in np.percentile(values, (0.1, 99.9)))
    scaled = np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(values.shape)
    out = np.zeros(volume.shape, np.uint8)
    out[measured] = np.rint(scaled * 254).astype(np.uint8) + 1
    return Quantised(out, low, high, float(values.min()), float(values.max()))


#: Levels of a probability.
LEVELS = 256


def quantise_probability(volume: np.ndarray) -> np.ndarray:
    """Probabilities (z, y, x) in [0, 1] as bytes: a voxel has ``byte >= level`` exactly where it reaches
    ``level / 256``. So decisions at the thresholds 1/256, 2/256, … 255/256, a half among them, lose nothing."""
    return np.minimum(np.asarray(volume, np.float32) * LEVELS, LEVELS - 1).astype(np.uint8)


def quantise_map(volume: np.ndarray) -> np.ndarray:
    """A map (z, y, x) in [0, 1] as bytes: rounded to the nearest of 255 steps, so that 0 stays 0 and 1 is 255."""
    return np.rint(np.asarray(volume, np.float32) * 255).astype(np.uint8)


def layout(shape: tuple[int, int, int]) -> dict[str, int]:
    """How slices lie on a sheet: ``across`` of them in a row, ``perSheet`` on the whole sheet; nearly square, at most
    :data:`SHEET` a side (a single slice may be larger)."""
    depth, rows, columns = shape
    across = min(max(1, SHEET // columns), max(1, round((depth * rows / columns) ** 0.5)))
    return {"across": across, "perSheet": across * max(1, SHEET // rows)}


def sheets(volume: np.ndarray) -> list[str]:
    """A volume, uint8 (z, y, x), as PNG sheets in base64."""
    from PIL import Image

    _, rows, columns = volume.shape
    across, per_sheet = layout(volume.shape).values()
    encoded = []
    for first in range(0, len(volume), per_sheet):
        slices = volume[first : first + per_sheet]
        down = -(-len(slices) // across)
        tiles = np.zeros((down * across, rows, columns), np.uint8)
        tiles[: len(slices)] = slices
        sheet = tiles.reshape(down, across, rows, columns).swapaxes(1, 2).reshape(down * rows, across * columns)
        file = io.BytesIO()
        Image.fromarray(sheet).save(file, "PNG", optimize=True)
        encoded.append(base64.b64encode(file.getvalue()).decode())
    return encoded


def checksum(volume: np.ndarray) -> int:
    """Sum over voxels of value x (index modulo 65521 + 1), modulo 2^32. The page computes it again from what it
    decoded, since some browsers alter what a script reads back from a canvas."""
    weights = np.arange(volume.size, dtype=np.uint64) % np.uint64(65521) + np.uint64(1)
    return int((volume.ravel().astype(np.uint64) * weights).sum() % np.uint64(2**32))


def bounding_box(volumes: Iterable[np.ndarray], margin: int = 2) -> tuple[slice, slice, slice]:
    """The smallest box that holds every non-zero voxel of all volumes (z, y, x), ``margin`` voxels wider; the whole
    volume where nothing is non-zero."""
    filled = np.logical_or.reduce([np.asarray(volume) != 0 for volume in volumes])
    box = []
    for axis, size in enumerate(filled.shape):
        planes = np.flatnonzero(filled.any(axis=tuple(other for other in range(3) if other != axis)))
        first, last = (planes[0], planes[-1]) if len(planes) else (0, size - 1)
        box.append(slice(max(0, int(first) - margin), min(size, int(last) + 1 + margin)))
    return tuple(box)
