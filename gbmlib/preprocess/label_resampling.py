"""Label maps on another grid: a label is never mixed with another, whichever way its place is found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gbmlib.preprocess.resampling import LABELS, centres, nearest, resample_to, take

#: Voxels where labels meet that are looked at together, so that memory stays bounded.
TOGETHER = 2**20

#: Shares that differ by less are equal, whatever the rounding.
TIE = 1e-9


def resample_labels(
    label: np.ndarray, shape: Sequence[int], how: str = "nearest", apart: int | None = None
) -> np.ndarray:
    """A label map (z, y, x) on a grid of another shape that covers the same box; the dtype stays.

    Args:
        how: ``"nearest"`` takes the nearest voxel (Isensee et al. 2018, section 2.2); ``"linear"`` interpolates each
            label on its own and takes the largest, of equals the nearest voxel's, else the lowest (nnU-Net's public
            code; its first versions took any label that reached one half, the highest last, and left background where
            none did); ``"majority"`` takes the label that fills most of each new voxel (:func:`majority`).
        apart: an axis along which ``"linear"`` takes the nearest voxel (``preprocess.resampling.coarse_axis``).

    Raises:
        ValueError: an unknown way, or a label map that has not three axes.
    """
    if how not in LABELS:
        raise ValueError(f"labels {how!r}: unknown; use one of {LABELS}")
    if label.ndim != 3:
        raise ValueError(f"a label map has the axes (z, y, x); this one has shape {label.shape}")
    if how == "majority":
        return majority(label, shape)
    if how == "nearest" or label.shape == tuple(shape):
        return resample_to(label[None], shape, 0)[0]
    return _linear(label, shape, apart)


def majority(label: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A label map (z, y, x) on a coarser grid: the value that fills most of each new voxel; the lower of equals."""
    values = np.flatnonzero(np.bincount(label.ravel()))
    shares = resample_to(np.stack([label == value for value in values]).astype(np.float32), shape, "area")
    return values[shares.argmax(0)].astype(label.dtype)


def _linear(label: np.ndarray, shape: Sequence[int], apart: int | None) -> np.ndarray:
    """Nearest neighbours, but for new voxels between old ones of several labels: the two along each axis, eight in all.

    Where those eight agree there is nothing to interpolate, and that is nearly everywhere.
    """
    sizes = [(old, int(new)) for old, new in zip(label.shape, shape, strict=True)]
    places = [_neighbours(*size, axis == apart) for axis, size in enumerate(sizes)]
    least = most = label
    for axis in range(3):
        if axis != apart:
            least, most = (_paired(volume, axis, of) for volume, of in ((least, np.minimum), (most, np.maximum)))
    out = take(label, [nearest(*size) for size in sizes])
    mixed = np.flatnonzero(take(least != most, [below for below, _, _ in places]))
    flat = out.reshape(-1)
    for start in range(0, len(mixed), TOGETHER):
        some = mixed[start : start + TOGETHER]
        flat[some] = _largest(label, np.unravel_index(some, out.shape), places, flat[some])
    return out


def _paired(volume: np.ndarray, axis: int, of: np.ufunc) -> np.ndarray:
    """The least, or the most, of each voxel and the next along an axis; of the last, itself."""
    out = volume.copy()
    here, following = (
        tuple(part if n == axis else slice(None) for n in range(3)) for part in (slice(-1), slice(1, None))
    )
    of(volume[here], volume[following], out=out[here])
    return out


def _neighbours(old: int, new: int, apart: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new voxel of an axis the old ones below and above its centre, and the weight of the upper one."""
    if apart:
        only = nearest(old, new)
        return only, only, np.zeros(new)
    centre = np.clip(centres(old, new), 0, old - 1)
    below = np.floor(centre).astype(int)
    return below, np.minimum(below + 1, old - 1), centre - below


def _largest(
    label: np.ndarray,
    at: Sequence[np.ndarray],
    places: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    nearest_label: np.ndarray,
) -> np.ndarray:
    """The label of the largest share at some new voxels, by linear interpolation of each label."""
    corners, weights = [], []
    sides = [
        ((below[i], 1 - upper[i]), (above[i], upper[i])) for i, (below, above, upper) in zip(at, places, strict=True)
    ]
    for z, weight_z in sides[0]:
        for y, weight_y in sides[1]:
            for x, weight_x in sides[2]:
                corners.append(label[z, y, x])
                weights.append(weight_z * weight_y * weight_x)
    best, share_of_nearest = np.zeros(len(nearest_label)), np.zeros(len(nearest_label))
    out = nearest_label.copy()
    for value in np.unique(corners):
        share = sum(weight * (corner == value) for corner, weight in zip(corners, weights, strict=True))
        share_of_nearest[nearest_label == value] = share[nearest_label == value]
        more = share > best + TIE
        out[more], best[more] = value, share[more]
    tied = share_of_nearest >= best - TIE
    out[tied] = nearest_label[tied]
    return out
