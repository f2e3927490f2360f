"""Prepared cases as tensors, for training and validation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

#: Of a byte: so many regions have one each.
BITS = 8


@dataclass(frozen=True)
class Sample:
    """A prepared case on the training device.

    Attributes:
        images: float32 (channel, z, y, x).
        target: bool (region, z, y, x).
        previous: in a cascade, the label map (z, y, x), uint8, that the first network predicted; region k is k + 1.
    """

    id: str
    images: Tensor
    target: Tensor
    previous: Tensor | None = None

    @cached_property
    def inputs(self) -> Tensor:
        """The network's input (channel, z, y, x): the images, and in a cascade the first prediction, one-hot."""
        return self.images if self.previous is None else with_previous(self.images, self.previous, len(self.target))

    @cached_property
    def code(self) -> Tensor:
        """All regions in one uint8 (z, y, x): see :func:`encode`."""
        return encode(self.target)

    @cached_property
    def foreground(self) -> list[Tensor]:
        """For each region that the case has, the positions of its voxels (number, 3) as (z, y, x), on the CPU."""
        return [torch.nonzero(region).int().cpu() for region in self.target if region.any()]


def with_previous(images: Tensor, previous: Tensor, regions: int) -> Tensor:
    """Images (channel, z, y, x) with a channel more for each region of a label map (z, y, x): 1 inside, 0 outside."""
    return torch.cat([images, one_hot(previous, regions).to(images)])


def one_hot(previous: Tensor, regions: int) -> Tensor:
    """The regions (region, z, y, x), bool, of a label map (z, y, x) in which region k is k + 1."""
    return torch.stack([previous == number + 1 for number in range(regions)])


def encode(target: Tensor) -> Tensor:
    """Regions (region, z, y, x) as one uint8 (z, y, x): a bit for each of up to eight, nested or exclusive; of more
    regions, which must exclude each other, the number of a voxel's own, from 1.

    A deformation then moves one map, and regions of a voxel stay together.

    Raises:
        ValueError: more than 255 regions, or more than eight that overlap.
    """
    if len(target) > 255:
        raise ValueError(f"{len(target)} regions; the augmentation takes 255 at most")
    out = torch.zeros(target.shape[1:], dtype=torch.uint8, device=target.device)
    for number, region in enumerate(target):
        if len(target) <= BITS:
            out |= region.to(torch.uint8) << number
            continue
        if (region & (out > 0)).any():
            raise ValueError(f"{len(target)} regions overlap; the augmentation takes no more than {BITS} that do")
        out[region] = number + 1
    return out


def decode(code: Tensor, regions: int) -> Tensor:
    """The regions (batch, region, z, y, x), bool, of codes (batch, z, y, x); the inverse of :func:`encode`."""
    if regions > BITS:
        return torch.stack([code == number + 1 for number in range(regions)], 1)
    return torch.stack([(code >> number) & 1 == 1 for number in range(regions)], 1)
