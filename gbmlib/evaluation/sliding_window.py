"""Predict whole volumes tile by tile: the tiles overlap, and their results are blended.

The defaults are those of Isensee et al. (2018, section 2.4): overlap by half, more weight at a tile's centre.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations, product
from numbers import Real

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from gbmlib.augment.simple import flip

#: From tiles (tile, channel, z, y, x) to what is to be averaged, such as probabilities, of the same spatial size.
Predict = Callable[[Tensor], Tensor]


def tile_starts(extent: int, patch: int, overlap: float) -> list[int]:
    """Where tiles start along one axis, evenly spaced: 0, 23, 46 for extent 110, patch 64, overlap 0.5."""
    spare = extent - patch
    if spare <= 0:
        return [0]
    step = max(1, int(patch * (1 - overlap)))
    count = -(-spare // step)
    return [round(number * spare / count) for number in range(count + 1)]


def tiles(
    shape: Sequence[int], patch_size: Sequence[int], overlap: float | Sequence[float]
) -> Iterator[tuple[slice, slice, slice]]:
    """The tiles of a volume as slices (z, y, x); ``overlap`` is one for all axes or one for each."""
    starts = [tile_starts(*axis) for axis in zip(shape, patch_size, _each_axis(overlap), strict=True)]
    for corner in product(*starts):
        yield tuple(slice(start, start + patch) for start, patch in zip(corner, patch_size, strict=True))


def gaussian(patch_size: Sequence[int]) -> Tensor:
    """Weights (z, y, x) of a tile: a Gaussian about its centre, standard deviation an eighth of the patch, maximum 1.

    It never reaches zero, so a voxel that only a tile's corner covers still gets that tile's result.
    """
    out = torch.ones(())
    for patch in patch_size:
        offset = torch.arange(patch, dtype=torch.float32) - (patch - 1) / 2
        out = out[..., None] * torch.exp(-0.5 * (offset / (patch / 8)) ** 2)
    return out / out.max()


def constant(patch_size: Sequence[int]) -> Tensor:
    """Weights (z, y, x) of a tile whose voxels all count alike. No record uses it; a claim names it."""
    return torch.ones(tuple(patch_size))


@torch.no_grad()
def sliding_window(
    predict: Predict,
    image: Tensor,
    patch_size: Sequence[int],
    overlap: float | Sequence[float] = 0.5,
    mirror_axes: Sequence[int] = (),
    *,
    batch_size: int = 1,
    weights: Callable[[Sequence[int]], Tensor] = gaussian,
    progress: bool = False,
) -> Tensor:
    """Predict a volume of any size (channel, z, y, x) from tiles of ``patch_size``; float32 (channel, z, y, x).

    Tiles are evenly spaced and the last one ends at the volume's end. Their results are weighted and added up in
    float32. Axes shorter than the patch are padded with zeros on both sides. With ``mirror_axes`` (0 z, 1 y, 2 x) the
    results over all combinations of mirrored axes are averaged.

    Args:
        predict: takes tiles (tile, channel, z, y, x), leaves them unchanged, and returns results of the same spatial
            size, in any precision. A network of slices takes tiles (1, y, x).
        overlap: the least share of a tile that its neighbour covers too, from 0 to below 1.
        batch_size: how many tiles ``predict`` gets at once.
        weights: of a tile, from its size: :func:`gaussian` or :func:`constant`.
        progress: whether to show a progress bar.

    Raises:
        ValueError: an impossible argument, or a network that returns another shape.
    """
    _check(image, patch_size, _each_axis(overlap), mirror_axes, batch_size)
    size, patch_size = image.shape[1:], tuple(patch_size)
    missing = [max(patch - extent, 0) for patch, extent in zip(patch_size, size, strict=True)]
    before = [room // 2 for room in missing]
    if any(missing):
        # torch counts padding from the last axis, (before, after) for each.
        image = functional.pad(image, [n for axis in (2, 1, 0) for n in (before[axis], missing[axis] - before[axis])])
    mirrors = list(chain.from_iterable(combinations(mirror_axes, count) for count in range(len(mirror_axes) + 1)))
    windows = list(tiles(image.shape[1:], patch_size, overlap))
    weight = weights(patch_size).to(image.device)

    total, weight_sum = None, torch.zeros(image.shape[1:], device=image.device)
    with tqdm(total=len(windows), desc="predicting", unit="tile", disable=not progress, leave=False) as bar:
        for first in range(0, len(windows), batch_size):
            chosen = windows[first : first + batch_size]
            batch = torch.stack([image[(slice(None), *window)] for window in chosen])
            for window, result in zip(chosen, _mirrored(predict, batch, mirrors), strict=True):
                if total is None:
                    total = torch.zeros((len(result), *image.shape[1:]), device=image.device)
                total[(slice(None), *window)].add_(result.to(image.device) * weight)
                weight_sum[window].add_(weight)
            bar.update(len(chosen))
    total.div_(weight_sum)
    return total[(slice(None), *(slice(start, start + extent) for start, extent in zip(before, size, strict=True)))]


def _mirrored(predict: Predict, batch: Tensor, mirrors: Sequence[Sequence[int]]) -> Tensor:
    """The mean of the predictions (tile, channel, z, y, x) over some mirrorings, float32."""
    total = None
    for axes in mirrors:
        result = predict(flip(batch, axes))
        if result.ndim != 5 or len(result) != len(batch) or result.shape[2:] != batch.shape[2:]:
            raise ValueError(
                f"predict returned {tuple(result.shape)} for {tuple(batch.shape)}; it has to return a result of the "
                "same spatial size for each tile, (tile, channel, z, y, x)"
            )
        result = flip(result, axes).float()
        total = result if total is None else total + result
    return total if len(mirrors) == 1 else total / len(mirrors)


def _each_axis(overlap: float | Sequence[float]) -> tuple[float, ...]:
    return (overlap,) * 3 if isinstance(overlap, Real) else tuple(overlap)


def _check(
    image: Tensor, patch_size: Sequence[int], overlaps: Sequence[float], mirror_axes: Sequence[int], batch_size: int
) -> None:
    problems = []
    if image.ndim != 4 or not image.numel():
        problems.append(f"the image has the shape {tuple(image.shape)}; it needs (channel, z, y, x), none of them 0")
    if len(patch_size) != 3 or min(patch_size) < 1:
        problems.append(f"patch_size is {tuple(patch_size)}; it needs (z, y, x) of at least one voxel")
    if len(overlaps) != 3 or not all(0 <= overlap < 1 for overlap in overlaps):
        problems.append(f"overlap is {overlaps}; it needs 0 <= overlap < 1, one for all axes or one for each")
    if not set(mirror_axes) <= {0, 1, 2} or len(set(mirror_axes)) != len(mirror_axes):
        problems.append(f"mirror_axes are {tuple(mirror_axes)}; there are 0 z, 1 y, 2 x, each at most once")
    if batch_size < 1:
        problems.append(f"batch_size is {batch_size}; it needs at least one tile")
    if problems:
        raise ValueError("; ".join(problems))
