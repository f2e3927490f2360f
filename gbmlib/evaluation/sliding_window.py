"""Predicting whole volumes tile by tile, with tiles that overlap and blend.

The defaults are those of Isensee et al. (2018, section 2.4): overlap by half, more weight at a tile's centre. Tiles
that are cut at other places (:func:`stepped_starts`) and weighted otherwise give MONAI's sliding window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations, pairwise, product
from numbers import Real

import torch
from torch import Tensor
from tqdm import tqdm

from gbmlib.augment.simple import flip

#: From a tile or several, (tile, channel, z, y, x), to what is to be averaged, of the same spatial size.
Predict = Callable[[Tensor], Tensor]

#: From (extent, patch, overlap) of one axis to where its tiles start.
Starts = Callable[[int, int, float], Sequence[int]]

#: Slices (along z) whose weights are summed at once.
SLICES = 8


def tile_starts(extent: int, patch: int, overlap: float) -> list[int]:
    """Where tiles start along one axis, evenly spaced: 0, 23, 46 for extent 110, patch 64, overlap 0.5."""
    spare = extent - patch
    if spare <= 0:
        return [0]
    step = max(1, int(patch * (1 - overlap)))
    count = -(-spare // step)
    return [round(number * spare / count) for number in range(count + 1)]


def stepped_starts(extent: int, patch: int, overlap: float) -> list[int]:
    """The same in full steps, but for the last, which ends with the axis: 0, 32, 46, as MONAI cuts them."""
    step = max(1, int(patch * (1 - overlap)))
    return [*range(0, extent - patch, step), max(extent - patch, 0)]


def gaussian(patch_size: Sequence[int], width: float = 1 / 8) -> Tensor:
    """Weights (z, y, x) of a tile: a Gaussian about its centre, deviation ``width`` times the patch, largest value 1.

    It never reaches zero, so a voxel that only a tile's corner covers still gets that tile's result.
    """
    out = torch.ones(())
    for patch in patch_size:
        offset = torch.arange(patch, dtype=torch.float32) - (patch - 1) / 2
        out = out[..., None] * torch.exp(-0.5 * (offset / (patch * width)) ** 2)
    return out / out.max()


def constant(patch_size: Sequence[int]) -> Tensor:
    """Weights (z, y, x) of a tile whose voxels all count alike."""
    return torch.ones(tuple(patch_size))


@torch.no_grad()
def sliding_window(
    predict: Predict | Sequence[Predict],
    image: Tensor,
    patch_size: Sequence[int],
    overlap: float | Sequence[float] = 0.5,
    mirror_axes: Sequence[int] = (),
    *,
    batch_size: int = 1,
    starts: Starts | Sequence[Sequence[int]] = tile_starts,
    weights: Callable[[Sequence[int]], Tensor] | Tensor = gaussian,
    empty: Sequence[float] | None = None,
    accumulate_on: torch.device | str | None = None,
    progress: bool = False,
) -> Tensor:
    """Predict a volume of any size (channel, z, y, x) from tiles of ``patch_size``; float32 (channel, z, y, x).

    Tiles overlap by at least ``overlap`` of their size, their steps evenly re-spaced so that the last one ends at the
    volume's end; their results are blended with Gaussian weights (deviation an eighth of the patch) and added up in
    float32. Axes shorter than the patch are padded with zeros on both sides. With ``mirror_axes`` (0 z, 1 y, 2 x) the
    results over all combinations of mirrored axes are averaged (Isensee et al. 2018, section 2.4).

    A two-dimensional network takes tiles (1, y, x), or several slices at once as (slices, y, x) with an overlap of
    (0, 0.5, 0.5).

    Args:
        predict: takes (tile, channel, z, y, x) of the patch's size, which it leaves unchanged, and returns what is to
            be averaged, such as probabilities, of the same spatial size, in any precision and on any device. Of
            several networks the mean counts.
        overlap: at least 0, less than 1; one for all axes or one for each.
        batch_size: tiles that ``predict`` gets at once.
        starts: where the tiles of an axis start, as a function such as :func:`tile_starts` or :func:`stepped_starts`,
            or three lists (z, y, x), of the padded volume.
        weights: of a tile (z, y, x), above zero; or a function of its size: :func:`gaussian`, :func:`constant`.
        empty: a value for each channel returned. Given, a tile whose image is zero in every channel is not predicted
            but taken to have this result, such as (1, 0, 0, 0) for probabilities of four classes, background first.
            No such tile reaches a voxel whose image is not zero, so all of these stay as they are without.
        accumulate_on: the device of the result, the one volume that is made; the image's by default. With "cpu" an
            accelerator holds no more than the image and the tiles in work.
        progress: whether to show a bar.

    Raises:
        ValueError: says all that is wrong with the arguments, or that a network returned another shape.
    """
    networks = [predict] if callable(predict) else list(predict)
    overlaps = (overlap,) * 3 if isinstance(overlap, Real) else tuple(overlap)
    _check(networks, image, patch_size, overlaps, mirror_axes, batch_size)
    size, patch_size = image.shape[1:], tuple(int(patch) for patch in patch_size)
    padding = [max(patch - extent, 0) for patch, extent in zip(patch_size, size, strict=True)]
    before = [room // 2 for room in padding]
    if any(padding):
        # torch counts padding from the last axis, (before, after) for each.
        pad = [part for axis in (2, 1, 0) for part in (before[axis], padding[axis] - before[axis])]
        image = torch.nn.functional.pad(image, pad)
    windows = list(tiles(image.shape[1:], patch_size, overlaps, starts))
    device = image.device if accumulate_on is None else torch.device(accumulate_on)
    weight = _weight_of(weights, patch_size).to(device)
    mirrors = list(chain.from_iterable(combinations(mirror_axes, n) for n in range(len(mirror_axes) + 1)))

    filled, total = windows, None
    if empty is not None:
        holds = torch.stack([torch.count_nonzero(image[(slice(None), *window)]) for window in windows]).tolist()
        filled = [window for window, held in zip(windows, holds, strict=True) if held]
        nothing = torch.tensor(empty, dtype=torch.float32, device=device).view(-1, 1, 1, 1) * weight
        total = torch.zeros((len(nothing), *image.shape[1:]), device=device)
        for window in (window for window, held in zip(windows, holds, strict=True) if not held):
            total[(slice(None), *window)].add_(nothing)
    with tqdm(total=len(filled), desc="predicting", unit="tile", disable=not progress, leave=False) as bar:
        for first in range(0, len(filled), batch_size):
            chosen = filled[first : first + batch_size]
            for window, result in zip(chosen, _average(networks, image, chosen, mirrors), strict=True):
                if total is None:
                    total = torch.zeros((len(result), *image.shape[1:]), device=device)
                if len(result) != len(total):
                    known = "before" if empty is None else "in `empty`"
                    raise ValueError(f"a tile has {len(result)} channels, but there are {len(total)} {known}")
                total[(slice(None), *window)].add_(result.to(device) * weight)
            bar.update(len(chosen))
    _divide_by_weights(total, windows, weight)
    return total[(slice(None), *(slice(b, b + extent) for b, extent in zip(before, size, strict=True)))]


def tiles(
    shape: Sequence[int],
    patch_size: Sequence[int],
    overlap: float | Sequence[float],
    starts: Starts | Sequence[Sequence[int]] = tile_starts,
) -> Iterator[tuple[slice, slice, slice]]:
    """The windows of the tiles, in order (z, y, x).

    Raises:
        ValueError: given starts that leave the volume or do not cover it.
    """
    overlaps = (overlap,) * 3 if isinstance(overlap, Real) else overlap
    if callable(starts):
        starts = [starts(*of_axis) for of_axis in zip(shape, patch_size, overlaps, strict=True)]
    if len(starts) != 3:
        raise ValueError(f"starts are {len(starts)} lists; there are three axes, (z, y, x)")
    problems = []
    for axis, extent, patch, at in zip("zyx", shape, patch_size, starts, strict=True):
        ends = sorted(at)
        gaps = any(later - earlier > patch for earlier, later in pairwise(ends))
        if not ends or ends[0] != 0 or ends[-1] != max(extent - patch, 0) or gaps:
            where = f"an axis of {extent} with tiles of {patch}"
            problems.append(
                f"starts along {axis} are {list(at)}, which do not cover {where}: begin at 0, end at "
                f"{max(extent - patch, 0)}, and leave no more than {patch} between two"
            )
    if problems:
        raise ValueError("; ".join(problems))
    for corner in product(*starts):
        yield tuple(slice(at, at + patch) for at, patch in zip(corner, patch_size, strict=True))


def _average(
    networks: Sequence[Predict], image: Tensor, windows: Sequence[tuple[slice, ...]], mirrors: Sequence[Sequence[int]]
) -> Tensor:
    """The mean over networks and mirrors, (tile, channel, z, y, x) in float32."""
    cut = [image[(slice(None), *window)] for window in windows]
    batch = cut[0][None] if len(cut) == 1 else torch.stack(cut)
    total = None
    for number, network in enumerate(networks, 1):
        for axes in mirrors:
            result = network(flip(batch, axes))
            if result.ndim != 5 or len(result) != len(batch) or result.shape[2:] != batch.shape[2:]:
                which = "predict" if len(networks) == 1 else f"network {number} of {len(networks)}"
                raise ValueError(
                    f"{which} returned {tuple(result.shape)} for {tuple(batch.shape)}; it has to return a result of "
                    "the same spatial size for each tile, (tile, channel, z, y, x)"
                )
            result = flip(result, axes).float()
            total = result if total is None else total + result
    count = len(networks) * len(mirrors)
    return total if count == 1 else total / count


def _divide_by_weights(total: Tensor, windows: Sequence[tuple[slice, ...]], weight: Tensor) -> None:
    """Divide the sum (channel, z, y, x) in place by the weights that each voxel got, in the order in which it did.

    A few slices at a time: their weights stay in the processor's cache, and never fill a volume of their own.
    """
    depth = total.shape[1]
    for first in range(0, depth, SLICES):
        last = min(first + SLICES, depth)
        sums = torch.zeros((last - first, *total.shape[2:]), device=total.device)
        for z, y, x in windows:
            begin, end = max(first, z.start), min(last, z.stop)
            if begin < end:
                sums[begin - first : end - first, y, x].add_(weight[begin - z.start : end - z.start])
        total[:, first:last].div_(sums)


def _weight_of(weights: Callable[[Sequence[int]], Tensor] | Tensor, patch_size: Sequence[int]) -> Tensor:
    weight = (weights(patch_size) if callable(weights) else weights).float()
    if tuple(weight.shape) != tuple(patch_size):
        raise ValueError(f"weights have the shape {tuple(weight.shape)}, tiles {tuple(patch_size)}")
    least, most = torch.aminmax(weight)
    if not (least > 0 and most < float("inf")):  # which a NaN is neither
        raise ValueError("weights must be finite and above zero, or a voxel might end without a result")
    return weight


def _check(
    networks: Sequence[Predict],
    image: Tensor,
    patch_size: Sequence[int],
    overlaps: Sequence[float],
    mirror_axes: Sequence[int],
    batch_size: int,
) -> None:
    problems = []
    if not networks:
        problems.append("predict holds no network")
    if image.ndim != 4 or not image.numel():
        problems.append(f"the image has the shape {tuple(image.shape)}; it needs (channel, z, y, x), none of them 0")
    if len(patch_size) != 3 or any(patch != int(patch) or patch < 1 for patch in patch_size):
        problems.append(f"patch_size is {tuple(patch_size)}; it needs (z, y, x), whole voxels")
    if len(overlaps) != 3 or not all(0 <= overlap < 1 for overlap in overlaps):
        problems.append(f"overlap is {overlaps}; it needs 0 <= overlap < 1, one for all axes or one for each")
    if not set(mirror_axes) <= {0, 1, 2} or len(set(mirror_axes)) != len(mirror_axes):
        problems.append(f"mirror_axes are {tuple(mirror_axes)}; there are 0 z, 1 y, 2 x, each at most once")
    if batch_size < 1:
        problems.append(f"batch_size is {batch_size}; it needs at least one tile")
    if problems:
        raise ValueError("; ".join(problems))
