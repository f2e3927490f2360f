"""Reading volumes between their voxels: images linearly, label maps by the largest share.

Every step is one operation on a whole tensor, on the processor and on a graphics card alike, and nothing is read back
from the card. Volumes are flat here, so that a voxel's neighbours lie at fixed distances from it and one index finds
all corners of a cell in all channels.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cells:
    """The cells of 2 x 2 (x 2) neighbouring voxels in which points lie.

    Attributes:
        index: int64 (N,), the cell's lowest corner in the flat volume.
        fractions: for each axis (N,), how far from there to the next voxel, 0 to 1.
        offsets: from the lowest corner to each corner in the flat volume; along the last axis from one to the next.
    """

    index: Tensor
    fractions: list[Tensor]
    offsets: list[int]


def find_cells(coordinates: Sequence[Tensor], origin: Sequence[int], size: Sequence[int]) -> Cells:
    """The cells of points; a point outside counts as the nearest one inside.

    Args:
        coordinates: for each axis the points' distances (N,) from the voxel ``origin``, in voxels. Small distances keep
            the precision of float32 in the fraction.
        size: of the volume.
    """
    index, fractions, strides = None, [], []
    for axis, (points, zero, extent) in enumerate(zip(coordinates, origin, size, strict=True)):
        lower = points.floor().clamp_(-zero, max(extent - 2, 0) - zero)
        fractions.append((points - lower).clamp_(0, 1))
        corner = lower.long().add_(zero)
        index = corner if index is None else index.mul_(extent).add_(corner)
        strides.append(math.prod(size[axis + 1 :]) if extent > 1 else 0)
    offsets = [
        sum(step * stride for step, stride in zip(steps, strides, strict=True))
        for steps in itertools.product((0, 1), repeat=len(strides))
    ]
    return Cells(index, fractions, offsets)


def linear(flat: Tensor, cells: Cells) -> Tensor:
    """Values (N,) of a flat volume, interpolated linearly along each axis; exact at the voxels themselves."""
    values = [flat[offset:].index_select(0, cells.index) for offset in cells.offsets]
    for fraction in reversed(cells.fractions):
        values = [near.lerp_(far, fraction) for near, far in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def largest_label(flat: Tensor, cells: Cells) -> Tensor:
    """Labels (N,) of a flat label map: each is interpolated linearly on its own, and the largest wins.

    So no label can appear that the cell does not hold. Of labels with equal shares the lowest wins.
    """
    corners = [flat[offset:].index_select(0, cells.index) for offset in cells.offsets]
    if flat.is_cuda:  # to ask which cells are mixed would make the host wait for the card
        return _largest(torch.stack(corners), cells.fractions)
    mixed = torch.zeros_like(corners[0], dtype=torch.bool)
    for corner in corners[1:]:
        mixed |= corner != corners[0]
    where = mixed.nonzero().squeeze(1)
    held = torch.stack([corner.index_select(0, where) for corner in corners])
    chosen = _largest(held, [fraction.index_select(0, where) for fraction in cells.fractions])
    return corners[0].index_copy_(0, where, chosen)


def _largest(held: Tensor, fractions: Sequence[Tensor]) -> Tensor:
    """The labels (N,) whose corners weigh the most, from labels at the corners (corner, N)."""
    weights = [torch.ones_like(fractions[0])]
    for fraction in fractions:
        weights = [weight * factor for weight in weights for factor in (1 - fraction, fraction)]
    weights = torch.stack(weights)
    best, chosen = weights.new_full(weights.shape[1:], -1), held[0]
    for label in held:
        # Summed in one order for every corner, so that corners of one label have one share.
        share = ((held == label) * weights).sum(0)
        better = (share > best) | ((share == best) & (label < chosen))
        chosen = torch.where(better, label, chosen)
        best = torch.maximum(best, share)
    return chosen


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the host's on the device, without waiting for what the device is at."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


@contextlib.contextmanager
def cpu_threads(number: int = 1) -> Iterator[None]:
    """Compute with this many CPU threads: their number decides the order of sums, and so the last bits of a result.

    Many short operations take one, as several threads would spend them on waiting: on a machine that is busy with
    something else, two threads can take a hundred times longer for them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
