"""The arithmetic of the planner: pools, patches, batches and grids, as functions of numbers alone.

Source: Isensee et al. (2018), section 2.1 for networks and 2.2 for the cascade; see ``planner`` for where the
text and the rule differ. ``planner.js`` computes the same in a page without a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: The paper's budgets: voxels of a patch in 3D, of which a step takes two; pixels of a step in 2D.
PATCH_VOXELS = 128**3
BATCH = 2
STEP_PIXELS = 256 * 256 * 42

#: Feature maps at the top, doubled with each pooling up to a cap; the caps are the public code's.
FEATURES = 30
MOST_FEATURES = {2: 480, 3: 320}

#: Poolings of an axis, and the size at which an axis is not halved any more.
MOST_POOLS = {2: 6, 3: 5}
LEAST_SIZE = 8

#: A step of the optimiser sees at most this part of the data set: one over it, so 5 %.
PART = 20

#: A data set of more median voxels than this many patches gets a cascade.
CASCADE = 4

#: Two spacings count as equal, and one as twice another, within this share: files store 0.6 as 0.6000003.
SLACK = 1e-3


@dataclass(frozen=True)
class Grid:
    """A grid on the way to the cascade's first stage.

    Attributes:
        shape: the median case on it, (z, y, x) in voxels.
        spacing: (z, y, x) in mm.
        doubled: the axes whose spacing was doubled to come here.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    doubled: tuple[int, ...]


def pools_of(size: float, most: int) -> int:
    """How often a size is halved while it is 8 or more, ``most`` times at most."""
    count = 0
    while size >= LEAST_SIZE and count < most:
        size /= 2
        count += 1
    return count


def round_up(size: float, most: int) -> tuple[int, int]:
    """The multiple of 2^pools that a size rounds up to, and its pools, counted anew on what it became until they stay.

    232 pools 5 times and rounds up to 256, which pools 6 times, and 64 divides 256.
    """
    pools = -1
    while pools != pools_of(size, most):
        pools = pools_of(size, most)
        size = math.ceil(size / 2**pools) * 2**pools
    return int(size), pools


def coarsest(spacing: Sequence[float]) -> tuple[int, ...]:
    """The axes with the largest spacing; several where they have the same."""
    return tuple(axis for axis in range(3) if spacing[axis] * (1 + SLACK) >= max(spacing))


def scaled(extent: Sequence[float], limit: int) -> tuple[float, ...]:
    """An extent scaled so that its product is ``limit``, to a thousandth of a voxel: what lies below is noise."""
    factor = (limit / math.prod(extent)) ** (1 / len(extent))
    return tuple(math.floor(size * factor * 1000 + 0.5) / 1000 for size in extent)


def fit(wanted: Sequence[float], limit: int, most: int) -> tuple[tuple[int, ...], ...]:
    """The patch as it shrinks: rounded up, then less and less until it has at most ``limit`` voxels.

    Whichever axis is furthest over what was wanted, in voxels (of equals the last), gives up 2^pools of them; its
    pools are counted anew.
    """
    patch = [round_up(size, most)[0] for size in wanted]
    steps = [tuple(patch)]
    while math.prod(patch) > limit:
        large = [axis for axis in range(len(patch)) if patch[axis] > 1]
        axis = max(large, key=lambda axis: (patch[axis] - wanted[axis], axis))
        patch[axis] -= 2 ** pools_of(patch[axis], most)
        steps.append(tuple(patch))
    return tuple(steps)


def part_of(cases: int, voxels: int, patch: int) -> int:
    """How many patches 5 % of so many cases of so many voxels are; a half goes to the even number."""
    return round(cases * voxels / (PART * patch))


def coarser(shape: Sequence[int], spacing: Sequence[float], voxels: int, least: int = 0) -> tuple[Grid, ...]:
    """The grids on the way down to the cascade's first stage; none where the data set needs no cascade.

    ``least`` grids there are in any case, where somebody asks for a cascade that is not needed.

    While one spacing is at least twice another, only those finer ones are doubled; then all. The sizes are the median
    shape's over the factor, a half rounded up: Heart's 115 / 2 gives 58 and Liver's 482 / 4 gives 121, as in table 1.
    """
    grids: list[Grid] = []
    factors, now = [1, 1, 1], tuple(shape)
    while math.prod(now) > CASCADE * voxels or len(grids) < least:
        mm = [step * factor for step, factor in zip(spacing, factors, strict=True)]
        doubled = tuple(axis for axis in range(3) if mm[axis] * 2 <= max(mm) * (1 + SLACK)) or (0, 1, 2)
        factors = [factor * (2 if axis in doubled else 1) for axis, factor in enumerate(factors)]
        now = tuple(max(1, (2 * size + factor) // (2 * factor)) for size, factor in zip(shape, factors, strict=True))
        grids.append(Grid(now, tuple(step * factor for step, factor in zip(spacing, factors, strict=True)), doubled))
    return tuple(grids)
