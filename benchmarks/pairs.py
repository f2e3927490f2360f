"""Every comparison. What each side does stands in the module of its part; peers are imported where they are run."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import augmentation, inference, morphology, resampling, steps, surfaces, unet
from benchmarks.pair import Pair


def pairs(
    size: int, filters: int, volume: tuple[int, int, int], planned: Sequence[int] = (64, 128), edge: int = 128
) -> list[Pair]:
    """Every comparison.

    Args:
        size: edge of the cubic patch on which the first paper's networks train, in voxels.
        filters: of the first level of Paper A's network.
        volume: (z, y, x) of what is resampled, predicted tile by tile, and measured.
        planned: edges of the cubic patches on which the second paper's network trains.
        edge: of the cubic patch that is augmented.
    """
    return [
        *steps.pairs(size, filters),
        *unet.pairs(planned),
        *resampling.pairs(volume),
        *augmentation.pairs(edge),
        *morphology.pairs(edge),
        *inference.pairs(volume),
        *surfaces.pairs(volume),
    ]
