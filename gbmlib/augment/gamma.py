"""Gamma correction of intensities that keeps each channel's mean and deviation."""

from __future__ import annotations

import torch
from torch import Tensor

from gbmlib.augment.simple import around_one
from gbmlib.augment.warp import to_device

#: Against division by zero in a channel that is one value throughout; batchgenerators' values.
RANGE_EPS, DEVIATION_EPS = 1e-7, 1e-8


def draw(
    batch: int, channels: int, probability: float, bounds: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """Exponents (sample, channel) on the host; a sample's are all 1 where it draws none.

    nnU-Net's public code (MIC-DKFZ/nnUNet 6150f1b0) decides once for a sample, and then draws each channel's own
    exponent, below 1 as often as above.
    """
    drawn = torch.rand((batch, 1 + 2 * channels), dtype=torch.float64, generator=generator)
    exponents = around_one(drawn[:, 1 : 1 + channels], drawn[:, 1 + channels :], bounds)
    return torch.where(drawn[:, :1] < probability, exponents, 1)


def apply(images: Tensor, exponents: Tensor, spare_zeros: bool = False) -> Tensor:
    """Raise intensities to a power within their own range, channel by channel, and restore mean and deviation.

    A channel's values are mapped to 0 to 1 by their minimum and maximum over the whole patch, raised to the exponent,
    and given the mean and the deviation that they had, as batchgenerators' ``augment_gamma`` does with
    ``retain_stats``. The image is not inverted.

    Background that was zero does not stay zero by itself. Where images were normalised inside a mask only, the public
    code sets what lies outside to zero again after its augmentation; ``spare_zeros`` does so for the voxels that are
    zero in every channel. Mean and deviation are then those of before only up to that.

    Args:
        images: float (sample, channel, …), on any device.
        exponents: (sample, channel), on the host.

    Returns:
        A new tensor; samples whose exponents are all 1 come back bit for bit.
    """
    out = images.clone()
    drawn = (exponents != 1).any(1).nonzero().flatten().tolist()
    if not drawn:
        return out
    rows = to_device(torch.tensor(drawn), images.device)
    power = to_device(exponents[drawn].to(images.dtype), images.device)[:, :, None]
    values = images[rows].flatten(2)
    low, high, mean = values.amin(-1, True), values.amax(-1, True), values.mean(-1, True)
    spread = torch.linalg.vector_norm(values - mean, dim=-1, keepdim=True)
    new = values.sub(low).div_(high - low + RANGE_EPS).pow_(power)
    new -= new.mean(-1, True)
    least = DEVIATION_EPS * values.shape[-1] ** 0.5
    new.mul_(spread / (torch.linalg.vector_norm(new, dim=-1, keepdim=True) + least)).add_(mean)
    if spare_zeros:
        new.masked_fill_((values == 0).all(1, True), 0)
    out[rows] = new.view(len(drawn), *images.shape[1:])
    return out
