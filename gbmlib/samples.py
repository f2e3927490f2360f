"""A prepared case as training takes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """A prepared case on the training device: images (channel, z, y, x) float32, target (region, z, y, x) bool."""

    id: str
    images: Tensor
    target: Tensor

    @cached_property
    def code(self) -> Tensor:
        """All regions in one uint8 (z, y, x), a bit each: see :func:`encode`."""
        return encode(self.target)

    @cached_property
    def foreground(self) -> list[Tensor]:
        """For each region that the case has, the positions of its voxels (number, 3) as (z, y, x), on the CPU."""
        found = (torch.nonzero(region).int().cpu() for region in self.target)
        return [positions for positions in found if len(positions)]


def encode(target: Tensor) -> Tensor:
    """Regions (region, z, y, x) as one uint8 (z, y, x) with a bit for each, nested or exclusive.

    So a deformation needs one map, and each voxel of the result holds regions that belong together.

    Raises:
        ValueError: more than eight regions.
    """
    if len(target) > 8:
        raise ValueError(f"{len(target)} regions do not fit into the eight bits that the augmentation works on")
    out = torch.zeros(target.shape[1:], dtype=torch.uint8, device=target.device)
    for number, region in enumerate(target):
        out |= region.to(torch.uint8) << number
    return out


def decode(code: Tensor, regions: int) -> Tensor:
    """The regions (batch, region, z, y, x), bool, of codes (batch, z, y, x); the way back of :func:`encode`."""
    return torch.stack([(code >> number) & 1 == 1 for number in range(regions)], 1)
