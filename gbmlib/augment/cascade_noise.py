"""Noise on the first network's segmentation, class by class, which a cascade's second network sees in training.

The second network is given the first one's segmentation as one-hot channels. So that it does not merely copy them,
Isensee et al. (2018, section 2.3) apply random morphological operators and remove random connected components. The
paper gives no numbers. They are those of its public code (MIC-DKFZ/nnUNet, ``default_data_augmentation`` and
``pyramid_augmentations``), which disturbs the foreground classes of a patch after everything else:

- With probability 0.4 for the sample: every class, in random order, gets an operation of its own (dilation, erosion,
  opening, closing) with a ball of its own radius, 1 to 8 voxels whatever the spacing. Voxels that a class gains are
  taken from the others; those that it loses become background.
- With probability 0.2 for the sample: every class loses one of its components, any one that covers less than 15 % of
  the patch. Voxels hang together across corners too.

What lies outside the patch never decides: it counts as empty where a mask grows and as full where it shrinks, as in
scikit-image, which the code calls. Radii are real numbers, so half of all balls have their middle between voxels, and
shift what they change by half a voxel (:func:`dilation`). A later revision (02527d37) interchanges two arguments, after
which no component is ever removed; nnU-Net v2 puts that right, and disturbs each class with probability 0.5 only.

    drawn = draw(batch, classes, generator)
    disturbed = apply(one_hot, drawn)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from gbmlib.augment.warp import cpu_threads

#: Of the public code: how often a sample is disturbed by operations, by how large a ball, and by a removal.
P_OPERATION, RADII, P_REMOVAL = 0.4, (1.0, 8.0), 0.2
#: Only a component that covers less of the patch than this is removed.
LARGEST_SHARE = 0.15
#: Which voxels hang together, as in scikit-image's ``label`` as the code calls it.
ACROSS_CORNERS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Operation:
    """One of :data:`OPERATIONS` on one class, with a ball of this radius in voxels."""

    channel: int
    name: str
    radius: float


@dataclass(frozen=True)
class Parameters:
    """One draw for a batch, on the host.

    Attributes:
        operations: for each sample what is done to its classes, one after the other; empty for most samples.
        components: for each sample a number in [0, 1) for each class, which says where among the class's components
            the one to remove is; empty where none is removed. How many there are shows only when it is applied.
    """

    operations: tuple[tuple[Operation, ...], ...]
    components: tuple[tuple[float, ...], ...]


def draw(
    batch: int,
    classes: int,
    generator: torch.Generator,
    p_operation: float = P_OPERATION,
    p_removal: float = P_REMOVAL,
) -> Parameters:
    """All random choices for a batch, from a generator of the host's.

    A probability of 0 leaves something out. It takes as much from the generator as any other: the rest draws the same.
    """
    chance = torch.rand((batch, 2), dtype=torch.float64, generator=generator).tolist()
    order, which, radius, component = torch.rand((4, batch, classes), dtype=torch.float64, generator=generator)
    order, names = order.argsort(1).tolist(), (which * len(OPERATIONS)).long().tolist()
    radius = (RADII[0] + (RADII[1] - RADII[0]) * radius).tolist()
    operations = (
        [Operation(channel, tuple(OPERATIONS)[names[n][channel]], radius[n][channel]) for channel in order[n]]
        if chance[n][0] < p_operation
        else ()
        for n in range(batch)
    )
    components = (numbers if chance[n][1] < p_removal else () for n, numbers in enumerate(component.tolist()))
    return Parameters(tuple(map(tuple, operations)), tuple(map(tuple, components)))


def apply(one_hot: Tensor, parameters: Parameters) -> Tensor:
    """The classes of a batch disturbed by a draw's operations, on the device where they are.

    Components are numbered on the host (SciPy), so a class that loses one makes the way there and back.

    Args:
        one_hot: bool (sample, class, z, y, x), the foreground classes, a voxel in one of them at most: exclusive
            labels, not nested regions, of which the inner ones would be taken for another class's voxels. Not changed.
        parameters: of :func:`draw`.

    Returns:
        A new tensor like it, again with a voxel in one class at most.
    """
    out = one_hot.clone()
    with cpu_threads():  # hundreds of short operations
        for sample, operations, numbers in zip(out, parameters.operations, parameters.components, strict=True):
            for operation in operations:
                changed = OPERATIONS[operation.name](sample[operation.channel], operation.radius)
                sample &= ~changed
                sample[operation.channel] = changed
            for channel, number in enumerate(numbers):
                sample[channel] = remove_component(sample[channel], number)
    return out


def dilation(mask: Tensor, radius: float) -> Tensor:
    """A mask, bool (z, y, x), grown by a ball; beyond the volume it is empty.

    The ball is scikit-image's: of ``int(2 * radius + 1)`` voxels an axis, those no farther from their common middle
    than the outermost along an axis. Where that number is even, the middle lies between voxels, the outermost of an
    axis are beside it and too far, and a mask grows by one voxel more towards the start of each axis than towards the
    end: a radius of 1 makes a cross of 7 voxels, one of 1.5 a cube of 2 x 2 x 2, one of 2 a ball of 33.

    A volume of one slice is treated in its plane, with the disc of that radius.
    """
    return _spread(mask, radius, -1)


def erosion(mask: Tensor, radius: float) -> Tensor:
    """A mask, bool (z, y, x), shrunk by the ball of :func:`dilation`; beyond the volume it is full."""
    return ~_spread(~mask, radius, 1)


def opening(mask: Tensor, radius: float) -> Tensor:
    """Erosion, then dilation: what is too thin for the ball goes."""
    return dilation(erosion(mask, radius), radius)


def closing(mask: Tensor, radius: float) -> Tensor:
    """Dilation, then erosion: gaps that are too narrow for the ball are filled."""
    return erosion(dilation(mask, radius), radius)


OPERATIONS = {"dilation": dilation, "erosion": erosion, "opening": opening, "closing": closing}


def remove_component(mask: Tensor, number: float) -> Tensor:
    """A mask, bool (z, y, x), without one of its components; as it is, where it has none that is small enough.

    Args:
        number: in [0, 1), where among the components that cover less than :data:`LARGEST_SHARE` of the volume the one
            to go is; they are in the order in which SciPy numbers them.
    """
    remaining = mask.cpu().numpy().copy()
    boxes = ndimage.find_objects(remaining.astype(np.uint8))
    if not boxes:
        return mask
    box = boxes[0]
    numbers, _ = ndimage.label(remaining[box], ACROSS_CORNERS)
    voxels = np.bincount(numbers.ravel())[1:]
    small = np.flatnonzero(voxels < LARGEST_SHARE * remaining.size) + 1
    if not len(small):
        return mask
    remaining[box] &= numbers != small[int(number * len(small))]
    return torch.from_numpy(remaining).to(mask.device)


def _spread(mask: Tensor, radius: float, sign: int) -> Tensor:
    """Whether a mask (z, y, x) holds any voxel of the ball around each voxel; sign -1 turns the ball around.

    The ball is put together from rows: the mask is spread along x once for each length of row, these along y to discs,
    and these along z. That is exact, at most 150 operations on whole masks, and nothing is read back.
    """
    width = int(2 * radius + 1)
    # Empty voxels at the ends of rows and slices: so a step along any axis is a step in the flat volume.
    padded = functional.pad(mask, (0, width // 2, 0, width // 2))
    flat = padded.flatten()
    # Of a ball's slices and rows, only the middle ones matter where there is a single voxel; they are the disc's.
    z, y, x = (
        _steps(width if extent > 1 else 1, sign * stride)
        for extent, stride in zip(mask.shape, padded.stride(), strict=True)
    )
    rows, row = {}, torch.zeros_like(flat)
    for square, steps in x.items():
        row = row.clone()
        _add(row, flat, steps)
        rows[square] = row
    out = torch.zeros_like(flat)
    for across, steps_across in z.items():
        disc = torch.zeros_like(flat)
        for along, steps_along in y.items():
            left = (width - 1) ** 2 - across - along
            if within := [square for square in rows if square <= left]:
                _add(disc, rows[max(within)], steps_along)
        _add(out, disc, steps_across)
    return out.view_as(padded)[:, : mask.shape[1], : mask.shape[2]]


def _steps(width: int, stride: int) -> dict[int, list[int]]:
    """How far to go in the flat volume for each voxel of a ball along an axis, by the square of how far it is from the
    ball's middle in half voxels; nearest first."""
    steps: dict[int, list[int]] = {}
    for k in sorted(range(width), key=lambda k: abs(2 * k - width + 1)):
        steps.setdefault((2 * k - width + 1) ** 2, []).append(stride * (k - width // 2))
    return steps


def _add(out: Tensor, source: Tensor, steps: Sequence[int]) -> None:
    """Add to a flat mask, in place, another one as it looks so many voxels further on."""
    for step in steps:
        length = len(out) - abs(step)
        if length > 0:
            out.narrow(0, max(-step, 0), length).logical_or_(source.narrow(0, max(step, 0), length))
