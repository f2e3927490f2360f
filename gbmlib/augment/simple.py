"""Augmentation: parameters are drawn from a generator, then applied by deterministic functions.

So a transform can be tested exactly and replayed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gbmlib.augment.warp import to_device


def draw_flips(probability: float, generator: torch.Generator) -> tuple[int, ...]:
    """The spatial axes (0 z, 1 y, 2 x) to mirror, each with the given probability on its own.

    Adeniji and Liu (2019, sections 4.2 and 5.1.1) mirror across each spatial axis with probability 0.75.
    """
    return tuple(axis for axis in range(3) if float(torch.rand((), generator=generator)) < probability)


def flip(volume: Tensor, axes: Sequence[int]) -> Tensor:
    """Mirror a volume (…, z, y, x) along spatial axes; twice is the identity."""
    return volume.flip([axis - 3 for axis in axes]) if axes else volume


def draw_copy(probability: float, generator: torch.Generator) -> bool:
    """Whether a training crop comes from a flipped copy, as in Adeniji and Liu's code.

    The code (vliu15/3d-brain-tumor-segmentation, 23d955b) keeps every case and, with this probability p (0.75), adds a
    flipped copy of it, from which it takes as many crops. So p / (1 + p) of the training crops are of copies, 3/7 or
    about 43 %, and with that share one is drawn here.
    """
    return float(torch.rand((), generator=generator)) < probability / (1 + probability)


def flip_copy(images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The code's flipped copy of images and target (channel, z, y, x); twice is the identity.

    The code flips axes 1, 2 and 3 at once. Its arrays are (height, width, depth, channel) and height is x, width y and
    depth z, so the copy is mirrored along y and z, never along x, and the modalities change places: what the network
    takes for T1ce is then FLAIR. The target is mirrored only.
    """
    return images.flip((0, 1, 2)), target.flip((1, 2))


def draw_intensity(
    channels: int, shift: float, scale: float, generator: torch.Generator
) -> tuple[list[float], list[float]]:
    """A shift in [-shift, shift] and a factor in [1 - scale, 1 + scale] for each channel, uniform.

    Myronenko (2018, section 3.3) uses 0.1 of the deviation for both; Adeniji and Liu (section 4.1) leave it out.
    """
    drawn = (2 * torch.rand((2, channels), generator=generator) - 1).tolist()
    return [shift * value for value in drawn[0]], [1 + scale * value for value in drawn[1]]


def intensity(images: Tensor, shifts: Sequence[float], factors: Sequence[float]) -> Tensor:
    """Scale and shift each channel of images (channel, z, y, x) inside the brain; the background stays zero."""
    shape = (-1, 1, 1, 1)
    moved = images * images.new_tensor(factors).view(shape) + images.new_tensor(shifts).view(shape)
    return torch.where(images != 0, moved, images)


def around_one(side: Tensor, share: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Factors within bounds from two uniform draws in [0, 1): below 1 as often as above, and uniform on either side.

    So batchgenerators draws scaling and gamma. Where the bounds lie on one side of 1, uniform between them.
    """
    low, high = bounds
    if not low < 1 < high:
        return low + (high - low) * share
    return torch.where(side < 0.5, low + (1 - low) * share, 1 + (high - 1) * share)


def draw_mirror(batch: int, probability: float, generator: torch.Generator) -> Tensor:
    """Along which spatial axes (z, y, x) to mirror each sample: booleans (sample, 3), each axis on its own."""
    return torch.rand((batch, 3), generator=generator) < probability


def mirror(volume: Tensor, axes: Tensor) -> Tensor:
    """Mirror each sample of a batch (sample, …, z, y, x) along its own axes, booleans (sample, 3) on the host."""
    patterns: dict[tuple[bool, ...], list[int]] = {}
    for sample, pattern in enumerate(axes.tolist()):
        patterns.setdefault(tuple(pattern), []).append(sample)
    flipped = {pattern: [axis - 3 for axis in range(3) if pattern[axis]] for pattern in patterns}
    if len(patterns) == 1:
        return volume.flip(*flipped.values())
    out = torch.empty_like(volume)
    for pattern, samples in patterns.items():
        rows = to_device(torch.tensor(samples), volume.device)
        out[rows] = volume[rows].flip(flipped[pattern])
    return out
