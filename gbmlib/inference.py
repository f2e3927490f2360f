"""Predicting whole volumes tile by tile, with tiles that overlap and blend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations, product

import torch
from torch import Tensor

from gbmlib.augment import flip


def sliding_window(
    predict: Callable[[Tensor], Tensor],
    image: Tensor,
    patch_size: Sequence[int],
    overlap: float = 0.5,
    mirror_axes: Sequence[int] = (),
) -> Tensor:
    """Predict a volume of any size (channel, z, y, x) from tiles of ``patch_size``; float32 (channel, z, y, x).

    Tiles overlap by at least ``overlap`` of their size, their steps evenly re-spaced so that the last one ends at the
    volume's end; their results are blended with Gaussian weights (deviation an eighth of the patch) and added up in
    float32. Axes shorter than the patch are padded with zeros on both sides. With ``mirror_axes`` (0 z, 1 y, 2 x) the
    results over all combinations of mirrored axes are averaged (Isensee et al. 2018, section 2.4).

    Args:
        predict: takes (1, channel, z, y, x) of the patch's size and returns what is to be averaged, such as
            probabilities, of the same spatial size.

    Raises:
        ValueError: overlap outside [0, 1), or an image without four axes.
    """
    if image.ndim != 4 or not 0 <= overlap < 1:
        raise ValueError(f"need an image (channel, z, y, x) and 0 <= overlap < 1, not {tuple(image.shape)}, {overlap}")
    size = image.shape[1:]
    padding = [max(patch - extent, 0) for patch, extent in zip(patch_size, size, strict=True)]
    before = [room // 2 for room in padding]
    # torch counts padding from the last axis, (before, after) for each.
    pad = [part for axis in (2, 1, 0) for part in (before[axis], padding[axis] - before[axis])]
    image = torch.nn.functional.pad(image, pad)
    weight = gaussian(patch_size).to(image.device)
    mirrors = list(chain.from_iterable(combinations(mirror_axes, n) for n in range(len(mirror_axes) + 1)))
    total, weights = None, image.new_zeros(image.shape[1:], dtype=torch.float32)
    for window in tiles(image.shape[1:], patch_size, overlap):
        tile = image[(slice(None), *window)][None]
        result = sum(flip(predict(flip(tile, axes)), axes).float() for axes in mirrors)[0] / len(mirrors)
        if total is None:
            total = image.new_zeros((len(result), *image.shape[1:]), dtype=torch.float32)
        total[(slice(None), *window)] += result * weight
        weights[window] += weight
    inner = tuple(slice(b, b + extent) for b, extent in zip(before, size, strict=True))
    return (total / weights)[(slice(None), *inner)]


def tiles(shape: Sequence[int], patch_size: Sequence[int], overlap: float) -> Iterator[tuple[slice, slice, slice]]:
    """The windows of the tiles, in order (z, y, x)."""
    starts = [tile_starts(extent, patch, overlap) for extent, patch in zip(shape, patch_size, strict=True)]
    for corner in product(*starts):
        yield tuple(slice(at, at + patch) for at, patch in zip(corner, patch_size, strict=True))


def tile_starts(extent: int, patch: int, overlap: float) -> list[int]:
    """Where tiles start along one axis, evenly spaced: 0, 23, 46 for extent 110, patch 64, overlap 0.5."""
    spare = extent - patch
    if spare <= 0:
        return [0]
    step = max(1, int(patch * (1 - overlap)))
    count = -(-spare // step)
    return [round(number * spare / count) for number in range(count + 1)]


def gaussian(patch_size: Sequence[int], width: float = 1 / 8) -> Tensor:
    """Weights (z, y, x) of a tile: a Gaussian about its centre, deviation ``width`` times the patch, largest value 1.

    It never reaches zero, so a voxel that only a tile's corner covers still gets that tile's result.
    """
    out = torch.ones(())
    for patch in patch_size:
        offset = torch.arange(patch, dtype=torch.float32) - (patch - 1) / 2
        out = out[..., None] * torch.exp(-0.5 * (offset / (patch * width)) ** 2)
    return out / out.max()
