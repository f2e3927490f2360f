"""The arithmetic of the planner: poolings, patches, batches and grids, as functions of numbers alone.

Source: Isensee et al. (2018), section 2.1 for networks and 2.2 for the cascade; ``planner.planning`` says where the
text and the rule differ. ``pages/planner.js`` computes the same in a page without a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: The paper's budgets: voxels of a patch in 3D, patches of a step (the least batch), and pixels of a step in 2D.
PATCH_VOXELS = 128**3
BATCH = 2
STEP_PIXELS = 256 * 256 * 42

#: Feature maps at the top, doubled with each pooling up to a cap; the caps are the public code's.
FEATURES = 30
MOST_FEATURES = {2: 480, 3: 320}

#: Poolings of an axis, and the size at which an axis is not halved any more.
MOST_POOLS = {2: 6, 3: 5}
LEAST_SIZE = 8

#: A step of the optimiser sees at most one twentieth, 5 %, of the voxels of the data set.
STEPS_OF_THE_DATA = 20

#: A data set whose median case has more voxels than this many patches gets a cascade.
CASCADE_PATCHES = 4

#: Two spacings count as equal, and one as twice another, within this share: files store 0.6 as 0.6000003.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Grid:
    """A coarser grid, towards that of the cascade's first stage.

    Attributes:
        shape: the median case on it, (z, y, x) in voxels.
        spacing: (z, y, x) in mm.
        doubled: the axes whose spacing was doubled last.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    doubled: tuple[int, ...]


def pools_of(size: float, most: int) -> int:
    """How often an axis of this size is pooled: it is halved while it is 8 or more, ``most`` times at most."""
    count = 0
    while size >= LEAST_SIZE and count < most:
        size /= 2
        count += 1
    return count


def round_up(size: float, most: int) -> tuple[int, int]:
    """The next size that can be pooled as often as it has to be, and its number of poolings.

    A size must be a multiple of 2^pools. A larger size may pool more often, so rounding repeats until nothing changes:
    232 pools 5 times and rounds up to 256, which pools 6 times, and 64 divides 256.
    """
    pools = -1
    while pools != pools_of(size, most):
        pools = pools_of(size, most)
        size = math.ceil(size / 2**pools) * 2**pools
    return int(size), pools


def coarsest(spacing: Sequence[float]) -> tuple[int, ...]:
    """The axes with the largest spacing."""
    return tuple(axis for axis in range(3) if spacing[axis] * (1 + TOLERANCE) >= max(spacing))


def scaled(extent: Sequence[float], limit: int) -> tuple[float, ...]:
    """An extent scaled so that its product is ``limit``, rounded to a thousandth of a voxel."""
    factor = (limit / math.prod(extent)) ** (1 / len(extent))
    return tuple(math.floor(size * factor * 1000 + 0.5) / 1000 for size in extent)


def fit(wanted: Sequence[float], limit: int, most: int) -> tuple[tuple[int, ...], ...]:
    """The patch rounded up from what was wanted, then after each step in which it shrinks to at most ``limit`` voxels.

    In each step the axis that is furthest over what was wanted, in voxels (of equals the last), loses 2^pools of them;
    its poolings are then counted anew.
    """
    patch = [round_up(size, most)[0] for size in wanted]
    steps = [tuple(patch)]
    while math.prod(patch) > limit:
        large = [axis for axis in range(len(patch)) if patch[axis] > 1]
        axis = max(large, key=lambda axis: (patch[axis] - wanted[axis], axis))
        patch[axis] -= 2 ** pools_of(patch[axis], most)
        steps.append(tuple(patch))
    return tuple(steps)


def five_percent(cases: int, voxels: int, patch: int) -> int:
    """How many patches 5 % of the data set are, a half rounded to the even number."""
    return round(cases * voxels / (STEPS_OF_THE_DATA * patch))


def coarser(shape: Sequence[int], spacing: Sequence[float], voxels: int, least: int = 0) -> tuple[Grid, ...]:
    """The grids from finer to coarser, down to that of the cascade's first stage; none where no cascade is needed.

    While one spacing is at least twice another, only the finer spacings are doubled; then all are. The sizes are the
    median shape's over the factor, a half rounded up: Heart's 115 / 2 gives 58 and Liver's 482 / 4 gives 121, as in
    table 1.

    Args:
        voxels: the budget of a patch.
        least: the least number of grids, for a cascade that is asked for where none is needed.
    """
    grids: list[Grid] = []
    factors, now = [1, 1, 1], tuple(shape)
    while math.prod(now) > CASCADE_PATCHES * voxels or len(grids) < least:
        mm = [step * factor for step, factor in zip(spacing, factors, strict=True)]
        doubled = tuple(axis for axis in range(3) if mm[axis] * 2 <= max(mm) * (1 + TOLERANCE)) or (0, 1, 2)
        factors = [factor * (2 if axis in doubled else 1) for axis, factor in enumerate(factors)]
        now = tuple(max(1, (2 * size + factor) // (2 * factor)) for size, factor in zip(shape, factors, strict=True))
        grids.append(Grid(now, tuple(step * factor for step, factor in zip(spacing, factors, strict=True)), doubled))
    return tuple(grids)
