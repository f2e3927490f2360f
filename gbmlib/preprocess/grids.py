"""A prepared case and the way back: where its grid lies in the native volume, and volumes on it restored to there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from gbmlib.preprocess.resampling import bands, matrix, multiply, resample_to

#: About how much memory a slab of probabilities and what is made of it may take; one plane is the least.
SLAB_MB = 128


@dataclass(frozen=True)
class Grid:
    """Where a prepared grid lies in its native volume: all that the way back needs (:func:`restore`).

    Attributes:
        id: the case's id.
        shape: of the prepared volumes, their axes in the order of ``axes``.
        box: where the crop lies in the native volume (z, y, x).
        native_shape: (z, y, x) of the native volume.
        axes: which native axis (0, 1, 2 for z, y, x) each axis of the prepared volumes is.
    """

    id: str
    shape: tuple[int, int, int]
    box: tuple[slice, slice, slice]
    native_shape: tuple[int, int, int]
    axes: tuple[int, int, int] = (0, 1, 2)


@dataclass(frozen=True)
class Prepared:
    """A case as a network sees it, with what the way back needs.

    Attributes:
        images: float32 (channel, z, y, x), cropped, resampled, normalised; its axes in the order of ``axes``.
        label: uint8 (z, y, x) on the same grid, or None.
        id, box, native_shape, axes: as of :class:`Grid`.
    """

    id: str
    images: np.ndarray
    label: np.ndarray | None
    box: tuple[slice, slice, slice]
    native_shape: tuple[int, int, int]
    axes: tuple[int, int, int] = (0, 1, 2)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The grid's shape in voxels."""
        return self.images.shape[1:]

    @property
    def grid(self) -> Grid:
        """Where it lies in the native volume, without its voxels."""
        return Grid(self.id, self.shape, self.box, self.native_shape, self.axes)


def restore(volume: np.ndarray, grid: Grid | Prepared) -> np.ndarray:
    """Bring channels (channel, z, y, x) on the prepared grid back to the native one: linear, zero outside the crop.

    Exact where the grid was only cropped; float32.

    Raises:
        ValueError: the volume is not on the prepared grid.
    """
    native = resample_to(_to_native_axes(np.asarray(volume, np.float32), grid), _box_shape(grid), 1)
    if native.shape[1:] == tuple(grid.native_shape):
        return native
    out = np.zeros((len(volume), *grid.native_shape), np.float32)
    out[(slice(None), *grid.box)] = native
    return out


def restore_labels(
    probabilities: np.ndarray | torch.Tensor,
    grid: Grid | Prepared,
    to_labels: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The label map (z, y, x) in native space, uint8, of probabilities (channel, z, y, x) on the prepared grid.

    What ``to_labels(restore(probabilities, grid))`` gives, to rounding, slab by slab, so that probabilities of many
    classes are never held in native size. Outside the crop the label is 0.

    Args:
        probabilities: of any float type, on any device; they are resampled there.
        to_labels: from channels (channel, z, y, x) to labels (z, y, x), voxel by voxel: ``lambda p: p.argmax(0)``, or
            ``cohorts.regions.to_labels`` with its scheme. It is given float32 arrays.

    Raises:
        ValueError: the volume is not on the prepared grid.
    """
    native = _to_native_axes(torch.as_tensor(probabilities).detach(), grid)
    out = np.zeros(grid.native_shape, np.uint8)
    inside, start = out[grid.box], 0
    for slab in _slabs(native, _box_shape(grid)):
        inside[start : start + slab.shape[1]] = to_labels(slab.cpu().numpy())
        start += slab.shape[1]
    return out


def _slabs(volume: torch.Tensor, shape: tuple[int, ...]) -> Iterator[torch.Tensor]:
    """A volume resampled linearly to a shape, a few planes at a time, float32."""
    extents = tuple(volume.shape[1:])
    across, *in_plane = (None if old == new else matrix(old, new, 1) for old, new in zip(extents, shape, strict=True))
    # A slab is there in two sizes at once while an axis is resampled, and to_labels makes something of it.
    plane = len(volume) * max(shape[1], extents[1]) * max(shape[2], extents[2]) * 4
    height = max(1, int(SLAB_MB * 2**20 / (4 * plane)))
    slabs = ((n, min(n + height, shape[0]), n, n + height) for n in range(0, shape[0], height))
    for start, stop, low, high in slabs if across is None else bands(across, height):
        slab = volume[:, low:high].float()
        slab = slab if across is None else multiply(slab, across[start:stop, low:high], 0, banded=True)
        for axis, by in enumerate(in_plane, 1):
            slab = slab if by is None else multiply(slab, by, axis, banded=True)
        yield slab


def _to_native_axes(volume: np.ndarray | torch.Tensor, grid: Grid | Prepared) -> np.ndarray | torch.Tensor:
    """Channels with their axes in the order (z, y, x) again; a view."""
    if volume.ndim != 4 or tuple(volume.shape[1:]) != tuple(grid.shape):
        raise ValueError(
            f"case {grid.id}: the volume to restore has shape {tuple(volume.shape)} (channel, z, y, x), the prepared "
            f"grid {tuple(grid.shape)}; all but the number of channels must be the same"
        )
    back = (0, *(grid.axes.index(axis) + 1 for axis in range(3)))
    return volume.transpose(back) if isinstance(volume, np.ndarray) else volume.permute(back)


def _box_shape(grid: Grid | Prepared) -> tuple[int, ...]:
    return tuple(side.stop - side.start for side in grid.box)
