"""Training patches: their positions are drawn at random, and a deterministic function cuts them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


def draw_corner(shape: Sequence[int], patch_size: Sequence[int], generator: torch.Generator) -> tuple[int, int, int]:
    """The corner (z, y, x) of a patch at a random position, all positions alike.

    Along an axis shorter than the patch the corner is negative: the volume lies at a random place within the patch, and
    :func:`crop` fills the rest with zeros.
    """
    spare = [size - patch for size, patch in zip(shape, patch_size, strict=True)]
    drawn = [int(torch.randint(abs(room) + 1, (), generator=generator)) for room in spare]
    return tuple(offset if room >= 0 else -offset for offset, room in zip(drawn, spare, strict=True))


def fixed_corners(
    shape: Sequence[int], patch_size: Sequence[int], number: int, seed: int, case_id: str
) -> list[tuple[int, int, int]]:
    """Random corners that depend on the seed and the case alone.

    Adeniji and Liu (2019, sections 4.2 and 5.1.1) take three random crops of a case once and keep them.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {case_id}".encode()))
    return [draw_corner(shape, patch_size, generator) for _ in range(number)]


def crop(volume: Tensor, corner: Sequence[int], patch_size: Sequence[int]) -> Tensor:
    """The patch of a volume (channel, z, y, x) at a corner, zero where it reaches outside the volume."""
    start = [max(at, 0) for at in corner]
    stop = [min(at + patch, size) for at, patch, size in zip(corner, patch_size, volume.shape[1:], strict=True)]
    inner = volume[(slice(None), *(slice(a, b) for a, b in zip(start, stop, strict=True)))]
    if tuple(inner.shape[1:]) == tuple(patch_size):
        return inner
    out = volume.new_zeros((len(volume), *patch_size))
    put = [slice(a - at, b - at) for a, b, at in zip(start, stop, corner, strict=True)]
    out[(slice(None), *put)] = inner
    return out


#: The rules of :func:`forced`.
FOREGROUND = ("none", "paper")


def forced(rule: str, batch_size: int) -> int:
    """How many patches of a batch must hold foreground (Isensee et al. 2018, section 2.3).

    "More than a third" of the samples: 1 of 2, 4 of 9. (The public code: 1 of 2, 3 of 9, a third and not more.)
    """
    return batch_size // 3 + 1 if rule == "paper" else 0


def draw_foreground_corner(
    foreground: Sequence[Tensor], shape: Sequence[int], patch_size: Sequence[int], generator: torch.Generator
) -> tuple[int, int, int]:
    """The corner (z, y, x) of a patch around a random voxel of a random region that the case has.

    The public code centres the patch on the voxel, which teaches a network that foreground lies in the middle: Dice on
    such patches is higher than on whole cases. Here the voxel lies anywhere in the middle half of the patch. At the
    volume's border the patch is moved inside.

    Args:
        foreground: positions (number, 3) of each region that the case has (``training.samples.Sample.foreground``).
    """
    positions = foreground[int(torch.randint(len(foreground), (), generator=generator))]
    voxel = positions[int(torch.randint(len(positions), (), generator=generator))].tolist()
    corner = []
    for at, size, patch in zip(voxel, shape, patch_size, strict=True):
        jitter = int(torch.randint(2 * (patch // 4) + 1, (), generator=generator)) - patch // 4
        room = size - patch
        corner.append(min(max(at - patch // 2 + jitter, min(room, 0)), max(room, 0)))
    return tuple(corner)
