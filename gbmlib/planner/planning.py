"""From a fingerprint to a plan: the patch, batch and poolings of three U-Nets (Isensee et al. 2018, section 2.1).

The code of 2018 was never published, and the first public code gives other plans. The rule here (``planner.rule``) is a
reconstruction that gives every cell of the paper's table 1, from the medians that the table prints and from the
geometry of all 1,271 cases. Where text and table disagree, the table decides:

- "match the aspect ratio of the input patch size to that of the median size of the dataset in voxels": it is the ratio
  in *millimetres*. In voxels, Prostate, Lung and Pancreas come out otherwise (``plan(…, aspect="voxels")``).
- "If the median shape of the dataset is smaller than 128^3 then we use the median shape as input patch size": that of
  Prostate is smaller (20 x 320 x 319), and its patch is 20 x 192 x 192.
- In 2D an axis is pooled "until the feature map size for that axis is smaller than 8", in 3D "until the feature maps
  have size 8": both are halved while the size is 8 or more.

What the paper does not say, since none of its tasks needs it: a plane of which two do not fit into the budget is scaled
down as a patch in 3D is; an axis of a single voxel is the one that 2D drops; the budget of 2D scales with that of 3D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gbmlib.planner import rule, words
from gbmlib.planner.rule import PATCH_VOXELS
from gbmlib.preprocess.fingerprint import Fingerprint
from gbmlib.preprocess.normalise import scheme_for

#: The smallest budget of a patch that leaves a U-Net something to pool, and the largest that is plausible.
LEAST_VOXELS, MOST_VOXELS = 16**3, 2048**3

#: Cropping keeps at most this share of the average case where the non-zero mask counts (section 2.2: it "reduces the
#: average size of patients … by 1/4 or more").
MASKED = 0.75

ASPECTS = ("mm", "voxels")


@dataclass(frozen=True)
class Network:
    """The plan of one U-Net.

    Sizes in voxels are in the order (z, y, x), and in 2D those of the plane: the last two of ``axes``.

    Attributes:
        name: ``"2D"``, ``"3D"`` or ``"3D low resolution"`` (the cascade's first stage).
        axes: the order in which the network sees (z, y, x): (0, 1, 2), or for slices across y (1, 0, 2).
        spacing: (z, y, x) in mm of the grid, in the order of the files, not of ``axes``.
        median_shape: of the cases on that grid.
        patch_size: of a training patch.
        pools: how often each axis is halved.
        batch_size: patches of a step.
        dice: ``"sample"`` for the Dice of each sample, averaged; ``"batch"`` for the batch as one volume (section 2.3).
        augmentation: ``"2D"``, ``"3D"``, or ``"slices"``: in a plane, slice by slice, for a patch whose longest edge is
            over twice the shortest (section 2.3; the public code has three times).
        slice_axis: for ``"slices"`` the axis across which they are cut: the patch's shortest (of equals the one of the
            larger spacing).
        wanted: the size of the patch before rounding.
        steps: the patch after rounding, and after each step in which it shrank.
        why: the reason of each choice, in words.
    """

    name: str
    axes: tuple[int, int, int]
    spacing: tuple[float, float, float]
    median_shape: tuple[int, ...]
    patch_size: tuple[int, ...]
    pools: tuple[int, ...]
    batch_size: int
    dice: str
    augmentation: str
    slice_axis: int | None
    wanted: tuple[float, ...]
    steps: tuple[tuple[int, ...], ...] = field(repr=False)
    why: tuple[str, ...] = field(repr=False)

    @property
    def dimensions(self) -> int:
        return len(self.patch_size)

    @property
    def training_patch(self) -> tuple[int, int, int]:
        """The patch with three axes, in the order of ``axes``: one slice in 2D."""
        return (1,) * (3 - self.dimensions) + self.patch_size

    @property
    def features(self) -> tuple[int, ...]:
        """Feature maps at each resolution, from the highest down."""
        most = rule.MOST_FEATURES[self.dimensions]
        return tuple(min(rule.FEATURES * 2**level, most) for level in range(max(self.pools) + 1))


@dataclass(frozen=True)
class Plan:
    """The plan for a data set: its preprocessing and its networks.

    Attributes:
        name: of the data set.
        cases, kinds, labels: as in its fingerprint.
        spacing, median_shape: (z, y, x) in mm that every case is resampled to, and the median size of cases then.
        normalisation: the scheme of each channel, by its name in ``preprocess.normalise``.
        voxels: the budget of a patch in 3D.
        two_d, three_d: the networks.
        low_res: the first stage of the cascade, None where the data set needs none. Its second stage is ``three_d``.
        why: the reasons of what all networks share, in words.
    """

    name: str
    cases: int
    kinds: tuple[str, ...]
    labels: int
    spacing: tuple[float, float, float]
    median_shape: tuple[int, int, int]
    normalisation: tuple[str, ...]
    voxels: int
    two_d: Network
    three_d: Network
    low_res: Network | None
    why: tuple[str, ...] = field(repr=False)

    @property
    def networks(self) -> tuple[Network, ...]:
        """The planned networks, in the order of table 1."""
        return tuple(network for network in (self.two_d, self.three_d, self.low_res) if network is not None)

    def explain(self) -> str:
        """Every choice and its reason, a line each, under a heading for the data set and one for each network."""
        blocks = [(self.name or "The data set", self.why)]
        blocks += [(f"{network.name}: {words.headline(network)}", network.why) for network in self.networks]
        return "\n\n".join("\n".join([title, *(f"- {line}" for line in why)]) for title, why in blocks)


def plan(fingerprint: Fingerprint, voxels: int = PATCH_VOXELS, aspect: str = "mm", cascade: bool = False) -> Plan:
    """Plan the networks for a data set.

    Args:
        voxels: the budget of a patch in 3D; a step takes two such patches, and in 2D pixels in the same proportion.
        aspect: ``"mm"`` gives the patch the proportions that the median case has in millimetres, which is the paper's
            table; ``"voxels"`` those of its voxel counts, which is the paper's text.
        cascade: plan a cascade even where the rule has none; the plan says so.

    Raises:
        ValueError: an impossible budget, an unknown aspect, or a median case of one voxel.
    """
    if isinstance(voxels, bool) or not LEAST_VOXELS <= voxels <= MOST_VOXELS or voxels != int(voxels):
        raise ValueError(
            f"voxels is {voxels!r}; a patch takes a whole number of voxels from {LEAST_VOXELS:,} (16 x 16 x 16, below "
            f"which a U-Net has little to pool) to {MOST_VOXELS:,}; the paper's is {PATCH_VOXELS:,}"
        )
    if aspect not in ASPECTS:
        raise ValueError(f"aspect {aspect!r}: unknown; use one of {ASPECTS}")
    voxels, spacing, shape = int(voxels), fingerprint.spacing, fingerprint.median_shape
    if math.prod(shape) == 1:
        raise ValueError("the median case is a single voxel, of which no network can be normalised; check the shapes")
    dropped, reason = _dropped(shape, spacing)
    in_plane, all_axes = tuple(axis for axis in range(3) if axis != dropped), (0, 1, 2)
    pixels = rule.STEP_PIXELS * voxels // PATCH_VOXELS
    needed = rule.coarser(shape, spacing, voxels)
    grids = needed or (rule.coarser(shape, spacing, voxels, least=1) if cascade else ())

    def network(name: str, grid: rule.Grid, axes: tuple[int, ...], step: int, dice: str, opening: Sequence[str]):
        return _network(name, fingerprint.cases, grid, axes, step, aspect, dice, opening)

    full, low = rule.Grid(shape, spacing, ()), grids[-1] if grids else None
    three_d_dice = "batch" if needed else "sample"
    masked = fingerprint.kept is not None and fingerprint.kept <= MASKED
    return Plan(
        name=fingerprint.name,
        cases=fingerprint.cases,
        kinds=fingerprint.kinds,
        labels=fingerprint.labels,
        spacing=spacing,
        median_shape=shape,
        normalisation=tuple(scheme_for(kind, masked) for kind in fingerprint.kinds),
        voxels=voxels,
        two_d=network("2D", full, in_plane, pixels, "batch", (reason,)),
        three_d=network("3D", full, all_axes, rule.BATCH * voxels, three_d_dice, ()),
        low_res=low
        and network("3D low resolution", low, all_axes, rule.BATCH * voxels, "sample", words.coarser(grids)),
        why=(
            *words.data(fingerprint),
            words.cascade(shape, voxels, bool(grids)),
            *words.normalisation(fingerprint, masked),
        ),
    )


def _dropped(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, str]:
    """The axis that 2D drops, and why: a single voxel, else that of the largest spacing (of equals the first)."""
    largest = rule.coarsest(spacing)
    single = [axis for axis in range(3) if shape[axis] == 1]
    if single and largest[0] not in single:
        return single[0], words.single(single[0])
    return largest[0], words.dropped(largest, spacing)


def _network(
    name: str,
    cases: int,
    grid: rule.Grid,
    along: Sequence[int],
    step: int,
    aspect: str,
    dice: str,
    opening: Sequence[str],
) -> Network:
    """Plan one network.

    Args:
        along: the axes of the patch.
        step: how many voxels an optimiser's step may have, of which a patch may have half.
        opening: the first reasons.
    """
    flat, most, limit = len(along) == 2, rule.MOST_POOLS[len(along)], step // rule.BATCH
    median = tuple(grid.shape[axis] for axis in along)
    extent = tuple(grid.shape[axis] * (grid.spacing[axis] if aspect == "mm" else 1) for axis in along)
    scaled = None
    if not flat or math.prod(rule.round_up(size, most)[0] for size in median) > limit:
        scaled = rule.scaled(extent, limit)
    wanted = tuple(float(min(max(size, 1), top)) for size, top in zip(scaled or median, median, strict=True))
    steps = rule.fit(wanted, limit, most)
    patch = steps[-1]
    share = rule.five_percent(cases, math.prod(grid.shape), math.prod(patch))
    shortest = min(range(len(along)), key=lambda number: (patch[number], -grid.spacing[along[number]]))
    slices = not flat and max(patch) > 2 * min(patch)
    network = Network(
        name=name,
        axes=(*(axis for axis in range(3) if axis not in along), *along),
        spacing=tuple(grid.spacing),
        median_shape=median,
        patch_size=patch,
        pools=tuple(rule.pools_of(size, most) for size in patch),
        batch_size=max(rule.BATCH, min(step // math.prod(patch), share)),
        dice=dice,
        augmentation="2D" if flat else "slices" if slices else "3D",
        slice_axis=shortest if slices else None,
        wanted=wanted,
        steps=steps,
        why=(),
    )
    why = (
        *opening,
        words.wanted(network, extent, aspect, limit, scaled),
        *words.rounded(network, [rule.round_up(size, most) for size in wanted]),
        *words.shrunk(network, limit),
        words.batch(network, step, share),
        words.features(network),
        words.dice(dice),
        words.augmentation(network),
    )
    return replace(network, why=why)
