"""Rotation, scaling and elastic deformation of a batch by one map from patch to block, image and label alike.

As in the augmentation of nnU-Net (Isensee et al., 2018, section 2.3; values: MIC-DKFZ/nnUNet 6150f1b0, method:
batchgenerators), a point p of the patch, measured from the patch's centre c, is read at A (p + e(p)) from the block's:
deformed first, then rotated, then scaled. Images are interpolated linearly, as nnU-Net v2 does; the first public code
used cubic splines. Labels are interpolated linearly, each on its own, and the largest wins.

Parameters are drawn on the host (:func:`draw`), and applied by a deterministic function on any device (:func:`apply`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from gbmlib.augment import elastic, warp
from gbmlib.augment.simple import around_one

#: Voxels computed at once: few enough for the processor's cache, many enough to fill a graphics card.
CHUNK = {"cpu": 2**17, "cuda": 2**23}

#: A margin of so many standard deviations of the displacement at a face keeps borders out of all but freak draws.
SAFE_DEVIATIONS = 4


@dataclass(frozen=True)
class Settings:
    """Ranges and probabilities of the spatial augmentation.

    Attributes:
        rotation: the largest angle about each axis, in degrees; uniform from minus to plus.
        scaling: lowest and highest factor, one for all axes, below 1 as often as above. Above 1, things get smaller.
        alpha, sigma: bounds of the elastic deformation's strength and width (voxels), uniform.
        p_rotation, p_scaling, p_elastic: the probability of each for a sample; 0 leaves it out.
        slices: the axis (0 z, 1 y, 2 x) across which the patch's slices lie, where each is to stay in its plane: all
            slices of a sample then share one map of the plane. None moves the patch in three dimensions.
    """

    rotation: float = 15
    scaling: tuple[float, float] = (0.85, 1.25)
    alpha: tuple[float, float] = (0, 900)
    sigma: tuple[float, float] = (9, 13)
    p_rotation: float = 0.2
    p_scaling: float = 0.2
    p_elastic: float = 0.2
    slices: int | None = None


@dataclass(frozen=True)
class Parameters:
    """One draw for a batch: all that :func:`apply` needs, on the host.

    Attributes:
        matrix: A (sample, axis, axis) for the axes that move (three, or the two of the slices' plane).
        alpha, sigma: of the elastic deformation (sample,); alpha 0 is none.
        noise: uniform in [-1, 1] (sample, axis, …) on the lattice of ``augment.elastic.lattice``; None where no
            sample is deformed.
        slices: as in :class:`Settings`.
    """

    matrix: Tensor
    alpha: Tensor
    sigma: Tensor
    noise: Tensor | None
    slices: int | None = None

    @property
    def moved(self) -> list[int]:
        """The samples that are not just cut out."""
        same = (self.matrix == torch.eye(self.matrix.shape[-1], dtype=self.matrix.dtype)).flatten(1).all(1)
        return (~same | (self.alpha != 0)).nonzero().flatten().tolist()

    def __getitem__(self, samples: slice | list[int]) -> Parameters:
        """The draw for some of the samples."""
        taken = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[samples] for name, value in taken.items() if isinstance(value, Tensor)})


def draw(batch: int, patch_size: Sequence[int], settings: Settings, generator: torch.Generator) -> Parameters:
    """Parameters for every sample of a batch.

    A batch takes the same numbers from the generator whatever the settings, so that to leave one transform out does not
    change the draws of the others.
    """
    drawn = torch.rand((batch, 10), dtype=torch.float64, generator=generator)
    seeds = torch.randint(2**62, (batch,), generator=generator).tolist()
    rotated, angles = drawn[:, 0] < settings.p_rotation, (2 * drawn[:, 1:4] - 1) * math.radians(settings.rotation)
    scaled, factor = drawn[:, 4] < settings.p_scaling, around_one(drawn[:, 5], drawn[:, 6], settings.scaling)
    deformed, alpha = drawn[:, 7] < settings.p_elastic, _between(drawn[:, 8], settings.alpha)
    axes = moving_axes(settings.slices)
    noise = None
    if deformed.any():
        size = [patch_size[axis] for axis in axes]
        noise = torch.zeros((batch, len(axes), *elastic.lattice(size, settings.sigma[0])))
        for sample in deformed.nonzero().flatten().tolist():
            noise[sample].uniform_(-1, 1, generator=torch.Generator().manual_seed(seeds[sample]))
    return Parameters(
        matrix=turned(angles * rotated[:, None], settings.slices) * torch.where(scaled, factor, 1)[:, None, None],
        alpha=alpha * deformed,
        sigma=_between(drawn[:, 9], settings.sigma),
        noise=noise,
        slices=settings.slices,
    )


def moving_axes(slices: int | None) -> list[int]:
    """The axes (0 z, 1 y, 2 x) along which voxels move."""
    return [axis for axis in range(3) if axis != slices]


def turned(angles: Tensor, slices: int | None = None) -> Tensor:
    """Rotation matrices (sample, axis, axis) from angles (sample, 3) in radians: about z first, then y, then x.

    With ``slices``, the rotation about that axis alone, as matrices of the plane.
    """
    matrix = torch.eye(3, dtype=angles.dtype).expand(len(angles), 3, 3)
    for axis in range(3) if slices is None else (slices,):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        about = torch.eye(3, dtype=angles.dtype).repeat(len(angles), 1, 1)
        about[:, first, first] = about[:, second, second] = angles[:, axis].cos()
        about[:, second, first] = angles[:, axis].sin()
        about[:, first, second] = -angles[:, axis].sin()
        matrix = about @ matrix
    axes = moving_axes(slices)
    return matrix[:, axes][:, :, axes]


def reach(parameters: Parameters, patch_size: Sequence[int]) -> tuple[int, int, int]:
    """How large a block (z, y, x) must be so that no border of it enters the patch; the patch where none moves.

    The margin for the elastic deformation is four standard deviations at a face of the patch, where its variance is
    half of that inside; only freak draws go further, and read the block's outermost voxels again. Patch and block
    differ by even numbers, so that their centres agree.
    """
    axes = moving_axes(parameters.slices)
    half = torch.tensor([(patch_size[axis] - 1) / 2 for axis in axes], dtype=torch.float64)
    margin = elastic.deviation(parameters.alpha, parameters.sigma, len(axes)) * SAFE_DEVIATIONS / math.sqrt(2)
    furthest = (parameters.matrix.abs() @ (half + margin[:, None])[:, :, None]).squeeze(-1).amax(0)
    # What rounding adds to the product of a rotation there and back is no reason for another voxel.
    more = (furthest - half - 1e-6).ceil().clamp(min=0).int().tolist()
    size = list(patch_size)
    for axis, extra in zip(axes, more, strict=True):
        size[axis] += 2 * extra
    return tuple(size)


def apply(images: Tensor, label: Tensor, parameters: Parameters, patch_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Patches cut from blocks and warped by a draw's parameters.

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
    if label.shape[-3:] != images.shape[2:] or not len(label) == len(images) == len(parameters.matrix):
        raise ValueError(
            f"images {tuple(images.shape)}, label {tuple(label.shape)} and a draw for {len(parameters.matrix)} samples "
            "do not fit each other"
        )
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False), warp.cpu_threads():
        images, slices = images.float(), parameters.slices
        maps = label if label.ndim == 5 else label[:, None]
        volumes = [images, maps]
        if slices is None:
            volumes = _warp(*volumes, parameters, patch_size)
        else:  # slices that move alike are channels of one plane
            start = (images.shape[2 + slices] - patch_size[slices]) // 2
            thick = [volume.narrow(2 + slices, start, patch_size[slices]).movedim(2 + slices, 2) for volume in volumes]
            plane = [patch_size[axis] for axis in moving_axes(slices)]
            moved = _warp(*(volume.flatten(1, 2) for volume in thick), parameters, plane)
            volumes = [
                volume.unflatten(1, (original.shape[1], patch_size[slices])).movedim(2, 2 + slices).contiguous()
                for volume, original in zip(moved, volumes, strict=True)
            ]
        images, maps = volumes
        return images, maps if label.ndim == 5 else maps[:, 0]


def _warp(images: Tensor, label: Tensor, parameters: Parameters, patch: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Warp images and label (sample, channel, …), each channel by the same map of its sample."""
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
        rows = warp.to_device(torch.tensor(samples), device) if len(samples) > 1 else samples[0]
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


def _map(parameters: Parameters, patch: Sequence[int], device: torch.device) -> Callable[[slice], Tensor]:
    """Where a slab of the patch's first axis is read: (sample, axis, slab, rest), in voxels from the block's centre."""
    positions = [torch.arange(extent, device=device, dtype=torch.float64) - (extent - 1) / 2 for extent in patch]
    matrix = warp.to_device(parameters.matrix, device)
    columns = [matrix[:, :, axis, None] * line for axis, line in enumerate(positions)]
    rest = columns[1] if len(patch) == 2 else (columns[1][..., None] + columns[2][..., None, :]).flatten(2)
    first, rest = columns[0][..., None].float(), rest[:, :, None].float()
    if parameters.noise is None or not parameters.alpha.any():
        return lambda slab: first[:, :, slab] + rest
    # A acts on the displacements, which are linear in the noise: so on the noise, of which there is far less.
    noise = parameters.matrix @ parameters.noise.double().flatten(2) * parameters.alpha[:, None, None]
    fine = warp.to_device(noise.float().view_as(parameters.noise), device)
    outer, *inner = (
        warp.to_device(elastic.smoothing(extent, points, parameters.sigma).float(), device)
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


def _between(share: Tensor, bounds: tuple[float, float]) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * share
