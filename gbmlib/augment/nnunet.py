"""The augmentation of nnU-Net (Isensee et al., 2018) for a whole batch, on the device on which it trains.

Values and order are those of the first public code (MIC-DKFZ/nnUNet 6150f1b0, ``default_data_augmentation``): elastic
deformation, rotation, scaling, then gamma, then mirroring. The draws are made on the host and may be looked at, kept
and applied again.

    settings = paper_b(patch_size)
    drawn = draw(batch, channels, patch_size, settings, generator)
    size = spatial.reach(drawn.spatial, patch_size)  # of the blocks to cut
    images, label = apply(blocks, block_labels, drawn, patch_size)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gbmlib.augment import gamma, spatial
from gbmlib.augment.simple import draw_mirror, mirror

#: What can be left out, by name.
TRANSFORMS = ("rotation", "scaling", "elastic", "gamma", "mirror")
#: How many times longer than the shortest edge the longest may be before slices are augmented each in its plane. (The
#: code: three times.)
ANISOTROPIC = 2.0


@dataclass(frozen=True)
class Settings:
    """Ranges and probabilities of the transforms; probability 0 leaves a transform out.

    Attributes:
        spatial: rotation, scaling and elastic deformation.
        gamma: bounds of the exponent; each channel draws its own, with ``p_gamma`` for the sample as a whole.
        p_mirror: for each axis on its own.
        spare_zeros: whether background that is zero in every channel stays zero under gamma: for images that were
            normalised inside a mask only.
    """

    spatial: spatial.Settings = field(default_factory=spatial.Settings)
    gamma: tuple[float, float] = (0.7, 1.5)
    p_gamma: float = 0.3
    p_mirror: float = 0.5
    spare_zeros: bool = False


@dataclass(frozen=True)
class Parameters:
    """One draw for a batch, on the host: the map, exponents (sample, channel), mirrored axes (sample, 3), mask rule."""

    spatial: spatial.Parameters
    gamma: Tensor
    mirror: Tensor
    spare_zeros: bool = False


def paper_b(
    patch_size: Sequence[int],
    without: Collection[str] = (),
    spare_zeros: bool = False,
    slicewise: bool | None = None,
) -> Settings:
    """The augmentation that a patch (z, y, x) gets.

    Where its longest edge is over twice the shortest (section 2.3), the two-dimensional one: slices across the shortest
    axis, each moved in its plane and all alike, with a weaker elastic deformation and rotation by up to 180 degrees, or
    15 where the plane is longer than 1.5 to 1. A patch of one slice, a two-dimensional network's, is the same thing.
    (The code asks for the plane's shape only with those networks.)

    Args:
        without: names of :data:`TRANSFORMS` to leave out.
        spare_zeros: see :class:`Settings`.
        slicewise: whether slices are moved in their plane, whatever the rule above says; None follows it.
    """
    moves = spatial.Settings()
    if slicewise is None:
        slicewise = max(patch_size) > ANISOTROPIC * min(patch_size)
    if slicewise:
        slices = min(range(3), key=patch_size.__getitem__)
        plane = [patch_size[axis] for axis in spatial.moving_axes(slices)]
        longish = max(plane) > 1.5 * min(plane)
        moves = replace(moves, slices=slices, alpha=(0, 200), rotation=15 if longish else 180)
    moves = replace(moves, **{f"p_{name}": 0.0 for name in ("rotation", "scaling", "elastic") if name in without})
    never = {f"p_{name}": 0.0 for name in ("gamma", "mirror") if name in without}
    return Settings(moves, spare_zeros=spare_zeros, **never)


def draw(
    batch: int, channels: int, patch_size: Sequence[int], settings: Settings, generator: torch.Generator
) -> Parameters:
    """All parameters of a batch, from a generator of the host's.

    A transform that is left out takes as much from the generator as one that is not: the others draw the same.
    """
    return Parameters(
        spatial.draw(batch, patch_size, settings.spatial, generator),
        gamma.draw(batch, channels, settings.p_gamma, settings.gamma, generator),
        draw_mirror(batch, settings.p_mirror, generator),
        settings.spare_zeros,
    )


def apply(images: Tensor, label: Tensor, parameters: Parameters, patch_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Augmented patches from blocks: images (sample, channel, z, y, x) and label (sample, z, y, x) of the patch's size.

    Several label maps (sample, map, z, y, x) go the same way as one.
    """
    images, label = spatial.apply(images, label, parameters.spatial, patch_size)
    images = gamma.apply(images, parameters.gamma, parameters.spare_zeros)
    return mirror(images, parameters.mirror), mirror(label, parameters.mirror)
