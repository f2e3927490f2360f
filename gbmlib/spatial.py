"""Rotation, scaling and elastic deformation of a batch by one map from patch to block, image and label alike.

As in the augmentation of nnU-Net (Isensee et al., 2018, section 2.3; values: MIC-DKFZ/nnUNet 6150f1b0, method:
batchgenerators), a point p of the patch, measured from the patch's centre c, is read at A (p + e(p)) from the block's:
deformed first, then rotated, then scaled. Images are interpolated linearly, as nnU-Net v2 does; the first public code
used cubic splines. Labels are interpolated linearly, each on its own, and the largest wins.

Parameters are drawn on the host from a generator, and applied by a deterministic function on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from gbmlib import elastic, warp
from gbmlib.augment import around_one

#: Voxels computed at once: few enough for the processor's cache, many enough to fill a graphics card.
CHUNK = {"cpu": 2**17, "cuda": 2**23}
#: A margin of so many standard deviations of the displacement at a face keeps borders out of all but freak draws.
SAFE_DEVIATIONS = 4


@dataclass(frozen=True)
class Settings:
    """What is drawn, and how often.

    Attributes:
        rotation: the largest angle about each axis, in degrees; uniform from minus to plus.
        scaling: lowest and highest factor, one for all axes, below 1 as often as above. Above 1, things get smaller.
        alpha, sigma: bounds of the elastic deformation's strength and width (voxels), uniform.
        p_rotation, p_scaling, p_elastic: the probability of each for a sample; 0 leaves it out.
        slices: the axis (0 z, 1 y, 2 x) across which the patch's slices lie, where each is to stay in its plane: all
            slices of a sample then share one map of the plane. None moves the patch in three dimensions.

    Raises:
        ValueError: says all that is wrong.
    """

    rotation: float = 15
    scaling: tuple[float, float] = (0.85, 1.25)
    alpha: tuple[float, float] = (0, 900)
    sigma: tuple[float, float] = (9, 13)
    p_rotation: float = 0.2
    p_scaling: float = 0.2
    p_elastic: float = 0.2
    slices: int | None = None

    def __post_init__(self) -> None:
        wrong = []
        if not 0 <= self.rotation <= 180:
            wrong.append(f"rotation is an angle from 0 to 180 degrees, not {self.rotation}")
        for name in ("scaling", "alpha", "sigma"):
            low, high = getattr(self, name)
            if not 0 <= low <= high or (low == 0 and name != "alpha"):
                wrong.append(f"{name} is (lowest, highest){', above 0' * (name != 'alpha')}, not {low, high}")
        for name in ("p_rotation", "p_scaling", "p_elastic"):
            if not 0 <= getattr(self, name) <= 1:
                wrong.append(f"{name} is a probability, not {getattr(self, name)}")
        if self.slices not in (None, 0, 1, 2):
            wrong.append(f"slices is 0 (z), 1 (y), 2 (x) or None, not {self.slices}")
        if wrong:
            raise ValueError("settings of the spatial augmentation: " + "; ".join(wrong))


@dataclass(frozen=True)
class SpatialParameters:
    """One draw for a batch: all that :func:`apply` needs, on the host.

    Attributes:
        matrix: A (sample, axis, axis) for the axes that move (three, or the two of the slices' plane).
        alpha, sigma: of the elastic deformation (sample,); alpha 0 is none.
        noise: uniform in [-1, 1] (sample, axis, …) on the lattice of :func:`gbmlib.elastic.lattice`; None where no
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

    def __getitem__(self, samples: slice | list[int]) -> SpatialParameters:
        """The draw for some of the samples."""
        taken = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[samples] for name, value in taken.items() if isinstance(value, Tensor)})


def draw(batch: int, patch_size: Sequence[int], settings: Settings, generator: torch.Generator) -> SpatialParameters:
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
    return SpatialParameters(
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


def block_size(patch_size: Sequence[int], settings: Settings) -> tuple[int, int, int]:
    """How large a block (z, y, x) must be so that whatever is drawn no border of it enters the patch.

    The patch's corners under the largest factor and the worst angles decide, and a margin for the elastic deformation:
    four standard deviations of the strongest one at a face of the patch, where its variance is half of that inside.
    Only freak draws go further; they read the block's outermost voxels again. (nnU-Net's own blocks are smaller: it
    divides by the lowest factor where the largest counts, and takes one angle at a time.)

    Most draws need far less: see :func:`reach`.
    """
    steps = 25 if settings.slices is None else 721
    angles = torch.linspace(-1, 1, steps, dtype=torch.float64) * math.radians(settings.rotation)
    angles = angles if settings.p_rotation else angles[:1] * 0
    angles = torch.cartesian_prod(angles, angles, angles) if settings.slices is None else angles[:, None].repeat(1, 3)
    strongest = torch.tensor(settings.alpha[1] if settings.p_elastic else 0.0, dtype=torch.float64)
    worst = SpatialParameters(
        matrix=turned(angles, settings.slices) * (max(1, settings.scaling[1]) if settings.p_scaling else 1),
        alpha=strongest.expand(len(angles)),
        sigma=torch.full((len(angles),), settings.sigma[0], dtype=torch.float64),
        noise=None,
        slices=settings.slices,
    )
    return reach(worst, patch_size)


def reach(parameters: SpatialParameters, patch_size: Sequence[int]) -> tuple[int, int, int]:
    """How large a block (z, y, x) this draw needs, with the margin of :func:`block_size`; the patch where none moves.

    Patch and block differ by even numbers, so that their centres agree.
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


def _between(part: Tensor, bounds: tuple[float, float]) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * part


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
