"""From a case to what a network sees, and the exact way back: crop, resample, normalise.

The order is that of Isensee et al. (2018, section 2.2) and of nnU-Net's first public code. (Its second version
normalises before it resamples.) By statistics of the training cases that belong to the native grid, ``"dataset"`` and
``"position"``, normalising comes first here too.

The steps are in modules of their own, ``preprocess.resampling``, ``preprocess.label_resampling`` and
``preprocess.normalise``, the way back in ``preprocess.grids``; their names can be imported from here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gbmlib.cohorts import Case, CaseError
from gbmlib.preprocess.grids import Grid, Prepared, restore, restore_labels
from gbmlib.preprocess.label_resampling import majority, resample_labels
from gbmlib.preprocess.normalise import (
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
from gbmlib.preprocess.resampling import RESAMPLING, RULES, Rule, coarse_axis, new_shape, resample, resample_to

#: To what a case is cropped: the box of its non-zero voxels, or nothing.
CROPPING = ("brain", "none")

__all__ = [
    "BY_STATISTICS",
    "CROPPING",
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


def prepare(
    case: Case,
    spacing: Sequence[float] | None = None,
    resampling: str = "average",
    statistics: Statistics | None = None,
    normalisation: str | None = None,
    axes: Sequence[int] = (0, 1, 2),
    cropping: str = "brain",
) -> Prepared:
    """Crop a case to its non-zero voxels, resample it to ``spacing`` (z, y, x, mm; None keeps its own), normalise it.

    Args:
        spacing: of the new grid, in the order (z, y, x) whatever ``axes`` is.
        resampling: one of :data:`RESAMPLING`. ``"average"`` averages images over the new voxels and takes the label
            that most of the voxel holds. ``"spline"`` is nnU-Net's rule (Isensee et al. 2018, section 2.2): third-order
            splines for images, nearest neighbour for labels; ``"spline_apart"`` takes strongly anisotropic axes apart;
            ``"public_code"`` also clips and interpolates labels linearly (``preprocess.resampling.RULES``).
        statistics: of the training cases (:func:`statistics`), where the scheme needs them.
        normalisation: one of :data:`NORMALISATION` (``preprocess.normalise``). None: by the statistics, or ``"image"``
            where there are none.
        axes: the order in which the axes are laid before the network, such as (1, 0, 2) for slices across y
            (``planner.Network.axes``).
        cropping: one of :data:`CROPPING`: to the box of the non-zero voxels, or not at all.

    Cropping takes away whole planes of zeros alone; a CT, whose air is not zero, keeps its shape unless it was padded.
    Where a zero is background (``preprocess.normalise.ZERO_IS_BACKGROUND``), background stays zero when resampled.

    Raises:
        CaseError: the statistics are of other channels or of another grid than the case, or its images are zero
            throughout.
        ValueError: an unknown resampling, normalisation, cropping or order of axes; statistics that are missing, not
            needed or of another scheme.
    """
    if cropping not in CROPPING:
        raise ValueError(f"cropping {cropping!r}: unknown; use one of {CROPPING}")
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
    if cropping == "none":
        box = tuple(slice(0, size) for size in case.shape)
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
