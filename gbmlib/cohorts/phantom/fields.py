"""Smooth random functions of position in millimetres, and the grids on which they are looked at.

A phantom has to be the same patient at every voxel size. So nothing that belongs to the patient is drawn voxel by
voxel: it is drawn as the coefficients of a cubic B-spline whose knots lie a fixed number of millimetres apart, and a
voxel sees the *mean* of that function over its own extent. The mean is exact to quadrature, separable, and three small
matrix products an evaluation.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

#: Extent of the BraTS frame (z, y, x) in mm; position 0 is the centre of its first 1 mm voxel.
FRAME = (155, 240, 240)

_NODES, _NODE_WEIGHTS = (array / 2 for array in np.polynomial.legendre.leggauss(3))
# A sum of random coefficients has this standard deviation along each axis: the root of the integral of the squared
# cubic B-spline.
_AXIS_DEVIATION = (151 / 315) ** 0.5


@dataclass(frozen=True)
class VoxelGrid:
    """Voxel centres: shape (z, y, x), spacing in mm, and the position in mm of the first voxel's centre."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    start: tuple[float, float, float]

    @classmethod
    def of_frame(cls, spacing: Sequence[float]) -> VoxelGrid:
        """The whole BraTS frame at a spacing (z, y, x) in mm: 155 x 240 x 240 at 1 mm, 52 x 80 x 80 at 3 mm."""
        shape = tuple(max(1, round(extent / step)) for extent, step in zip(FRAME, spacing, strict=True))
        return cls(shape, tuple(map(float, spacing)), tuple((step - 1) / 2 for step in spacing))

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions in mm along z, y and x, shaped to broadcast against each other."""
        lines = [at + step * np.arange(n) for n, step, at in zip(self.shape, self.spacing, self.start, strict=True)]
        return lines[0][:, None, None], lines[1][None, :, None], lines[2][None, None, :]

    def crop(self, box: Sequence[slice]) -> VoxelGrid:
        """The part of the grid inside a box of slices."""
        bounds = [extent.indices(size)[:2] for extent, size in zip(box, self.shape, strict=True)]
        return VoxelGrid(
            tuple(stop - first for first, stop in bounds),
            self.spacing,
            tuple(at + first * step for (first, _), at, step in zip(bounds, self.start, self.spacing, strict=True)),
        )

    def box(self, low: Sequence[float], high: Sequence[float]) -> tuple[slice, slice, slice]:
        """The slices that hold every voxel centre between two positions in mm, clipped to the grid, never empty."""
        slices = []
        for first, last, size, step, at in zip(low, high, self.shape, self.spacing, self.start, strict=True):
            begin = min(max(int(np.floor((first - at) / step)), 0), size - 1)
            end = max(min(int(np.ceil((last - at) / step)) + 1, size), begin + 1)
            slices.append(slice(begin, end))
        return tuple(slices)


@dataclass(frozen=True)
class Field:
    """A cubic B-spline: coefficients (z, y, x), the distance of its knots in mm, the position of the first knot."""

    coefficients: np.ndarray
    pitch: float
    start: tuple[float, float, float]

    def on(self, grid: VoxelGrid) -> np.ndarray:
        """The field's mean over each voxel of a grid, float64 (z, y, x)."""
        out = self.coefficients
        for axis in range(3):
            along = (grid.shape[axis], grid.spacing[axis], grid.start[axis])
            matrix = _weights(*along, self.coefficients.shape[axis], self.pitch, self.start[axis])
            out = np.moveaxis(np.tensordot(matrix, out, (1, axis)), 0, axis)
        return out


@lru_cache(maxsize=256)
def _weights(size: int, spacing: float, start: float, knots: int, pitch: float, first: float) -> np.ndarray:
    """The weight of each knot in the mean over each voxel along one axis: (voxel, knot)."""
    centres = start + spacing * np.arange(size)
    out = np.zeros((size, knots))
    for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
        position = (centres + node * spacing - first) / pitch
        # Past the last knot the function keeps its border value.
        distance = np.abs(np.clip(position, 0, knots - 1)[:, None] - np.arange(knots))
        near, far = np.minimum(distance, 1), np.clip(2 - distance, 0, 1)
        out += weight * np.where(distance < 1, 2 / 3 - near**2 + near**3 / 2, far**3 / 6)
    return out / out.sum(1, keepdims=True)


def generator(*key: int | str) -> np.random.Generator:
    """The random generator that belongs to a key, such as (seed, number of the case, purpose)."""
    return np.random.Generator(np.random.PCG64([zlib.crc32(k.encode()) if isinstance(k, str) else k for k in key]))


def noise(random: np.random.Generator, pitch: float, strength: float = 1.0) -> Field:
    """A random field over the frame with knots ``pitch`` mm apart; ``strength`` is its standard deviation."""
    knots = tuple(int(np.ceil(extent / pitch)) + 4 for extent in FRAME)
    coefficients = random.standard_normal(knots) * (strength / _AXIS_DEVIATION**3)
    return Field(coefficients, float(pitch), (-1.5 * pitch,) * 3)


def sampled(values: np.ndarray, grid: VoxelGrid) -> Field:
    """The smooth function whose coefficients are values on an isotropic grid (it blurs by 0.6 of the spacing)."""
    return Field(values, grid.spacing[0], grid.start)


def inside(distance: np.ndarray, width: float) -> np.ndarray:
    """The share of a voxel ``width`` mm wide below a level set whose signed distance from its centre is given."""
    return np.clip(0.5 - distance / width, 0, 1)


def arrival(times: np.ndarray, cost: np.ndarray, spacing: float, steps: int) -> np.ndarray:
    """When a front that starts from ``times`` (inf where it has not been) arrives at each voxel.

    Solves the eikonal equation |grad T| = cost by ``steps`` simultaneous first-order upwind updates (Rouy and Tourin,
    1992), each of which carries the front one voxel further; the result does not depend on any order of voxels.

    Args:
        times: (z, y, x) start times, inf elsewhere.
        cost: (z, y, x) time per mm.
        spacing: mm, the same along each axis.
    """
    out = np.pad(times, 1, constant_values=np.inf)
    begun = np.argwhere(np.isfinite(times))
    if not len(begun):
        return times.copy()
    low, high = begun.min(0), begun.max(0) + 1
    for _ in range(steps):
        # The front can have moved one voxel in each direction since the last step: look no further.
        low, high = np.maximum(low - 1, 0), np.minimum(high + 1, times.shape)
        front = tuple(slice(first + 1, last + 1) for first, last in zip(low, high, strict=True))
        window = out[tuple(slice(first, last + 2) for first, last in zip(low, high, strict=True))]
        new = _upwind(window, spacing * cost[tuple(map(slice, low, high))])
        out[front] = np.fmin(out[front], new)
    return out[1:-1, 1:-1, 1:-1]


def _upwind(times: np.ndarray, step: np.ndarray) -> np.ndarray:
    """One update of all voxels from their neighbours' times, which have a border of one voxel more."""
    core = slice(1, -1)
    a = np.minimum(times[:-2, core, core], times[2:, core, core])
    b = np.minimum(times[core, :-2, core], times[core, 2:, core])
    c = np.minimum(times[core, core, :-2], times[core, core, 2:])
    low, high = np.minimum(a, b), np.maximum(a, b)
    first, third = np.minimum(low, c), np.maximum(high, c)
    second = np.maximum(low, np.minimum(high, c))
    with np.errstate(invalid="ignore"):
        one = first + step
        two = (first + second + np.sqrt(2 * step**2 - (first - second) ** 2)) / 2
        total = first + second + third
        three = (total + np.sqrt(total**2 - 3 * (first**2 + second**2 + third**2 - step**2))) / 3
    new = np.where(one <= second, one, np.where(two <= third, two, three))
    return np.where(np.isfinite(first), new, np.inf)


def look_up(volume: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Values of a volume at fractional indices (3, points), linear, float64; beyond its border the border's value."""
    return ndimage.map_coordinates(volume, index, np.float64, 1, mode="nearest", prefilter=False)
