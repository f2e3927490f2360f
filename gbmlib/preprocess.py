"""From a case to what a network sees, and the exact way back: crop, resample, normalise.

Resampling is a linear map along each axis, so it is three matrix products. The matrices come from SciPy's own
one-dimensional interpolation of unit impulses; the result is SciPy's to rounding, at a fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage

from gbmlib.cohorts import Case, CaseError

RESAMPLING = ("average", "spline")
NORMALISATION = ("image", "dataset", "position")


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


@dataclass(frozen=True)
class Statistics:
    """Means and deviations of the training cases, by which every case is normalised alike (:func:`statistics`).

    Attributes:
        mean, deviation: float32, (channel, 1, 1, 1) over a whole data set, or (channel, z, y, x) for each voxel
            position of the native grid.
    """

    mean: np.ndarray
    deviation: np.ndarray


def prepare(
    case: Case,
    spacing: Sequence[float] | None = None,
    resampling: str = "average",
    statistics: Statistics | None = None,
) -> Prepared:
    """Crop a case to its non-zero voxels, resample it to ``spacing`` (z, y, x, mm; None keeps its own), normalise it.

    ``"average"`` averages images over the new voxels and takes the label that most of the voxel holds: for a coarser
    grid, where point samples of a spline would alias. ``"spline"`` is nnU-Net's rule (Isensee et al. 2018, section
    2.2): third-order splines for images, nearest neighbour for labels.

    Without ``statistics`` each image is normalised by its own mean and deviation, after resampling (:func:`zscore`);
    with them by those of the training cases, before it, since they belong to the native grid (:func:`standardise`).

    Raises:
        CaseError: the statistics are of other channels or of another grid than the case.
        ValueError: an unknown resampling, or images that are zero throughout.
    """
    if resampling not in RESAMPLING:
        raise ValueError(f"resampling {resampling!r}: unknown; use one of {RESAMPLING}")
    images = case.images()
    box = nonzero_box(images)
    images, shape = images[(slice(None), *box)], case.shape
    label = case.label()[box] if case.has_label else None
    brain = images != 0
    if statistics is not None:
        images = standardise(images, _of_box(statistics, case, (len(images), *shape), box))
    if spacing is not None and not np.allclose(spacing, case.spacing):
        size = new_shape(images.shape[1:], case.spacing, spacing)
        mask = resample_to(brain.astype(np.float32), size, "area" if resampling == "average" else 0)
        images = resample_to(images, size, "area" if resampling == "average" else 3)
        images = np.where(mask >= 0.5, images, 0)
        if label is not None:
            label = majority(label, size) if resampling == "average" else resample_to(label[None], size, 0)[0]
    return Prepared(case.id, zscore(images) if statistics is None else images, label, box, shape)


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


def statistics(cases: Iterable[Case], kind: str) -> Statistics:
    """Means and deviations over training cases, read one after another and once each, summed in float64.

    Adeniji and Liu (2019, section 5.1.1) chose image-wise normalisation over "pixel-wise" normalisation, which they do
    not define. Two readings:

    - ``"position"``: a mean and a deviation for each voxel position of the native grid over the cases, zeros included.
      This is what the words say, and it would lose "relative spatial information" as the paper reports. It needs cases
      that lie on one grid, as registered ones do. Where hardly any training brain reaches, at the rim, deviations are
      small, and a held-out case can lie hundreds of them off.
    - ``"dataset"``: one mean and deviation for each channel, over the non-zero voxels of all cases. This is what their
      code computes (vliu15/3d-brain-tumor-segmentation), under the name of voxel-wise statistics.

    Deviations are those of the population (divided by n). The images' own way is :func:`zscore`.

    Raises:
        CaseError: no case, or for ``"position"`` a single one or cases of different shapes.
        ValueError: an unknown kind.
    """
    if kind not in NORMALISATION[1:]:
        raise ValueError(f"statistics {kind!r}: unknown; use one of {NORMALISATION[1:]}")
    count = mean = squares = 0  # squares: the sum of squared differences from the mean
    first = None
    for case in cases:
        images = case.images()
        if kind == "dataset":
            several = [_moments(channel[channel != 0]) for channel in images]
            n, new_mean, new_squares = (np.array(part).reshape(-1, 1, 1, 1) for part in zip(*several, strict=True))
        else:
            first = first or (case.id, images.shape)
            if images.shape != first[1]:
                raise CaseError(
                    f"normalisation 'position' needs cases on one grid, but case {first[0]} has the shape {first[1]} "
                    f"and case {case.id} {images.shape} (channel, z, y, x); register them, or normalise by 'image'"
                )
            n, new_mean, new_squares = 1, images.astype(np.float64), 0
        # Two parts into one (Chan et al. 1979): no difference of large sums, so no digits are lost.
        total, gap = count + n, new_mean - mean
        share = n / np.maximum(total, 1)
        mean = mean + gap * share
        squares = squares + new_squares + gap**2 * count * share
        count = total
    if np.ndim(mean) == 0:
        raise CaseError(f"normalisation {kind!r} needs training cases to take its means from; there is none")
    if kind == "position" and count == 1:
        raise CaseError(f"normalisation 'position' needs two training cases or more; there is only {first[0]}")
    return Statistics(mean.astype(np.float32), np.sqrt(squares / np.maximum(count, 1)).astype(np.float32))


def standardise(images: np.ndarray, by: Statistics) -> np.ndarray:
    """Images (channel, z, y, x) less the mean, over the deviation, float32; zero voxels are background and stay zero.

    Where the deviation is zero over the training cases, nothing is known of what is usual, and the result is zero. The
    code behind ``"dataset"`` moves the background too, to -mean / deviation; here a zero is background under every
    normalisation, so that they differ in their statistics alone.
    """
    varies = by.deviation > 0
    out = (images - by.mean) / np.where(varies, by.deviation, 1)
    return np.where((images != 0) & varies, out, 0).astype(np.float32)


def _moments(values: np.ndarray) -> tuple[int, float, float]:
    """Number, mean, and sum of squared differences from the mean."""
    if not values.size:
        return 0, 0.0, 0.0
    values = values.astype(np.float64)
    return values.size, values.mean(), np.square(values - values.mean()).sum()


def _of_box(statistics: Statistics, case: Case, shape: tuple[int, ...], box: tuple[slice, ...]) -> Statistics:
    """The part of statistics that belongs to a box of a case whose images have this shape."""
    of = statistics.mean.shape
    if of == (shape[0], 1, 1, 1):
        return statistics
    if of != shape:
        raise CaseError(
            f"case {case.id}: its images have the shape {shape}, but the statistics of the training cases {of} "
            "(channel, z, y, x); give them the same channels and grid, or normalise by 'image'"
        )
    return Statistics(statistics.mean[(slice(None), *box)], statistics.deviation[(slice(None), *box)])


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
