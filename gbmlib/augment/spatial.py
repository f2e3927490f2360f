"""Rotation, scaling and elastic deformation of a batch by one map from patch to block, image and label alike.

As in the augmentation of nnU-Net (Isensee et al., 2018, section 2.3; values: MIC-DKFZ/nnUNet 6150f1b0, method:
batchgenerators), a point p of the patch, measured from the patch's centre c, is read at A (p + e(p)) from the block's:
deformed first, then rotated, then scaled. Images are interpolated linearly, as nnU-Net v2 does; the first public code
used cubic splines. Labels are interpolated linearly, each on its own, and the largest wins.

Parameters are drawn on the host (``augment.spatial_draws``), and applied by a deterministic function on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gbmlib.augment import elastic, warp
from gbmlib.augment.spatial_draws import SpatialParameters, moving_axes

#: Voxels computed at once: few enough for the processor's cache, many enough to fill a graphics card.
CHUNK = {"cpu": 2**17, "cuda": 2**23}


def apply(
    images: Tensor, label: Tensor, parameters: SpatialParameters, patch_size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The patches that a draw makes of blocks.

    Samples that do not move are cut out of the block's middle as they are. Only values that the label map holds come
    out of it. On the processor one thread does it all, whatever number is set: so the result does not depend on that.

    Args:
        images: float (sample, channel, z, y, x), on any device.
        label: label map (sample, z, y, x) of integers on the same device, or several (sample, map, z, y, x).
        patch_size: (z, y, x), at most that of the block; its corner in the block is (block - patch) // 2.

    Returns:
        Images (sample, channel, z, y, x) in float32 and label as given, new and of the patch's size.

    Raises:
        ValueError: shapes do not fit; says how.
    """
    _check(images, label, parameters, patch_size)
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False), warp.one_thread():
        images, slices = images.float(), parameters.slices
        maps = label if label.ndim == 5 else label[:, None]
        volumes = [images, maps]
        if slices is None:
            volumes = _warp(*volumes, parameters, patch_size)
        else:  # slices that move alike are channels of one plane
            start = (images.shape[2 + slices] - patch_size[slices]) // 2
            thick = [of.narrow(2 + slices, start, patch_size[slices]).movedim(2 + slices, 2) for of in volumes]
            plane = [patch_size[axis] for axis in moving_axes(slices)]
            moved = _warp(*(of.flatten(1, 2) for of in thick), parameters, plane)
            volumes = [
                of.unflatten(1, (whole.shape[1], patch_size[slices])).movedim(2, 2 + slices).contiguous()
                for of, whole in zip(moved, volumes, strict=True)
            ]
        images, maps = volumes
        return images, maps if label.ndim == 5 else maps[:, 0]


def _warp(images: Tensor, label: Tensor, parameters: SpatialParameters, patch: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of images and label (sample, channel, …), each channel by the same map of its sample."""
    size, device = images.shape[2:], images.device
    chunk = CHUNK.get(device.type, CHUNK["cpu"])
    corner = [(extent - inner) // 2 for extent, inner in zip(size, patch, strict=True)]
    middle = (..., *(slice(at, at + inner) for at, inner in zip(corner, patch, strict=True)))
    out = [volume[middle].clone(memory_format=torch.contiguous_format) for volume in (images, label)]
    volumes = [(images.contiguous(), warp.linear), (label.contiguous(), warp.largest_label)]
    # Coordinates are whole or half distances from the centre: the halves are added, the whole part goes to the index.
    origin = [at + (inner - 1) // 2 for at, inner in zip(corner, patch, strict=True)]
    half = [(inner - 1) % 2 / 2 for inner in patch]
    moved = parameters.moved
    for piece in _pieces(len(moved), chunk // math.prod(patch)):
        samples = moved[piece]
        where = _map(parameters[samples], patch, device)
        rows = warp.send(torch.tensor(samples), device) if len(samples) > 1 else samples[0]
        for slab in _pieces(patch[0], chunk // math.prod(patch[1:])):
            points = where(slab).flatten(2)
            cells = warp.find_cells([points[:, axis].flatten() + half[axis] for axis in range(len(size))], origin, size)
            for target, (volume, read) in zip(out, volumes, strict=True):
                channels, voxels = volume.shape[1], size.numel()
                here = cells
                if len(samples) > 1:
                    shift = (rows - samples[0]) * (channels * voxels)
                    here = replace(cells, index=cells.index + shift[:, None].expand(points[:, 0].shape).flatten())
                for channel in range(channels):
                    flat = volume.view(-1)[(samples[0] * channels + channel) * voxels :]
                    target[rows, channel, slab] = read(flat, here).view(len(samples), -1, *patch[1:])
    return tuple(out)


def _map(parameters: SpatialParameters, patch: Sequence[int], device: torch.device) -> Callable[[slice], Tensor]:
    """Where a slab of the patch's first axis is read: (sample, axis, slab, rest), in voxels from the block's centre."""
    positions = [torch.arange(extent, device=device, dtype=torch.float64) - (extent - 1) / 2 for extent in patch]
    matrix = warp.send(parameters.matrix, device)
    columns = [matrix[:, :, axis, None] * line for axis, line in enumerate(positions)]
    rest = columns[1] if len(patch) == 2 else (columns[1][..., None] + columns[2][..., None, :]).flatten(2)
    first, rest = columns[0][..., None].float(), rest[:, :, None].float()
    if parameters.noise is None or not parameters.alpha.any():
        return lambda slab: first[:, :, slab] + rest
    # A acts on the displacements, which are linear in the noise: so on the noise, of which there is far less.
    noise = parameters.matrix @ parameters.noise.double().flatten(2) * parameters.alpha[:, None, None]
    fine = warp.send(noise.float().view_as(parameters.noise), device)
    outer, *inner = (
        warp.send(elastic.smoothing(extent, points, parameters.sigma).float(), device)
        for extent, points in zip(patch, fine.shape[2:], strict=True)
    )
    fine = torch.einsum("nd...i,noi->nd...o", fine, inner[-1])
    if len(inner) == 2:
        fine = torch.einsum("ndzio,nyi->ndzyo", fine, inner[0]).flatten(3)
    outer = outer[:, None]
    return lambda slab: (outer[:, :, slab] @ fine).add_(first[:, :, slab]).add_(rest)


def _pieces(number: int, size: int) -> list[slice]:
    """The range from 0 to a number in pieces of a size; of 1 where that is less."""
    size = max(1, size)
    return [slice(start, min(start + size, number)) for start in range(0, number, size)]


def _check(images: Tensor, label: Tensor, parameters: SpatialParameters, patch_size: Sequence[int]) -> None:
    wrong = []
    of_one = label[:, 0] if label.ndim == 5 and label.shape[1] else label
    if images.ndim != 5 or of_one.shape != (images.shape[0], *images.shape[2:]):
        wrong.append(
            "images are (sample, channel, z, y, x) and the label (sample, z, y, x) of the same extents, not "
            f"{tuple(images.shape)} and {tuple(label.shape)}"
        )
    elif len(patch_size) != 3 or any(p > s for p, s in zip(patch_size, images.shape[2:], strict=True)):
        wrong.append(f"a patch of {tuple(patch_size)} does not lie in a block of {tuple(images.shape[2:])}")
    if len(parameters.matrix) != len(images):
        wrong.append(f"parameters are of {len(parameters.matrix)} samples and the batch has {len(images)}")
    if label.is_floating_point():
        wrong.append(f"the label map holds integers, not {label.dtype}")
    if wrong:
        raise ValueError("spatial augmentation: " + "; ".join(wrong))
