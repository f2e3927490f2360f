"""The reasons of a plan in words: one function for each choice of ``planner.planning``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gbmlib.files import listed, number, sizes
from gbmlib.planner import rule

if TYPE_CHECKING:
    from gbmlib.planner import Network
    from gbmlib.planner.rule import Grid
    from gbmlib.preprocess.fingerprint import Fingerprint

AXES = "zyx"

#: How many steps of a shrinking patch have a sentence each.
TOLD = 4


def times(pools: int) -> str:
    return ("is not pooled", "pools once", "pools twice")[pools] if pools < 3 else f"pools {pools} times"


def headline(network: Network) -> str:
    """``patch 80 x 192 x 128, batch 2, pools 4, 5, 5``."""
    return f"patch {sizes(network.patch_size)}, batch {network.batch_size}, pools {', '.join(map(str, network.pools))}"


def data(fingerprint: Fingerprint) -> tuple[str, ...]:
    cases = "1 case" if fingerprint.cases == 1 else f"{fingerprint.cases:,} cases"
    return (
        f"{cases}, resampled to the median spacing: {sizes(fingerprint.spacing)} mm (z, y, x).",
        f"The median case then has {sizes(fingerprint.median_shape)} voxels.",
    )


def normalisation(fingerprint: Fingerprint, masked: bool) -> tuple[str, ...]:
    lines = []
    if "CT" in fingerprint.kinds:
        lines.append(
            "CT has an absolute scale: it is clipped to the 0.5 and 99.5 percentiles of the foreground of all cases, "
            "and normalised by the foreground's mean and standard deviation."
        )
        if not fingerprint.intensities:
            lines.append("This fingerprint does not hold the foreground's intensities; measure them before training.")
    if "MR" in fingerprint.kinds:
        lines.append(
            "MR has a scale of its own in every scan: each case is normalised by its own mean and standard deviation."
        )
    if fingerprint.kept is None:
        lines.append("How much cropping takes away was not measured, so whole images are normalised.")
    else:
        taken = f"Cropping to what is not zero takes away {number(100 * (1 - fingerprint.kept), 1)} % of the voxels, "
        lines.append(
            taken + "a quarter or more: only what is not zero is normalised, and the rest is 0."
            if masked
            else taken + "less than a quarter: whole images are normalised."
        )
    return tuple(lines)


def cascade(shape: Sequence[int], voxels: int, forced: bool) -> str:
    has, limit = math.prod(shape), f"{rule.CASCADE_PATCHES} patches of {voxels:,}"
    if has > rule.CASCADE_PATCHES * voxels:
        return f"Its {has:,} voxels are more than {limit}: there is a cascade."
    none = f"Its {has:,} voxels are not more than {limit}: there is no cascade"
    return none + (", but one was asked for." if forced else ".")


def coarser(grids: Sequence[Grid]) -> tuple[str, ...]:
    """A line for each doubling of the spacing."""
    lines = []
    for grid in grids:
        which = "all axes" if len(grid.doubled) == 3 else f"{listed([AXES[axis] for axis in grid.doubled])} alone"
        lines.append(
            f"The spacing is doubled along {which}, to {sizes(grid.spacing)} mm, which leaves {sizes(grid.shape)} = "
            f"{math.prod(grid.shape):,} voxels."
        )
    return tuple(lines)


def single(axis: int) -> str:
    return f"Slices are cut across {AXES[axis]}, along which the median case has a single voxel."


def dropped(coarsest: Sequence[int], spacing: Sequence[float]) -> str:
    first = "" if len(coarsest) == 1 else "the first of the axes "
    which = "whose spacing is the largest" if len(coarsest) == 1 else "with the largest spacing"
    return f"Slices are cut across {AXES[coarsest[0]]}, {first}{which} ({sizes(spacing)} mm)."


def wanted(network: Network, extent: Sequence[float], aspect: str, limit: int, scaled: Sequence[float] | None) -> str:
    if scaled is None:
        return f"The patch is to hold the whole median plane, {sizes(network.median_shape)}."
    what = "plane" if network.dimensions == 2 else "case"
    measures = f"measures {sizes(extent, 1)} mm" if aspect == "mm" else f"has {sizes(extent)} voxels"
    line = f"The median {what} {measures}; in these proportions {limit:,} voxels are {sizes(scaled, 1)}"
    if tuple(scaled) == network.wanted:
        return line + "."
    if network.wanted == tuple(network.median_shape):
        return line + f", which is cut to the median {what}'s {sizes(network.wanted)}."
    return line + f", which is cut to what there is: {sizes(network.wanted, 1)}."


def rounded(network: Network, results: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """How each axis of the patch was rounded, and how often it pools."""
    lines = []
    for axis, size, (extent, pools) in zip(network.axes[-network.dimensions :], network.wanted, results, strict=True):
        if size != extent:
            lines.append(f"{AXES[axis]}: {number(size, 1)} rounds up to {extent:,}, which {times(pools)}.")
        elif pools:
            lines.append(f"{AXES[axis]}: {extent:,} is a multiple of {2**pools} and {times(pools)}.")
        else:
            lines.append(f"{AXES[axis]}: {extent:,} is less than 8 and is not pooled.")
    return tuple(lines)


def shrunk(network: Network, limit: int) -> tuple[str, ...]:
    """How the patch was brought under its limit."""
    lines = []
    steps = list(zip(network.steps, network.steps[1:], strict=False))
    for before, after in steps[:TOLD]:
        which = next(number for number, size in enumerate(before) if size != after[number])
        axis = AXES[network.axes[which - network.dimensions]]
        lines.append(
            f"{sizes(before)} = {math.prod(before):,} is more than {limit:,}: {axis}, "
            f"furthest over what was wanted, gives up {before[which] - after[which]}, which leaves {sizes(after)}."
        )
    if len(steps) > TOLD:
        lines.append(f"More steps of this kind ({len(steps) - TOLD:,}) lead to {sizes(network.patch_size)}.")
    return tuple(lines)


def batch(network: Network, step: int, share: int) -> str:
    """How many patches a step takes; ``share`` is how many 5 % of the data set are."""
    fitting = step // math.prod(network.patch_size)
    what = "pixels" if network.dimensions == 2 else "voxels"
    reason = "the fewer" if network.batch_size == min(fitting, share) else "the least that a step takes"
    return (
        f"A step has room for {patches(fitting)} ({step:,} {what}), and 5 % of the data set are {patches(share)}: "
        f"{network.batch_size:,}, {reason}."
    )


def patches(count: int) -> str:
    return "1 patch" if count == 1 else f"{count:,} patches"


def features(network: Network) -> str:
    most = rule.MOST_FEATURES[network.dimensions]
    capped = f", {most} at most" if network.features[-1] == most else ""
    return f"Feature maps double with each pooling{capped}: {', '.join(map(str, network.features))}."


def dice(kind: str) -> str:
    if kind == "sample":
        return "It sees nearly whole cases: the Dice is computed for each sample, then averaged."
    return "It sees parts of cases: the Dice takes the batch for one volume."


def augmentation(network: Network) -> str:
    if network.dimensions == 2:
        return "Augmentation works in the plane."
    edges = f"The longest edge, {max(network.patch_size):,}, is"
    shortest = f"over twice the shortest, {min(network.patch_size):,}: augmentation works in"
    if network.slice_axis is None:
        return f"{edges} not {shortest} three dimensions."
    return f"{edges} {shortest} the plane, slice by slice across {AXES[network.slice_axis]}."
