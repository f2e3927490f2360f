"""From a case to what a network sees, and the exact way back: crop, resample, normalise.

Resampling is a linear map along each axis, so it is three matrix products. The matrices come from SciPy's own
one-dimensional interpolation of unit impulses; the result is SciPy's to rounding, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage

from gbmlib.cohorts import Case

RESAMPLING = ("average", "spline")


@dataclass(frozen=True)
class Prepared:
    """A case as a network sees it, with what the way back needs.

    Attributes:
        id: the case's id.
        images: float32 (channel, z, y, x), cropped, resampled, normalised.
        label: uint8 (z, y, x) on the same grid, or None.
        box: where the crop lies in the native volume.
        native_shape: (z, y, x) of the native volume.
    """

    id: str
    images: np.ndarray
    label: np.ndarray | None
    box: tuple[slice, slice, slice]
    native_shape: tuple[int, int, int]


def prepare(case: Case, spacing: Sequence[float] | None = None, resampling: str = "average") -> Prepared:
    """Crop a case to its non-zero voxels, resample it to ``spacing`` (z, y, x, mm; None keeps its own), normalise it.

    ``"average"`` averages images over the new voxels and takes the label that most of the voxel holds: for a coarser
    grid, where point samples of a spline would alias. ``"spline"`` is nnU-Net's rule (Isensee et al. 2018, section
    2.2): third-order splines for images, nearest neighbour for labels.
    """
    if resampling not in RESAMPLING:
        raise ValueError(f"resampling {resampling!r}: unknown; use one of {RESAMPLING}")
    images = case.images()
    box = nonzero_box(images)
    images, shape = images[(slice(None), *box)], case.shape
    label = case.label()[box] if case.has_label else None
    if spacing is not None and not np.allclose(spacing, case.spacing):
        size = new_shape(images.shape[1:], case.spacing, spacing)
        mask = resample_to((images != 0).astype(np.float32), size, "area" if resampling == "average" else 0)
        images = resample_to(images, size, "area" if resampling == "average" else 3)
        images = np.where(mask >= 0.5, images, 0)
        if label is not None:
            label = majority(label, size) if resampling == "average" else resample_to(label[None], size, 0)[0]
    return Prepared(case.id, zscore(images), label, box, shape)


def restore(volume: np.ndarray, prepared: Prepared) -> np.ndarray:
    """Bring channels (channel, z, y, x) on the prepared grid back to the native one: linear, zero outside the crop.

    Exact where the grid was only cropped; float32.
    """
    size = tuple(part.stop - part.start for part in prepared.box)
    out = np.zeros((len(volume), *prepared.native_shape), np.float32)
    out[(slice(None), *prepared.box)] = resample_to(np.asarray(volume, np.float32), size, 1)
    return out


def nonzero_box(images: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box (z, y, x) that holds every non-zero voxel of any channel of images (channel, z, y, x).

    Raises:
        ValueError: the images are zero throughout.
    """
    filled = images.any(axis=0)
    if not filled.any():
        raise ValueError("the images are zero everywhere, so there is nothing to crop to; check the files of the case")
    box = []
    for axis in range(3):
        where = np.flatnonzero(filled.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(box)


def zscore(images: np.ndarray) -> np.ndarray:
    """Each channel less its mean, over its deviation, both taken over its non-zero voxels; zero stays zero.

    Adeniji and Liu (2019), section 4.1. A constant channel becomes zero rather than infinite.
    """
    out = np.zeros(images.shape, np.float32)
    for channel, normalised in zip(images, out, strict=True):
        inside = channel != 0
        values = channel[inside].astype(np.float64)
        if values.size:
            normalised[inside] = (values - values.mean()) / max(values.std(), 1e-8)
    return out


def new_shape(shape: Sequence[int], spacing: Sequence[float], new_spacing: Sequence[float]) -> tuple[int, int, int]:
    """The shape at another spacing: round(shape x spacing / new spacing), at least one voxel."""
    return tuple(max(1, round(size * old / new)) for size, old, new in zip(shape, spacing, new_spacing, strict=True))


def resample(volume: np.ndarray, spacing: Sequence[float], new_spacing: Sequence[float], order: int | str = 3):
    """Resample (channel, z, y, x) from one spacing to another (z, y, x, mm); see :func:`resample_to`."""
    return resample_to(volume, new_shape(volume.shape[1:], spacing, new_spacing), order)


def resample_to(volume: np.ndarray, shape: Sequence[int], order: int | str = 3) -> np.ndarray:
    """Resample (channel, z, y, x) to a shape (z, y, x) that covers the same box; edges extend outwards.

    ``order`` 0 picks the nearest voxel and keeps the dtype (labels); 1 is linear; 3 the cubic spline that
    ``skimage.transform.resize(mode="edge", clip=False)`` and ``scipy.ndimage.zoom(grid_mode=True, mode="nearest")``
    compute (it may overshoot the range of its input); ``"area"`` averages over each new voxel. All but 0 give float32.

    Raises:
        ValueError: the volume has not four axes, or the order is unknown.
    """
    if volume.ndim != 4:
        raise ValueError(f"resampling takes (channel, z, y, x); this volume has shape {volume.shape}")
    if order not in (0, 1, 3, "area"):
        raise ValueError(f"order {order!r}: unknown; use 0, 1, 3 or 'area'")
    if tuple(volume.shape[1:]) == tuple(shape):
        return volume.copy() if order == 0 else volume.astype(np.float32)
    if order == 0:
        picks = [_nearest(old, new) for old, new in zip(volume.shape[1:], shape, strict=True)]
        return volume[:, picks[0][:, None, None], picks[1][:, None], picks[2]]
    out = torch.from_numpy(np.ascontiguousarray(volume, np.float32))
    # Axes that shrink most go first: the later products are then smaller.
    for axis in sorted(range(3), key=lambda axis: shape[axis] / volume.shape[axis + 1]):
        matrix = torch.from_numpy(_matrix(volume.shape[axis + 1], int(shape[axis]), order))
        out = torch.movedim(torch.tensordot(out, matrix, dims=([axis + 1], [1])), -1, axis + 1)
    return out.contiguous().numpy()


def majority(label: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A label map (z, y, x) on a coarser grid: the value that fills most of each new voxel; the lower of equals."""
    values = np.unique(label)
    shares = resample_to(np.stack([label == value for value in values]).astype(np.float32), shape, "area")
    return values[shares.argmax(0)].astype(label.dtype)


def _centres(old: int, new: int) -> np.ndarray:
    """Centres of the new voxels in the old grid's index coordinates."""
    return (np.arange(new) + 0.5) * (old / new) - 0.5


def _nearest(old: int, new: int) -> np.ndarray:
    return np.clip(np.floor(_centres(old, new) + 0.5).astype(int), 0, old - 1)


@lru_cache(maxsize=64)
def _matrix(old: int, new: int, order: int | str) -> np.ndarray:
    """The linear map (new, old) along one axis, float32."""
    if order == "area":
        edges = np.arange(new + 1) * (old / new)
        low, high = np.maximum(edges[:-1, None], np.arange(old)), np.minimum(edges[1:, None], np.arange(1, old + 1))
        shares = np.clip(high - low, 0, None)
        return (shares / shares.sum(1, keepdims=True)).astype(np.float32)
    at = _centres(old, new)[None]
    impulses = np.eye(old)
    columns = [ndimage.map_coordinates(impulse, at, order=order, mode="nearest") for impulse in impulses]
    return np.stack(columns, axis=1).astype(np.float32)
