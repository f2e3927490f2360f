"""Resampling to another grid: cubic splines, linear, nearest, or averages, on the processor and on a graphics card.

Each is a linear map along each axis, so a volume takes three matrix products. The matrices come from SciPy's own
one-dimensional interpolation of unit impulses; the result is SciPy's to rounding, at a fraction of the cost.

Two rules for a case, by name (:data:`RESAMPLING`): ``"average"`` averages images over the new voxels and takes the
label that fills most of each, for a coarser grid, where point samples of a spline would alias; ``"spline"`` is the text
of Isensee et al. (2018, section 2.2), cubic splines for images and nearest neighbour for labels. (nnU-Net's public code
also takes a coarse axis apart, clips what overshoots, and interpolates each label linearly.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from scipy import ndimage

#: A volume in NumPy or in torch; what comes back is of the same kind, on the same device.
Volume = TypeVar("Volume", np.ndarray, torch.Tensor)

RESAMPLING = ("average", "spline")
ORDERS = (0, 1, 3, "area")

#: Rows of a spline's matrix that are multiplied at once. A row has weights over 1e-8 for some 30 voxels only, so a
#: band of rows leaves most of the volume aside.
BAND = 32
NEGLIGIBLE = 1e-8


def new_shape(shape: Sequence[int], spacing: Sequence[float], new_spacing: Sequence[float]) -> tuple[int, int, int]:
    """The shape at another spacing: round(shape x spacing / new spacing), at least one voxel."""
    return tuple(max(1, round(size * old / new)) for size, old, new in zip(shape, spacing, new_spacing, strict=True))


def resample(volume: Volume, spacing: Sequence[float], new_spacing: Sequence[float], order: int | str = 3) -> Volume:
    """Resample (channel, z, y, x) from one spacing to another (z, y, x, mm); see :func:`resample_to`."""
    return resample_to(volume, new_shape(volume.shape[1:], spacing, new_spacing), order)


def resample_to(volume: Volume, shape: Sequence[int], order: int | str = 3) -> Volume:
    """Resample (channel, z, y, x) to a shape (z, y, x) that covers the same box; edges extend outwards.

    Args:
        volume: an array, or a tensor on any device (then the result is a tensor there, without gradient).
        order: 0 picks the nearest voxel and keeps the dtype (labels); 1 is linear; 3 the cubic spline that
            ``skimage.transform.resize(mode="edge", clip=False)`` and ``scipy.ndimage.zoom(grid_mode=True,
            mode="nearest")`` compute (it may overshoot the range of its input); ``"area"`` averages over each new
            voxel. All but 0 give float32.

    Raises:
        ValueError: the volume has not four axes, or the order is unknown.
    """
    if volume.ndim != 4:
        raise ValueError(f"resampling takes (channel, z, y, x); this volume has shape {tuple(volume.shape)}")
    if order not in ORDERS:
        raise ValueError(f"order {order!r}: unknown; use 0, 1, 3 or 'area'")
    shape = tuple(int(size) for size in shape)
    if isinstance(volume, np.ndarray):
        if order == 0:
            return _nearest(volume, shape)
        return resample_to(torch.from_numpy(np.ascontiguousarray(volume, np.float32)), shape, order).numpy()
    out = volume.detach() if order == 0 else volume.detach().float()
    # Axes that shrink most go first: the later products are then smaller.
    for axis in sorted(range(3), key=lambda axis: shape[axis] / volume.shape[axis + 1]):
        old, new = volume.shape[axis + 1], shape[axis]
        if old != new and order == 0:
            out = out.index_select(axis + 1, torch.from_numpy(nearest(old, new)).to(volume.device))
        elif old != new:
            out = multiply(out, matrix(old, new, order), axis, banded=order == 3)
    return out.clone() if out.data_ptr() == volume.data_ptr() else out.contiguous()


def resample_labels(label: np.ndarray, shape: Sequence[int], resampling: str) -> np.ndarray:
    """A label map (z, y, x) on a grid of another shape that covers the same box; the dtype stays.

    Labels are never mixed: ``"spline"`` takes the nearest voxel's, ``"average"`` the one that fills most of each new
    voxel, the lower of equals.
    """
    if resampling == "spline":
        return resample_to(label[None], shape, 0)[0]
    values = np.flatnonzero(np.bincount(label.ravel()))
    shares = resample_to(np.stack([label == value for value in values]).astype(np.float32), shape, "area")
    return values[shares.argmax(0)].astype(label.dtype)


def _nearest(volume: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The nearest voxels, axis after axis: ten times faster than all at once."""
    ratios = [new / old for old, new in zip(volume.shape[1:], shape, strict=True)]
    out = volume
    # Axes that shrink first, so that less is left; of those that grow the last first, so that whole rows follow.
    for axis in sorted(range(3), key=lambda axis: (ratios[axis], axis if ratios[axis] < 1 else -axis)):
        out = out.take(nearest(volume.shape[axis + 1], shape[axis]), axis + 1)
    return out


def multiply(volume: torch.Tensor, by: np.ndarray, axis: int, banded: bool = False) -> torch.Tensor:
    """A volume (channel, z, y, x) with one axis multiplied by a matrix (new, old), in full float32 precision.

    ``banded`` leaves out what the matrix does not weigh: on a processor that takes half the time, and may differ in the
    last digit. (A graphics card is faster with one large product.)
    """
    with _float32(volume.device):
        if volume.device.type == "cpu":
            return _multiply_bands(volume.contiguous(), by, axis, BAND if banded else len(by))
        weights = torch.from_numpy(by).to(volume.device)
        return torch.movedim(torch.tensordot(volume, weights, dims=([axis + 1], [1])), -1, axis + 1)


def _multiply_bands(volume: torch.Tensor, by: np.ndarray, axis: int, height: int) -> torch.Tensor:
    """Band after band of the matrix, each with that part of the volume where it has weights, without a copy."""
    channels, *extents = volume.shape
    new = len(by)
    if axis == 2:
        rows, out = volume.view(-1, extents[2]), volume.new_empty(channels * extents[0] * extents[1], new)
        for start, stop, low, high in bands(by, height):
            torch.mm(rows[:, low:high], torch.from_numpy(by[start:stop, low:high]).T, out=out[:, start:stop])
    else:
        # One product for each channel along z, for each plane along y.
        planes = volume.view(-1, extents[axis], int(np.prod(extents[axis + 1 :])))
        out = volume.new_empty(len(planes), new, planes.shape[2])
        for start, stop, low, high in bands(by, height):
            weights = torch.from_numpy(by[start:stop, low:high]).expand(len(planes), -1, -1)
            torch.bmm(weights, planes[:, low:high], out=out[:, start:stop])
    extents[axis] = new
    return out.view(channels, *extents)


def bands(by: np.ndarray, height: int = BAND) -> Iterator[tuple[int, int, int, int]]:
    """Rows (start, stop) of a matrix and the columns (low, high) where they have weights that count."""
    for start in range(0, len(by), height):
        stop = min(start + height, len(by))
        [columns] = np.nonzero((np.abs(by[start:stop]) > NEGLIGIBLE).any(0))
        yield start, stop, int(columns[0]), int(columns[-1]) + 1


@contextmanager
def _float32(device: torch.device) -> Iterator[None]:
    """Compute products of float32 in float32, whatever a training has asked for: no mixed precision, no TF32."""
    settings = torch.backends.cuda.matmul if device.type == "cuda" else torch.backends.mkldnn.matmul
    precision = settings.fp32_precision
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        try:
            settings.fp32_precision = "ieee"
            yield
        finally:
            settings.fp32_precision = precision


def centres(old: int, new: int) -> np.ndarray:
    """Centres of the new voxels in the old grid's index coordinates."""
    return (np.arange(new) + 0.5) * (old / new) - 0.5


def nearest(old: int, new: int) -> np.ndarray:
    """For each new voxel of an axis the nearest old one; of two as near, the upper."""
    return np.clip(np.floor(centres(old, new) + 0.5).astype(int), 0, old - 1)


@lru_cache(maxsize=64)
def matrix(old: int, new: int, order: int | str) -> np.ndarray:
    """The linear map (new, old) along one axis, float32; order 1, 3 or ``"area"``."""
    if order == "area":
        edges = np.arange(new + 1) * (old / new)
        low, high = np.maximum(edges[:-1, None], np.arange(old)), np.minimum(edges[1:, None], np.arange(1, old + 1))
        shares = np.clip(high - low, 0, None)
        return (shares / shares.sum(1, keepdims=True)).astype(np.float32)
    at = centres(old, new)[None]
    columns = [ndimage.map_coordinates(impulse, at, order=order, mode="nearest") for impulse in np.eye(old)]
    return np.stack(columns, axis=1).astype(np.float32)
