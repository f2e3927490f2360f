"""What rotates, scales and deforms a batch: settings, draws, and how large a block a draw reads from.

As in the augmentation of nnU-Net (Isensee et al., 2018, section 2.3; values: MIC-DKFZ/nnUNet 6150f1b0, method:
batchgenerators). Drawn on the host from a generator; ``augment.spatial.apply`` makes patches of it on any device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from gbmlib.augment import elastic
from gbmlib.augment.simple import around_one

#: A margin of so many standard deviations of the displacement at a face keeps borders out of all but freak draws.
SAFE_DEVIATIONS = 4


@dataclass(frozen=True)
class Settings:
    """What is drawn, and how often.

    Attributes:
        rotation: the largest angle about each axis, in degrees; uniform from minus to plus.
        scaling: lowest and highest factor, one for all axes, below 1 as often as above. Above 1, things get smaller.
        alpha, sigma: bounds of the elastic deformation's strength and width (voxels), uniform.
        p_rotation, p_scaling, p_elastic: the probability of each for a sample; 0 leaves it out.
        slices: the axis (0 z, 1 y, 2 x) across which the patch's slices lie, where each is to stay in its plane: all
            slices of a sample then share one map of the plane. None moves the patch in three dimensions.

    Raises:
        ValueError: says all that is wrong.
    """

    rotation: float = 15
    scaling: tuple[float, float] = (0.85, 1.25)
    alpha: tuple[float, float] = (0, 900)
    sigma: tuple[float, float] = (9, 13)
    p_rotation: float = 0.2
    p_scaling: float = 0.2
    p_elastic: float = 0.2
    slices: int | None = None

    def __post_init__(self) -> None:
        wrong = []
        if not 0 <= self.rotation <= 180:
            wrong.append(f"rotation is an angle from 0 to 180 degrees, not {self.rotation}")
        for name in ("scaling", "alpha", "sigma"):
            low, high = getattr(self, name)
            if not 0 <= low <= high or (low == 0 and name != "alpha"):
                wrong.append(f"{name} is (lowest, highest){', above 0' * (name != 'alpha')}, not {low, high}")
        for name in ("p_rotation", "p_scaling", "p_elastic"):
            if not 0 <= getattr(self, name) <= 1:
                wrong.append(f"{name} is a probability, not {getattr(self, name)}")
        if self.slices not in (None, 0, 1, 2):
            wrong.append(f"slices is 0 (z), 1 (y), 2 (x) or None, not {self.slices}")
        if wrong:
            raise ValueError("settings of the spatial augmentation: " + "; ".join(wrong))


@dataclass(frozen=True)
class SpatialParameters:
    """One draw for a batch: all that ``augment.spatial.apply`` needs, on the host.

    Attributes:
        matrix: A (sample, axis, axis) for the axes that move (three, or the two of the slices' plane).
        alpha, sigma: of the elastic deformation (sample,); alpha 0 is none.
        noise: uniform in [-1, 1] (sample, axis, …) on the lattice of ``augment.elastic.lattice``; None where no
            sample is deformed.
        slices: as in :class:`Settings`.
    """

    matrix: Tensor
    alpha: Tensor
    sigma: Tensor
    noise: Tensor | None
    slices: int | None = None

    @property
    def moved(self) -> list[int]:
        """The samples that are not just cut out."""
        same = (self.matrix == torch.eye(self.matrix.shape[-1], dtype=self.matrix.dtype)).flatten(1).all(1)
        return (~same | (self.alpha != 0)).nonzero().flatten().tolist()

    def __getitem__(self, samples: slice | list[int]) -> SpatialParameters:
        """The draw for some of the samples."""
        taken = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[samples] for name, value in taken.items() if isinstance(value, Tensor)})


def draw(batch: int, patch_size: Sequence[int], settings: Settings, generator: torch.Generator) -> SpatialParameters:
    """Parameters for every sample of a batch.

    A batch takes the same numbers from the generator whatever the settings, so that to leave one transform out does not
    change the draws of the others.
    """
    drawn = torch.rand((batch, 10), dtype=torch.float64, generator=generator)
    seeds = torch.randint(2**62, (batch,), generator=generator).tolist()
    rotated, angles = drawn[:, 0] < settings.p_rotation, (2 * drawn[:, 1:4] - 1) * math.radians(settings.rotation)
    scaled, factor = drawn[:, 4] < settings.p_scaling, around_one(drawn[:, 5], drawn[:, 6], settings.scaling)
    deformed, alpha = drawn[:, 7] < settings.p_elastic, _between(drawn[:, 8], settings.alpha)
    axes = moving_axes(settings.slices)
    noise = None
    if deformed.any():
        size = [patch_size[axis] for axis in axes]
        noise = torch.zeros((batch, len(axes), *elastic.lattice(size, settings.sigma[0])))
        for sample in deformed.nonzero().flatten().tolist():
            noise[sample].uniform_(-1, 1, generator=torch.Generator().manual_seed(seeds[sample]))
    return SpatialParameters(
        matrix=turned(angles * rotated[:, None], settings.slices) * torch.where(scaled, factor, 1)[:, None, None],
        alpha=alpha * deformed,
        sigma=_between(drawn[:, 9], settings.sigma),
        noise=noise,
        slices=settings.slices,
    )


def moving_axes(slices: int | None) -> list[int]:
    """The axes (0 z, 1 y, 2 x) along which voxels move."""
    return [axis for axis in range(3) if axis != slices]


def turned(angles: Tensor, slices: int | None = None) -> Tensor:
    """Rotation matrices (sample, axis, axis) from angles (sample, 3) in radians: about z first, then y, then x.

    With ``slices``, the rotation about that axis alone, as matrices of the plane.
    """
    matrix = torch.eye(3, dtype=angles.dtype).expand(len(angles), 3, 3)
    for axis in range(3) if slices is None else (slices,):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        about = torch.eye(3, dtype=angles.dtype).repeat(len(angles), 1, 1)
        about[:, first, first] = about[:, second, second] = angles[:, axis].cos()
        about[:, second, first] = angles[:, axis].sin()
        about[:, first, second] = -angles[:, axis].sin()
        matrix = about @ matrix
    axes = moving_axes(slices)
    return matrix[:, axes][:, :, axes]


def block_size(patch_size: Sequence[int], settings: Settings) -> tuple[int, int, int]:
    """How large a block (z, y, x) must be so that whatever is drawn no border of it enters the patch.

    The patch's corners under the largest factor and the worst angles decide, and a margin for the elastic deformation:
    four standard deviations of the strongest one at a face of the patch, where its variance is half of that inside.
    Only freak draws go further; they read the block's outermost voxels again. (nnU-Net's own blocks are smaller: it
    divides by the lowest factor where the largest counts, and takes one angle at a time.)

    Most draws need far less: see :func:`reach`.
    """
    steps = 25 if settings.slices is None else 721
    angles = torch.linspace(-1, 1, steps, dtype=torch.float64) * math.radians(settings.rotation)
    angles = angles if settings.p_rotation else angles[:1] * 0
    angles = torch.cartesian_prod(angles, angles, angles) if settings.slices is None else angles[:, None].repeat(1, 3)
    strongest = torch.tensor(settings.alpha[1] if settings.p_elastic else 0.0, dtype=torch.float64)
    worst = SpatialParameters(
        matrix=turned(angles, settings.slices) * (max(1, settings.scaling[1]) if settings.p_scaling else 1),
        alpha=strongest.expand(len(angles)),
        sigma=torch.full((len(angles),), settings.sigma[0], dtype=torch.float64),
        noise=None,
        slices=settings.slices,
    )
    return reach(worst, patch_size)


def reach(parameters: SpatialParameters, patch_size: Sequence[int]) -> tuple[int, int, int]:
    """How large a block (z, y, x) this draw needs, with the margin of :func:`block_size`; the patch where none moves.

    Patch and block differ by even numbers, so that their centres agree.
    """
    axes = moving_axes(parameters.slices)
    half = torch.tensor([(patch_size[axis] - 1) / 2 for axis in axes], dtype=torch.float64)
    margin = elastic.deviation(parameters.alpha, parameters.sigma, len(axes)) * SAFE_DEVIATIONS / math.sqrt(2)
    furthest = (parameters.matrix.abs() @ (half + margin[:, None])[:, :, None]).squeeze(-1).amax(0)
    # What rounding adds to the product of a rotation there and back is no reason for another voxel.
    more = (furthest - half - 1e-6).ceil().clamp(min=0).int().tolist()
    size = list(patch_size)
    for axis, extra in zip(axes, more, strict=True):
        size[axis] += 2 * extra
    return tuple(size)


def _between(part: Tensor, bounds: tuple[float, float]) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * part
