"""Dice, HD95, surface Dice and mean surface distance of one pair of masks: the study's against MONAI's."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.pair import Pair
from gbmlib.evaluation import metrics

SPACING, TOLERANCE = (1.0, 1.0, 1.0), 1.0
SHOWN = ("dice", *metrics.DISTANCES)


def pairs(volume: tuple[int, int, int]) -> list[Pair]:
    """A tumour nearly found; and the same with false alarms in two corners, so that no crop helps.

    Args:
        volume: (z, y, x) in voxels of 1 mm.
    """
    shape = " x ".join(map(str, volume))
    what = f"Dice, HD95, surface Dice and mean surface distance in {shape}"
    return [
        Pair(f"{what}{name}, against MONAI", partial(ours, volume, alarms), partial(monai, volume, alarms))
        for name, alarms in (("", False), (" with false alarms", True))
    ]


def ours(shape: tuple[int, int, int], alarms: bool) -> Callable[[], dict[str, float]]:
    """All of a pair at once, the rest of the overlap included."""
    prediction, truth = _masks(shape, alarms)

    def measure() -> dict[str, float]:
        found = metrics.overlap(prediction, truth) | metrics.distances(prediction, truth, SPACING, TOLERANCE)
        return {name: found[name] for name in SHOWN}

    return measure


def monai(shape: tuple[int, int, int], alarms: bool) -> Callable[[], dict[str, float]]:
    """Its four functions, one after the other, on the tensors that they take."""
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    prediction, truth = (torch.from_numpy(mask)[None, None].float() for mask in _masks(shape, alarms))
    options = {"include_background": True, "spacing": SPACING}

    def measure() -> dict[str, float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an argument is to go
            found = (
                compute_dice(prediction, truth),
                compute_hausdorff_distance(prediction, truth, percentile=95, **options),
                compute_surface_dice(prediction, truth, [TOLERANCE], **options),
                compute_average_surface_distance(prediction, truth, symmetric=True, **options),
            )
        return dict(zip(SHOWN, map(float, found), strict=True))

    return measure


def _masks(shape: tuple[int, int, int], alarms: bool) -> tuple[np.ndarray, np.ndarray]:
    """An uneven ball of about 90 ml, where the volume is that of BraTS, and one like it a little aside."""
    radius = 0.18 * min(shape)
    grid = np.meshgrid(*(np.arange(extent, dtype=np.float32) for extent in shape), indexing="ij")

    def lump(aside: float, phase: float) -> np.ndarray:
        z, y, x = (axis - 0.4 * extent - aside for axis, extent in zip(grid, shape, strict=True))
        uneven = np.sin(6 * z / radius + phase) + np.sin(5 * y / radius) + np.sin(7 * x / radius - phase)
        return z**2 + y**2 + x**2 <= (radius * (1 + 0.07 * uneven)) ** 2

    prediction, truth = lump(0.05 * radius, 0.5), lump(0, 0)
    if alarms:
        prediction[:2, :2, :2] = prediction[-2:, -2:, -2:] = True
    return prediction, truth
