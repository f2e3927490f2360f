"""Elastic deformation: a smooth random displacement as a few matrices, one for each axis.

nnU-Net's augmentation (batchgenerators, ``elastic_deform_coordinates``) draws noise at every voxel, uniform in [-1, 1],
smooths it by a Gaussian filter, and multiplies it by alpha. Here the noise is drawn on a lattice of at most half a
sigma, and one small matrix an axis smooths and enlarges it at once, with the filter's variance and correlation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

#: Where the filter ends, in standard deviations: SciPy's default.
TRUNCATE = 4.0


def lattice(size: Sequence[int], sigma: float) -> tuple[int, ...]:
    """How many noise values each axis of a patch needs for filters of this width (voxels) and wider ones."""
    return tuple(min(extent, math.ceil(2 * extent / sigma)) for extent in size)


def smoothing(size: int, points: int, sigma: Tensor) -> Tensor:
    """The matrices (sample, size, points) from noise on a lattice to smooth values at the voxels of one axis.

    The lattice's cells tile the axis from edge to edge, and there is no noise beyond, as with the filter's
    ``mode="constant"``. With as many points as voxels this is the matrix of ``scipy.ndimage.gaussian_filter1d``; with
    fewer, each point stands for ``size / points`` voxels, and the square root of that keeps the variance.

    Args:
        sigma: standard deviation of the filter for each sample, in voxels.
    """
    sigma = sigma.double()[:, None, None]
    radius = (TRUNCATE * sigma + 0.5).floor()
    cell = size / points
    voxels = torch.arange(size, dtype=torch.float64)[:, None]
    distance = (voxels - ((torch.arange(points, dtype=torch.float64) + 0.5) * cell - 0.5)).abs()
    weights = torch.exp(-((distance / sigma) ** 2) / 2) * (distance <= radius)
    offsets = torch.arange(-int(radius.max()), int(radius.max()) + 1, dtype=torch.float64)
    total = (torch.exp(-((offsets / sigma) ** 2) / 2) * (offsets.abs() <= radius)).sum(-1, keepdim=True)
    return weights / total * math.sqrt(cell)


def deviation(alpha: float | Tensor, sigma: float | Tensor, dimensions: int) -> float | Tensor:
    """Standard deviation of the displacement along one axis, in voxels, far from the patch's faces.

    That of uniform noise is 1 / sqrt(3), and a Gaussian filter multiplies the variance by 1 / (2 sqrt(pi) sigma) for
    each axis. On a face of the patch, half of whose surroundings hold no noise, the variance is half of this.
    """
    return alpha * ((2 * math.sqrt(math.pi) * sigma) ** -dimensions / 3) ** 0.5
