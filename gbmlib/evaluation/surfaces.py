"""How far the surface of a segmentation lies from the true one, in mm.

A surface is the border voxels of a mask: those with one of their six neighbours outside the mask or outside the image.
Each has a distance to the nearest border voxel of the other mask, centre to centre. Definitions differ between
libraries; these are:

- *HD95*: the 95th percentile (linear between ranks) of each direction, and the larger of the two, as in MONAI.
- *Surface Dice* (normalised surface distance): the share of the border voxels of both masks that lie within a tolerance
  of the other border. Voxels count alike, as in MONAI; surface-distance weights them by their area.
- *Mean surface distance* (average symmetric surface distance): the mean over the border voxels of both masks together,
  as in MONAI; not the mean of the two directions' means.

Two empty masks agree: distances are 0 and the surface Dice is 1. Where only one is empty, every distance is the
diagonal of the whole image and the surface Dice is 0, so a missed region is the worst there is and is never dropped.
For BraTS, 240 x 240 x 155 voxels of 1 mm, the diagonal is 373.13 mm, the penalty that the challenge itself sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from gbmlib.evaluation.components import bounding_box

#: Tolerance of the surface Dice in mm, where none is given: a voxel of BraTS.
TOLERANCE = 1.0

Mask = np.ndarray | Tensor


@dataclass(frozen=True)
class Distances:
    """Distances in mm from the border voxels of one mask to those of the other, in no particular order.

    Attributes:
        to_truth: of each border voxel of the prediction.
        to_prediction: of each border voxel of the truth.
        worst: what counts as a distance where only one mask has a border: the diagonal of the image.
    """

    to_truth: np.ndarray
    to_prediction: np.ndarray
    worst: float

    @property
    def _missing(self) -> float | None:
        """The distance that stands for all others where a mask is empty; None where neither is."""
        if len(self.to_truth) and len(self.to_prediction):
            return None
        return self.worst if len(self.to_truth) or len(self.to_prediction) else 0.0

    def hausdorff(self, percentile: float = 95) -> float:
        """The Hausdorff distance, robust below percentile 100."""
        if self._missing is not None:
            return self._missing
        return max(float(np.percentile(distances, percentile)) for distances in (self.to_truth, self.to_prediction))

    def surface_dice(self, tolerance: float = TOLERANCE) -> float:
        """The share of border voxels within the tolerance (mm) of the other border.

        Raises:
            ValueError: a tolerance below zero or not finite.
        """
        if not 0 <= tolerance < float("inf"):
            raise ValueError(f"the tolerance is {tolerance}; it needs a distance in mm, at least 0")
        if self._missing is not None:
            return 0.0 if self._missing else 1.0
        both = np.concatenate([self.to_truth, self.to_prediction])
        # In single precision three voxels of 0.7 mm are 2.1 mm, as whoever gives the tolerance means it.
        return float(np.count_nonzero(both.astype(np.float32) <= np.float32(tolerance)) / len(both))

    def mean(self) -> float:
        """The mean surface distance."""
        if self._missing is not None:
            return self._missing
        return float((self.to_truth.sum() + self.to_prediction.sum()) / (len(self.to_truth) + len(self.to_prediction)))


def between(prediction: Mask, truth: Mask, spacing: Sequence[float]) -> Distances:
    """The distances between the borders of two boolean masks, NumPy or torch, of one shape.

    Args:
        spacing: of the voxels in mm, in the order of the axes.

    Raises:
        ValueError: shapes differ, a mask is not boolean, or the spacing is not one positive number for each axis.
    """
    check_masks(prediction, truth)
    _check_spacing(spacing, prediction.ndim)
    masks = [mask.cpu().numpy() if isinstance(mask, Tensor) else mask for mask in (prediction, truth)]
    worst = float(np.linalg.norm(np.multiply(prediction.shape, spacing)))
    boxes = [bounding_box(mask) for mask in masks]
    if any(box[0].stop == 0 for box in boxes):
        # One value says that a mask is not empty, which is all that the summaries ask.
        return Distances(*(np.full(int(box[0].stop > 0), worst) for box in boxes), worst)
    # What lies outside the common box costs nothing.
    common = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*boxes, strict=True))
    borders = [border(mask[common]) for mask in masks]
    return Distances(*(_directed(one, other, spacing) for one, other in (borders, borders[::-1])), worst)


def _directed(one: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The distance from each voxel of one border to the nearest of the other, in no particular order."""
    # A voxel that is on both borders is 0 away and needs no search.
    alone = np.argwhere(one & ~other)
    out = np.zeros(np.count_nonzero(one))
    if len(alone):
        tree = cKDTree(np.argwhere(other) * np.asarray(spacing, float), leafsize=32, balanced_tree=False)
        out[: len(alone)] = tree.query(alone * np.asarray(spacing, float))[0]
    return out


def border(mask: np.ndarray) -> np.ndarray:
    """The voxels of a boolean mask with a neighbour, across a face, outside the mask or outside the array."""
    inside = np.pad(mask, 1)
    inner = inside[(slice(1, -1),) * mask.ndim].copy()
    for axis in range(mask.ndim):
        for side in (slice(None, -2), slice(2, None)):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = side
            inner &= inside[tuple(window)]
    return mask & ~inner


def hausdorff95(prediction: Mask, truth: Mask, spacing: Sequence[float]) -> float:
    """The 95th percentile of the Hausdorff distance in mm; arguments as in :func:`between`."""
    return between(prediction, truth, spacing).hausdorff()


def surface_dice(prediction: Mask, truth: Mask, spacing: Sequence[float], tolerance: float = TOLERANCE) -> float:
    """The surface Dice at a tolerance in mm; arguments as in :func:`between`."""
    return between(prediction, truth, spacing).surface_dice(tolerance)


def volume_ml(mask: Mask, spacing: Sequence[float]) -> float:
    """The volume of a boolean mask in ml; raises what :func:`between` does."""
    check_masks(mask, mask)
    _check_spacing(spacing, mask.ndim)
    return count(mask) * float(np.prod(spacing)) / 1000


def count(mask: Mask) -> int:
    """The voxels of a boolean mask. (A sum takes ten times as long.)"""
    return int(torch.count_nonzero(mask) if isinstance(mask, Tensor) else np.count_nonzero(mask))


def check_masks(prediction: Mask, truth: Mask) -> None:
    """Refuse two masks that cannot be compared.

    Raises:
        ValueError: shapes differ, or a mask is not boolean (a probability or a label map would be counted wrongly).
    """
    if tuple(prediction.shape) != tuple(truth.shape):
        raise ValueError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape")
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if "bool" not in str(mask.dtype):
            raise ValueError(f"{name} is {mask.dtype}, not boolean; compare it with a threshold or a label first")


def _check_spacing(spacing: Sequence[float], axes: int) -> None:
    if len(spacing) != axes or not all(0 < step < float("inf") for step in spacing):
        raise ValueError(f"spacing is {tuple(spacing)}; it needs {axes} distances in mm above zero, one for each axis")
