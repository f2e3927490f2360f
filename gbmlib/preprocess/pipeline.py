"""From a case to what a network sees: crop, resample, normalise; the way back is in ``preprocess.grids``.

The order is that of Isensee et al. (2018, section 2.2) and of nnU-Net's first public code. (Its second version
normalises before it resamples.) By statistics of the training cases that belong to the native grid, ``"dataset"`` and
``"position"``, normalising comes first here too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from gbmlib.cohorts import Case, CaseError
from gbmlib.preprocess.grids import Grid, Prepared
from gbmlib.preprocess.normalise import (
    ZERO_IS_BACKGROUND,
    Statistics,
    clip_and_standardise,
    nonzero_mask,
    schemes_of,
    standardise,
    statistics_kind,
    zscore,
)
from gbmlib.preprocess.resampling import RESAMPLING, new_shape, resample_labels, resample_to

#: To what a case is cropped: the box of its non-zero voxels, or nothing.
CROPPING = ("brain", "none")

#: Schemes by which a case is normalised before it is resampled, and after.
BEFORE, AFTER = ("dataset", "position"), ("image", "whole", "ct", "ct_masked")


def prepare(
    case: Case,
    spacing: Sequence[float] | None = None,
    resampling: str = "average",
    statistics: Statistics | None = None,
    normalisation: str | Sequence[str] | None = None,
    axes: Sequence[int] = (0, 1, 2),
    cropping: str = "brain",
) -> Prepared:
    """Crop a case to its non-zero voxels, resample it to ``spacing`` (z, y, x, mm; None keeps its own), normalise it.

    Args:
        spacing: of the new grid, in the order (z, y, x) whatever ``axes`` is.
        resampling: one of :data:`RESAMPLING` (``preprocess.resampling``).
        statistics: of the training cases (``preprocess.normalise.statistics``), where the scheme needs them.
        normalisation: a scheme of ``preprocess.normalise``, or one for each channel. None: by the statistics, or
            ``"image"`` where there are none.
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
    images = case.images()
    schemes = _schemes(normalisation, statistics, len(images))
    box = nonzero_box(images, case.id)
    if cropping == "none":
        box = tuple(slice(0, extent) for extent in case.shape)
    if statistics is not None:
        statistics = _of_box(statistics, case, (len(images), *case.shape), box)
    images = images[(slice(None), *box)]
    label = case.label()[box] if case.has_label else None
    brain = _brain(images, schemes)
    images = _normalised(images, schemes, BEFORE, statistics)
    if spacing is not None and not np.allclose(spacing, case.spacing):
        size, averages = new_shape(images.shape[1:], case.spacing, spacing), resampling == "average"
        images = resample_to(images, size, "area" if averages else 3)
        if brain is not None:
            brain = resample_to(brain.astype(np.float32), size, "area" if averages else 0) >= 0.5
            images = np.where(brain, images, 0)
        if label is not None:
            label = resample_labels(label, size, resampling)
    images = _normalised(images, schemes, AFTER, statistics, brain)
    axes = tuple(int(axis) for axis in axes)
    images = np.ascontiguousarray(images.transpose(0, *(axis + 1 for axis in axes)))
    label = label if label is None else np.ascontiguousarray(label.transpose(axes))
    return Prepared(case.id, images, label, box, case.shape, axes)


def onto(label_map: np.ndarray, grid: Grid | Prepared, resampling: str) -> np.ndarray:
    """A label map (z, y, x) of a case in native space on a prepared grid of it, as :func:`prepare` brings its label.

    Raises:
        ValueError: the label map is not of the case's native shape, or an unknown resampling.
    """
    if resampling not in RESAMPLING:
        raise ValueError(f"resampling {resampling!r}: unknown; use one of {RESAMPLING}")
    if label_map.shape != tuple(grid.native_shape):
        raise ValueError(f"case {grid.id}: a label map of shape {label_map.shape} for a case of {grid.native_shape}")
    label = label_map[grid.box]
    size = tuple(grid.shape[grid.axes.index(axis)] for axis in range(3))
    if size != label.shape:
        label = resample_labels(label, size, resampling)
    return np.ascontiguousarray(label.transpose(grid.axes))


def nonzero_box(images: np.ndarray, case_id: str) -> tuple[slice, slice, slice]:
    """The smallest box (z, y, x) that holds every non-zero voxel of any channel of images (channel, z, y, x).

    Raises:
        CaseError: the images are zero throughout.
    """
    boxes = ndimage.find_objects(images.any(axis=0).astype(np.uint8))
    if not boxes:
        raise CaseError(
            f"case {case_id}: the images are zero everywhere, so there is nothing to crop to; check the files of the "
            "case"
        )
    return boxes[0]


def _schemes(
    normalisation: str | Sequence[str] | None, statistics: Statistics | None, channels: int
) -> tuple[str, ...]:
    """The scheme of each channel that is asked for, checked against the statistics that are given."""
    if normalisation is None:
        normalisation = "image" if statistics is None else "ct" if statistics.of_ct else "dataset"
    schemes, kind = schemes_of(normalisation, channels), statistics_kind(normalisation)
    if (statistics is None) != (kind is None):
        needs = f"needs statistics(training cases, {kind!r})" if statistics is None else "needs no statistics"
        raise ValueError(f"normalisation {normalisation!r} {needs}")
    if statistics is not None and statistics.of_ct != (kind in ("ct", "ct_masked")):
        kinds = "CT" if statistics.of_ct else "'dataset' or 'position'"
        raise ValueError(f"normalisation {normalisation!r}: the statistics given are those of {kinds}")
    return schemes


def _brain(images: np.ndarray, schemes: Sequence[str]) -> np.ndarray | None:
    """The foreground of images (channel, z, y, x), bool; None where no channel's scheme takes zero for background."""
    if not set(schemes) & set(ZERO_IS_BACKGROUND):
        return None
    brain, mask = images != 0, nonzero_mask(images) if "ct_masked" in schemes else None
    for channel, scheme in zip(brain, schemes, strict=True):
        if scheme == "ct_masked":
            channel[...] = mask
        elif scheme not in ZERO_IS_BACKGROUND:
            channel[...] = True
    return brain


def _normalised(
    images: np.ndarray,
    schemes: Sequence[str],
    now: Sequence[str],
    statistics: Statistics | None,
    brain: np.ndarray | None = None,
) -> np.ndarray:
    """Images (channel, z, y, x) of which the channels whose scheme is due ``now`` are normalised, each by its own."""
    if not set(schemes) & set(now):
        return images
    channels = []
    for number, scheme in enumerate(schemes):
        channel, of_channel = images[number : number + 1], statistics and statistics.of_channel(number)
        if scheme in now:
            if scheme in BEFORE:
                channel = standardise(channel, of_channel)
            elif scheme in ("image", "whole"):
                channel = zscore(channel, whole=scheme == "whole")
            else:
                channel = clip_and_standardise(channel, of_channel)
                channel = channel if scheme == "ct" else np.where(brain[number], channel, 0)
        channels.append(channel)
    return np.concatenate(channels)


def _of_box(statistics: Statistics, case: Case, shape: tuple[int, ...], box: tuple[slice, ...]) -> Statistics:
    """The part of statistics that belongs to a box of a case whose images have this shape."""
    expected = statistics.mean.shape
    if expected == (shape[0], 1, 1, 1):
        return statistics
    if expected != shape:
        raise CaseError(
            f"case {case.id}: its images have the shape {shape}, but the statistics of the training cases {expected} "
            "(channel, z, y, x); give them the same channels and grid, or normalise by 'image'"
        )
    return Statistics(statistics.mean[(slice(None), *box)], statistics.deviation[(slice(None), *box)])
