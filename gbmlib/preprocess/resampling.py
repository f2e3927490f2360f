"""Resampling to another grid: cubic splines, linear, nearest, or averages, on the processor and on a graphics card.

Each is a linear map along each axis, so a volume takes three matrix products. The matrices come from SciPy's own
one-dimensional interpolation of unit impulses; the result is SciPy's to rounding, at a fraction of the cost.

Where nnU-Net's public code resamples (``resample_data_or_seg``, in both of its versions) three things differ from a
plain spline, and each is an option here: beyond a spacing ratio of 3 the coarse axis goes apart, by nearest neighbour
(``apart``, :func:`coarse_axis`); cubic results are clipped to the range of their input, since scikit-image's ``resize``
does so unless told otherwise (``clip``); and labels are interpolated linearly, each label on its own, where the paper
says nearest neighbour (:func:`resample_labels`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from scipy import ndimage

#: A volume in NumPy or in torch; what comes back is of the same kind, on the same device.
Volume = TypeVar("Volume", np.ndarray, torch.Tensor)

ORDERS = (0, 1, 3, "area")
LABELS = ("nearest", "linear", "majority")

#: Beyond this ratio of the largest to the smallest spacing nnU-Net's public code takes the coarse axis apart.
ANISOTROPIC = 3.0

#: Two spacings are equal within this share: files store 0.6 as 0.6000003.
SLACK = 1e-3

#: Rows of a spline's matrix that are multiplied at once. A row has weights over 1e-8 for some 30 voxels only, so a
#: band of rows leaves most of the volume aside.
BAND = 32
NEGLIGIBLE = 1e-8


@dataclass(frozen=True)
class Rule:
    """How images and labels of a case get to another grid.

    Attributes:
        images: the order of :func:`resample_to`.
        labels: the way of :func:`resample_labels`.
        anisotropy: the ratio of spacings beyond which the coarse axis goes apart; None: never.
        clip: whether images stay within their range.
    """

    images: int | str
    labels: str
    anisotropy: float | None = None
    clip: bool = False


#: ``"average"`` for a coarser grid, where point samples of a spline would alias; ``"spline"``, the text of Isensee et
#: al. (2018, section 2.2); ``"spline_apart"``, the same with strongly anisotropic axes apart; ``"public_code"``, all
#: that nnU-Net's public code does.
RULES = {
    "average": Rule("area", "majority"),
    "spline": Rule(3, "nearest"),
    "spline_apart": Rule(3, "nearest", ANISOTROPIC),
    "public_code": Rule(3, "linear", ANISOTROPIC, clip=True),
}
RESAMPLING = tuple(RULES)


def new_shape(shape: Sequence[int], spacing: Sequence[float], new_spacing: Sequence[float]) -> tuple[int, int, int]:
    """The shape at another spacing: round(shape x spacing / new spacing), at least one voxel."""
    return tuple(max(1, round(size * old / new)) for size, old, new in zip(shape, spacing, new_spacing, strict=True))


def coarse_axis(
    spacing: Sequence[float], new_spacing: Sequence[float], ratio: float | None = ANISOTROPIC
) -> int | None:
    """The axis that is resampled apart, or None: nnU-Net's rule (``determine_do_sep_z_and_axis``).

    The spacing decides whose largest step is over ``ratio`` times its smallest: that of the volume, or else the new
    one. Its largest step says which axis. Where two axes share that step, as in (0.2, 1.3, 1.3), there is no such axis.
    """
    if ratio is None:
        return None
    for steps in (spacing, new_spacing):
        if max(steps) > ratio * min(steps):
            coarse = [axis for axis in range(3) if steps[axis] * (1 + SLACK) >= max(steps)]
            return coarse[0] if len(coarse) == 1 else None
    return None


def resample(
    volume: Volume,
    spacing: Sequence[float],
    new_spacing: Sequence[float],
    order: int | str = 3,
    anisotropy: float | None = None,
    clip: bool = False,
) -> Volume:
    """Resample (channel, z, y, x) from one spacing to another (z, y, x, mm); see :func:`resample_to`.

    ``anisotropy`` is the ratio of spacings beyond which the coarse axis goes apart (:func:`coarse_axis`).
    """
    size = new_shape(volume.shape[1:], spacing, new_spacing)
    return resample_to(volume, size, order, coarse_axis(spacing, new_spacing, anisotropy), clip)


def resample_to(
    volume: Volume, shape: Sequence[int], order: int | str = 3, apart: int | None = None, clip: bool = False
) -> Volume:
    """Resample (channel, z, y, x) to a shape (z, y, x) that covers the same box; edges extend outwards.

    Args:
        volume: an array, or a tensor on any device (then the result is a tensor there, without gradient).
        order: 0 picks the nearest voxel and keeps the dtype (labels); 1 is linear; 3 the cubic spline that
            ``skimage.transform.resize(mode="edge", clip=False)`` and ``scipy.ndimage.zoom(grid_mode=True,
            mode="nearest")`` compute (it may overshoot the range of its input); ``"area"`` averages over each new
            voxel. All but 0 give float32.
        apart: an axis (0 to 2 for z, y, x) along which the nearest voxel is picked, whatever the order.
        clip: keep each channel within the range of its input, as scikit-image and so nnU-Net do by default; with
            ``apart``, each slice across that axis within its own.

    Raises:
        ValueError: the volume has not four axes, or the order or the axis is unknown.
    """
    if volume.ndim != 4:
        raise ValueError(f"resampling takes (channel, z, y, x); this volume has shape {tuple(volume.shape)}")
    if order not in ORDERS:
        raise ValueError(f"order {order!r}: unknown; use 0, 1, 3 or 'area'")
    if apart not in (None, 0, 1, 2):
        raise ValueError(f"apart {apart!r}: no axis; use 0, 1 or 2 for z, y or x, or None")
    if isinstance(volume, np.ndarray):
        if tuple(volume.shape[1:]) == tuple(shape):
            return volume.copy() if order == 0 else volume.astype(np.float32)
        if order == 0:
            return take(volume, [nearest(old, int(new)) for old, new in zip(volume.shape[1:], shape, strict=True)])
        return _resample(torch.from_numpy(np.ascontiguousarray(volume, np.float32)), shape, order, apart, clip).numpy()
    if tuple(volume.shape[1:]) == tuple(shape):
        return volume.detach().clone() if order == 0 else volume.detach().to(torch.float32, copy=True)
    return _resample(volume.detach() if order == 0 else volume.detach().float(), shape, order, apart, clip)


def _resample(
    volume: torch.Tensor, shape: Sequence[int], order: int | str, apart: int | None, clip: bool
) -> torch.Tensor:
    out, bounds = volume, None
    if clip and order != 0:
        across = [axis + 1 for axis in range(3) if axis != apart]
        bounds = [volume.amin(across, keepdim=True), volume.amax(across, keepdim=True)]
    # Axes that shrink most go first: the later products are then smaller.
    for axis in sorted(range(3), key=lambda axis: shape[axis] / volume.shape[axis + 1]):
        old, new = volume.shape[axis + 1], int(shape[axis])
        if old == new:
            continue
        if order == 0 or axis == apart:
            pick = torch.from_numpy(nearest(old, new)).to(volume.device)
            out = out.index_select(axis + 1, pick)
            bounds = bounds and [bound.index_select(axis + 1, pick) if axis == apart else bound for bound in bounds]
        else:
            out = multiply(out, matrix(old, new, order), axis, banded=order == 3)
    return (out if bounds is None else out.clamp(*bounds)).contiguous()


def take(volume: np.ndarray, picks: Sequence[np.ndarray]) -> np.ndarray:
    """The voxels at these places along the last three axes, axis after axis: ten times faster than all at once."""
    ratios = [len(pick) / old for pick, old in zip(picks, volume.shape[-3:], strict=True)]
    # Axes that shrink first, so that less is left; of those that grow the last first, so that whole rows follow.
    for axis in sorted(range(3), key=lambda axis: (ratios[axis], axis if ratios[axis] < 1 else -axis)):
        volume = volume.take(picks[axis], axis - 3)
    return volume


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
    channels, *sizes = volume.shape
    new = len(by)
    if axis == 2:
        rows, out = volume.view(-1, sizes[2]), volume.new_empty(channels * sizes[0] * sizes[1], new)
        for start, stop, low, high in bands(by, height):
            torch.mm(rows[:, low:high], torch.from_numpy(by[start:stop, low:high]).T, out=out[:, start:stop])
    else:
        # One product for each channel along z, for each plane along y.
        planes = volume.view(-1, sizes[axis], int(np.prod(sizes[axis + 1 :])))
        out = volume.new_empty(len(planes), new, planes.shape[2])
        for start, stop, low, high in bands(by, height):
            weights = torch.from_numpy(by[start:stop, low:high]).expand(len(planes), -1, -1)
            torch.bmm(weights, planes[:, low:high], out=out[:, start:stop])
    sizes[axis] = new
    return out.view(channels, *sizes)


def bands(by: np.ndarray, height: int = BAND) -> Iterator[tuple[int, int, int, int]]:
    """Rows (start, stop) of a matrix and the columns (low, high) where they have weights that count."""
    for start in range(0, len(by), height):
        stop = min(start + height, len(by))
        [columns] = np.nonzero((np.abs(by[start:stop]) > NEGLIGIBLE).any(0))
        yield start, stop, int(columns[0]), int(columns[-1]) + 1


@contextmanager
def _float32(device: torch.device) -> Iterator[None]:
    """Products of float32 in float32, whatever a training has asked for: no mixed precision, no TF32."""
    settings = torch.backends.cuda.matmul if device.type == "cuda" else torch.backends.mkldnn.matmul
    kept = settings.fp32_precision
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        try:
            settings.fp32_precision = "ieee"
            yield
        finally:
            settings.fp32_precision = kept


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
    impulses = np.eye(old)
    columns = [ndimage.map_coordinates(impulse, at, order=order, mode="nearest") for impulse in impulses]
    return np.stack(columns, axis=1).astype(np.float32)
