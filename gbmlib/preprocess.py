"""From a case to what a network sees, and the exact way back: crop, resample, normalise.

The order is that of Isensee et al. (2018, section 2.2) and of nnU-Net's first public code. (Its second version
normalises before it resamples.) By statistics of the training cases that belong to the native grid, ``"dataset"`` and
``"position"``, normalising comes first here too.

The steps are in modules of their own, :mod:`gbmlib.resampling`, :mod:`gbmlib.label_resampling` and
:mod:`gbmlib.normalise`; their names can be imported from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gbmlib.cohorts import Case, CaseError
from gbmlib.label_resampling import majority, resample_labels
from gbmlib.normalise import (
    BY_STATISTICS,
    NORMALISATION,
    ZERO_IS_BACKGROUND,
    Statistics,
    clip_and_standardise,
    nonzero_mask,
    scheme_for,
    standardise,
    statistics,
    zscore,
)
from gbmlib.resampling import (
    RESAMPLING,
    RULES,
    Rule,
    bands,
    coarse_axis,
    matrix,
    multiply,
    new_shape,
    resample,
    resample_to,
)

__all__ = [
    "BY_STATISTICS",
    "NORMALISATION",
    "RESAMPLING",
    "Grid",
    "Prepared",
    "Rule",
    "Statistics",
    "clip_and_standardise",
    "coarse_axis",
    "majority",
    "new_shape",
    "nonzero_box",
    "nonzero_mask",
    "onto",
    "prepare",
    "resample",
    "resample_labels",
    "resample_to",
    "restore",
    "restore_labels",
    "scheme_for",
    "standardise",
    "statistics",
    "zscore",
]


@dataclass(frozen=True)
class Grid:
    """Where a prepared grid lies in its native volume: all that the way back needs (:func:`restore`).

    Attributes:
        id: the case's id.
        shape: of the prepared volumes, their axes in the order of ``axes``.
        box, native_shape, axes: as of :class:`Prepared`.
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
        id: the case's id.
        images: float32 (channel, z, y, x), cropped, resampled, normalised; its axes in the order of ``axes``.
        label: uint8 (z, y, x) on the same grid, or None.
        box: where the crop lies in the native volume (z, y, x).
        native_shape: (z, y, x) of the native volume.
        axes: which native axis (0, 1, 2 for z, y, x) each axis of ``images`` and ``label`` is.
    """

    id: str
    images: np.ndarray
    label: np.ndarray | None
    box: tuple[slice, slice, slice]
    native_shape: tuple[int, int, int]
    axes: tuple[int, int, int] = (0, 1, 2)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the grid, in voxels."""
        return self.images.shape[1:]

    @property
    def grid(self) -> Grid:
        """Where it lies in the native volume, without its voxels."""
        return Grid(self.id, self.shape, self.box, self.native_shape, self.axes)


def prepare(
    case: Case,
    spacing: Sequence[float] | None = None,
    resampling: str = "average",
    statistics: Statistics | None = None,
    normalisation: str | None = None,
    axes: Sequence[int] = (0, 1, 2),
) -> Prepared:
    """Crop a case to its non-zero voxels, resample it to ``spacing`` (z, y, x, mm; None keeps its own), normalise it.

    Args:
        spacing: of the new grid, in the order (z, y, x) whatever ``axes`` is.
        resampling: one of :data:`RESAMPLING`. ``"average"`` averages images over the new voxels and takes the label
            that most of the voxel holds. ``"spline"`` is nnU-Net's rule (Isensee et al. 2018, section 2.2): third-order
            splines for images, nearest neighbour for labels; ``"spline_apart"`` takes strongly anisotropic axes apart;
            ``"public_code"`` also clips and interpolates labels linearly (:data:`gbmlib.resampling.RULES`).
        statistics: of the training cases (:func:`statistics`), where the scheme needs them.
        normalisation: one of :data:`NORMALISATION` (:mod:`gbmlib.normalise`). None: by the statistics, or ``"image"``
            where there are none.
        axes: the order in which the axes are laid before the network, such as (1, 0, 2) for slices across y
            (:attr:`gbmlib.planner.Network.axes`).

    Cropping takes away whole planes of zeros alone; a CT, whose air is not zero, keeps its shape unless it was padded.
    Where a zero is background (:data:`gbmlib.normalise.ZERO_IS_BACKGROUND`), background stays zero when resampled.

    Raises:
        CaseError: the statistics are of other channels or of another grid than the case, or its images are zero
            throughout.
        ValueError: an unknown resampling, normalisation or order of axes; statistics that are missing, not needed or
            of another scheme.
    """
    if resampling not in RESAMPLING:
        raise ValueError(f"resampling {resampling!r}: unknown; use one of {RESAMPLING}")
    if sorted(axes) != [0, 1, 2]:
        raise ValueError(f"axes {tuple(axes)}: they must be 0, 1 and 2 in some order, for z, y and x")
    rule, scheme = RULES[resampling], _scheme(normalisation, statistics)
    images = case.images()
    try:
        box = nonzero_box(images)
    except ValueError as error:
        raise CaseError(f"case {case.id}: {error}") from error
    if statistics is not None:
        statistics = _of_box(statistics, case, (len(images), *case.shape), box)
    images = images[(slice(None), *box)]
    label = case.label()[box] if case.has_label else None
    brain = None
    if scheme in ZERO_IS_BACKGROUND:
        brain = np.broadcast_to(nonzero_mask(images), images.shape) if scheme == "ct_masked" else images != 0
    if scheme in ("dataset", "position"):
        images = standardise(images, statistics)
    if spacing is not None and not np.allclose(spacing, case.spacing):
        size = new_shape(images.shape[1:], case.spacing, spacing)
        apart = coarse_axis(case.spacing, spacing, rule.anisotropy)
        images = resample_to(images, size, rule.images, apart, rule.clip)
        if brain is not None:
            brain = resample_to(brain.astype(np.float32), size, "area" if rule.images == "area" else 0) >= 0.5
            images = np.where(brain, images, 0)
        if label is not None:
            label = resample_labels(label, size, rule.labels, apart)
    if scheme in ("image", "whole"):
        images = zscore(images, whole=scheme == "whole")
    elif scheme in ("ct", "ct_masked"):
        images = clip_and_standardise(images, statistics)
        images = images if brain is None else np.where(brain, images, 0)
    axes = tuple(int(axis) for axis in axes)
    images = np.ascontiguousarray(images.transpose(0, *(axis + 1 for axis in axes)))
    label = label if label is None else np.ascontiguousarray(label.transpose(axes))
    return Prepared(case.id, images, label, box, case.shape, axes)


def onto(
    label_map: np.ndarray,
    grid: Grid | Prepared,
    native_spacing: Sequence[float],
    spacing: Sequence[float] | None,
    resampling: str,
) -> np.ndarray:
    """A label map (z, y, x) of a case in native space on a prepared grid of it, as :func:`prepare` brings its label.

    Args:
        native_spacing: (z, y, x) in mm of the case.
        spacing, resampling: what the grid was prepared with.

    Raises:
        ValueError: the label map is not of the case's native shape, or an unknown resampling.
    """
    if resampling not in RESAMPLING:
        raise ValueError(f"resampling {resampling!r}: unknown; use one of {RESAMPLING}")
    if label_map.shape != tuple(grid.native_shape):
        raise ValueError(f"case {grid.id}: a label map of shape {label_map.shape} for a case of {grid.native_shape}")
    label, rule = label_map[grid.box], RULES[resampling]
    size = tuple(grid.shape[grid.axes.index(axis)] for axis in range(3))
    if spacing is not None and size != label.shape:
        label = resample_labels(label, size, rule.labels, coarse_axis(native_spacing, spacing, rule.anisotropy))
    return np.ascontiguousarray(label.transpose(grid.axes))


def restore(volume: np.ndarray, grid: Grid | Prepared, order: int = 1) -> np.ndarray:
    """Bring channels (channel, z, y, x) on the prepared grid back to the native one: linear, zero outside the crop.

    Exact where the grid was only cropped; float32. ``order`` 3 is the cubic spline, which may overshoot. All channels
    are held in native size; :func:`restore_labels` never does so.

    Raises:
        ValueError: the volume is not on the prepared grid.
    """
    native = _to_native_axes(np.asarray(volume, np.float32), grid)
    out = np.zeros((len(volume), *grid.native_shape), np.float32)
    out[(slice(None), *grid.box)] = resample_to(native, _box_shape(grid), order)
    return out


def restore_labels(
    probabilities: np.ndarray | torch.Tensor,
    grid: Grid | Prepared,
    to_labels: Callable[[np.ndarray], np.ndarray],
    order: int = 1,
    memory_mb: float = 128,
) -> np.ndarray:
    """The label map (z, y, x) in native space, uint8, of probabilities (channel, z, y, x) on the prepared grid.

    What ``to_labels(restore(probabilities, grid))`` gives, to rounding, slab by slab: probabilities of many classes
    in native size are what memory runs out of. Outside the crop the label is 0.

    Args:
        probabilities: of any float type, on any device; they are resampled there.
        to_labels: from channels (channel, z, y, x) to labels (z, y, x), voxel by voxel: ``lambda p: p.argmax(0)``, or
            :func:`gbmlib.regions.to_labels` with its scheme. It is given float32 arrays.
        order: 1 is linear, 3 the cubic spline.
        memory_mb: about how much memory a slab and what is made of it may take; one plane is the least.

    Raises:
        ValueError: the volume is not on the prepared grid, or an unknown order.
    """
    if order not in (1, 3):
        raise ValueError(f"order {order!r}: probabilities come back by 1, linear, or 3, the cubic spline")
    native = _to_native_axes(torch.as_tensor(probabilities).detach(), grid)
    out = np.zeros(grid.native_shape, np.uint8)
    inside, start = out[grid.box], 0
    for slab in _slabs(native, _box_shape(grid), order, memory_mb):
        inside[start : start + slab.shape[1]] = to_labels(slab.cpu().numpy())
        start += slab.shape[1]
    return out


def _slabs(volume: torch.Tensor, shape: tuple[int, ...], order: int, memory_mb: float) -> Iterator[torch.Tensor]:
    """A volume resampled to a shape, a few planes at a time, float32."""
    sizes = tuple(volume.shape[1:])
    across, *in_plane = (None if old == new else matrix(old, new, order) for old, new in zip(sizes, shape, strict=True))
    # A slab is there in two sizes at once while an axis is resampled, and to_labels makes something of it.
    plane = len(volume) * max(shape[1], sizes[1]) * max(shape[2], sizes[2]) * 4
    height = max(1, int(memory_mb * 2**20 / (4 * plane)))
    parts = ((n, min(n + height, shape[0]), n, n + height) for n in range(0, shape[0], height))
    for start, stop, low, high in parts if across is None else bands(across, height):
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
    return tuple(part.stop - part.start for part in grid.box)


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


def _scheme(normalisation: str | None, statistics: Statistics | None) -> str:
    """The scheme that is asked for, checked against the statistics that are given."""
    if normalisation is None:
        return "image" if statistics is None else "ct" if statistics.of_ct else "dataset"
    if normalisation not in NORMALISATION:
        raise ValueError(f"normalisation {normalisation!r}: unknown; use one of {NORMALISATION}")
    if (statistics is None) == (normalisation in BY_STATISTICS):
        needs = f"needs statistics(training cases, {normalisation!r})" if statistics is None else "needs no statistics"
        raise ValueError(f"normalisation {normalisation!r} {needs}")
    if statistics is not None and statistics.of_ct != (normalisation in ("ct", "ct_masked")):
        of = "CT" if statistics.of_ct else "'dataset' or 'position'"
        raise ValueError(f"normalisation {normalisation!r}: the statistics given are those of {of}")
    return normalisation


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
