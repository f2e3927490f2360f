"""The augmentation of nnU-Net (Isensee et al., 2018) for a whole batch, on the device on which it trains.

Values and order are those of the first public code (MIC-DKFZ/nnUNet 6150f1b0, ``default_data_augmentation``): elastic
deformation, rotation, scaling, then gamma, then mirroring. The draws are made on the host and may be looked at, kept
and applied again.

    settings = paper_b(patch_size)
    drawn = draw(batch, channels, patch_size, settings, generator)
    size = spatial_draws.reach(drawn.spatial, patch_size)  # or block_size(patch_size, settings), whatever is drawn
    images, label = apply(blocks, block_labels, drawn, patch_size)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gbmlib.augment import intensity, spatial, spatial_draws
from gbmlib.augment.simple import draw_mirror, mirror

#: What can be left out, by name.
TRANSFORMS = ("rotation", "scaling", "elastic", "gamma", "mirror")
#: How many times longer than the shortest edge the longest may be before slices are augmented each in its plane.
ANISOTROPIC = {"paper": 2.0, "code": 3.0}


@dataclass(frozen=True)
class Settings:
    """What is drawn, and how often; probability 0 leaves a transform out.

    Attributes:
        spatial: rotation, scaling and elastic deformation.
        gamma: bounds of the exponent; each channel draws its own, with ``p_gamma`` for the sample as a whole.
        p_mirror: for each axis on its own.
        spare_zeros: whether background that is zero in every channel stays zero under gamma: for images that were
            normalised inside a mask only.

    Raises:
        ValueError: says all that is wrong.
    """

    spatial: spatial_draws.Settings = field(default_factory=spatial_draws.Settings)
    gamma: tuple[float, float] = (0.7, 1.5)
    p_gamma: float = 0.3
    p_mirror: float = 0.5
    spare_zeros: bool = False

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is a probability, not {getattr(self, name)}"
            for name in ("p_gamma", "p_mirror")
            if not 0 <= getattr(self, name) <= 1
        ]
        if not 0 < self.gamma[0] <= self.gamma[1]:
            wrong.append(f"gamma is (lowest, highest), above 0, not {self.gamma}")
        if wrong:
            raise ValueError("settings of the augmentation: " + "; ".join(wrong))


@dataclass(frozen=True)
class Parameters:
    """One draw for a batch, on the host: the map, exponents (sample, channel), mirrored axes (sample, 3), mask rule."""

    spatial: spatial_draws.SpatialParameters
    gamma: Tensor
    mirror: Tensor
    spare_zeros: bool = False


def paper_b(
    patch_size: Sequence[int],
    without: Collection[str] = (),
    constants: str = "code",
    spare_zeros: bool = False,
    slicewise: bool | None = None,
) -> Settings:
    """The augmentation that a patch (z, y, x) gets.

    Where its longest edge is over twice (paper, section 2.3; the code: three times) the shortest, the two-dimensional
    one: slices across the shortest axis, each moved in its plane and all alike, with a weaker elastic deformation
    and rotation by up to 180 degrees, or 15 where the plane is longer than 1.5 to 1. A patch of one slice, a
    two-dimensional network's, is the same thing. (The code asks for the plane's shape only with those networks.)

    Args:
        without: names of :data:`TRANSFORMS` to leave out.
        constants: "code" or "paper", for the one value in which they differ.
        spare_zeros: see :class:`Settings`.
        slicewise: whether slices are moved in their plane, whatever the rule above says; None follows it.

    Raises:
        ValueError: an unknown name; a patch that is not three positive numbers; one slice to be moved out of its plane.
    """
    wrong = []
    if unknown := sorted(set(without) - set(TRANSFORMS)):
        wrong.append(f"there is no {', '.join(map(repr, unknown))} to leave out; there are {', '.join(TRANSFORMS)}")
    if constants not in ANISOTROPIC:
        wrong.append(f"constants are {' or '.join(map(repr, ANISOTROPIC))}, not {constants!r}")
    if len(patch_size) != 3 or min(patch_size) < 1:
        wrong.append(f"a patch is (z, y, x) of positive numbers, not {tuple(patch_size)}")
    if slicewise is False and min(patch_size) == 1:
        wrong.append(
            f"a patch {tuple(patch_size)} is one slice, which moves in its plane alone; slicewise cannot be False"
        )
    if wrong:
        raise ValueError("augmentation of nnU-Net: " + "; ".join(wrong))
    moves = spatial_draws.Settings()
    ruled = max(patch_size) > ANISOTROPIC[constants] * min(patch_size)
    if ruled if slicewise is None else slicewise:
        slices = min(range(3), key=patch_size.__getitem__)
        plane = [patch_size[axis] for axis in spatial_draws.moving_axes(slices)]
        longish = max(plane) > 1.5 * min(plane)
        moves = replace(moves, slices=slices, alpha=(0, 200), rotation=15 if longish else 180)
    moves = replace(moves, **{f"p_{name}": 0.0 for name in ("rotation", "scaling", "elastic") if name in without})
    return Settings(
        moves, spare_zeros=spare_zeros, **{f"p_{name}": 0.0 for name in ("gamma", "mirror") if name in without}
    )


def block_size(patch_size: Sequence[int], settings: Settings) -> tuple[int, int, int]:
    """How large a block (z, y, x) to cut for a patch: see ``augment.spatial_draws.block_size``."""
    return spatial_draws.block_size(patch_size, settings.spatial)


def draw(
    batch: int, channels: int, patch_size: Sequence[int], settings: Settings, generator: torch.Generator
) -> Parameters:
    """All parameters of a batch, from a generator of the host's.

    A transform that is left out takes as much from the generator as one that is not: the others draw the same.
    """
    return Parameters(
        spatial_draws.draw(batch, patch_size, settings.spatial, generator),
        intensity.draw_gamma(batch, channels, settings.p_gamma, settings.gamma, generator),
        draw_mirror(batch, settings.p_mirror, generator),
        settings.spare_zeros,
    )


def apply(images: Tensor, label: Tensor, parameters: Parameters, patch_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What a draw makes of blocks: images (sample, channel, z, y, x) and label (sample, z, y, x) of the patch's size.

    Several label maps (sample, map, z, y, x) go the same way as one.

    Raises:
        ValueError: shapes do not fit; says how.
    """
    images, label = spatial.apply(images, label, parameters.spatial, patch_size)
    images = intensity.gamma(images, parameters.gamma, parameters.spare_zeros)
    return mirror(images, parameters.mirror), mirror(label, parameters.mirror)


def augment(
    images: Tensor, label: Tensor, settings: Settings, patch_size: Sequence[int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw and apply at once, for blocks of :func:`block_size`: see :func:`draw` and :func:`apply`."""
    parameters = draw(len(images), images.shape[1], patch_size, settings, generator)
    return apply(images, label, parameters, patch_size)
