"""The U-Nets of nnU-Net (Isensee et al. 2018, arXiv 1809.10486, section 2.1), in two and three dimensions.

The network is plain: the paper's point is that little in the architecture matters once everything around it is right.
Each level has two convolutions of kernel 3, each followed by instance norm and leaky ReLU. Transposed convolutions lead
up, and skips are concatenated. There are 30 features at the top, doubled at each pooling up to a cap, no bias in
transposed convolutions and in the output, and no deep supervision. Where the text is silent this is its first public
code (MIC-DKFZ/nnUNet, 2019). They differ in one point: the text pools, the code has strided convolutions
(``down="stride"``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from gbmlib.models.blocks import Conv2d, Conv3d, OutputGain, small_output, validated

#: Slope of the leaky ReLU where its input is negative.
SLOPE = 0.01

ACTIVATIONS = {"leaky_relu": partial(nn.LeakyReLU, SLOPE, inplace=True), "relu": partial(nn.ReLU, inplace=True)}


def pooled_axes(pools: Sequence[int]) -> list[tuple[bool, ...]]:
    """Which axes are pooled at each level, from the finest on.

    An axis with fewer poolings than another starts later, when the other axes have become as coarse.
    """
    depth = max(pools)
    return [tuple(count + level >= depth for count in pools) for level in range(depth)]


class UNet(nn.Module):
    """Logits (batch, out_channels, z, y, x) from images (batch, in_channels, z, y, x).

    A network of two dimensions takes and returns the same shapes, and sees each slice by itself.

    Args:
        in_channels: modalities.
        out_channels: classes, the background among them where the loss is a softmax's.
        filters: features of the first level, doubled at each pooling up to the code's 320, in two dimensions 480.
        pools: poolings of each axis (z, y, x), as a plan has them (``planner``).
        dimensions: 3, or 2.
        down: ``"max_pool"`` (the paper), or ``"stride"``: the first convolution of a level has the stride.
        norm: ``"instance"``, or ``"batch"``.
        activation: of :data:`ACTIVATIONS`; the paper says that the choice of leaky ReLUs was not validated.
        output_gain: by what the output's initial weights are multiplied (``models.blocks.small_output``).

    Attributes:
        divisor: (z, y, x) by which the spatial size must be divisible, 2 to the power of the poolings.

    Raises:
        ValueError: an option with an impossible value; every one is named.
    """

    @validated("unet")
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filters: PositiveInt = 30,
        pools: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] = (5, 5, 5),
        dimensions: Literal[2, 3] = 3,
        down: Literal["max_pool", "stride"] = "max_pool",
        norm: Literal["instance", "batch"] = "instance",
        activation: Literal[tuple(ACTIVATIONS)] = "leaky_relu",
        output_gain: OutputGain = 1.0,
    ):
        super().__init__()
        self.is_2d = dimensions == 2
        if self.is_2d and pools[0]:
            raise ValueError(f"unet: pools is {pools}; a network of two dimensions does not pool z")
        most = 480 if self.is_2d else 320
        self.divisor = tuple(2**count for count in pools)
        factors = [tuple(2 if pooled else 1 for pooled in axes) for axes in pooled_axes(pools[3 - dimensions :])]
        widths = [min(filters * 2**level, most) for level in range(len(factors) + 1)]
        kind = {"dimensions": dimensions, "norm": norm, "activation": activation}
        ones = (1,) * dimensions
        pool = nn.MaxPool2d if self.is_2d else nn.MaxPool3d
        transposed = nn.ConvTranspose2d if self.is_2d else nn.ConvTranspose3d
        self.down = nn.ModuleList(nn.Identity() if down == "stride" else pool(factor) for factor in factors)
        strides = [ones, *(factors if down == "stride" else [ones] * len(factors))]
        entering = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            _level(before, width, stride, **kind)
            for before, width, stride in zip(entering, widths, strides, strict=True)
        )
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        for below, width, factor in zip(widths[:0:-1], widths[-2::-1], factors[::-1], strict=True):
            self.up.append(transposed(below, width, factor, stride=factor, bias=False))
            self.decoder.append(_level(2 * width, width, ones, **kind))
        self.output = (Conv2d if self.is_2d else Conv3d)(widths[0], out_channels, 1, bias=False)
        _initialise(self, SLOPE if activation == "leaky_relu" else 0)  # He's gain of a ReLU for all others
        small_output(self.output, output_gain)

    def forward(self, x: Tensor) -> Tensor:
        if any(size % by for size, by in zip(x.shape[2:], self.divisor, strict=True)):
            raise ValueError(f"unet: the image's size {tuple(x.shape[2:])} must be divisible by {self.divisor}")
        if not self.is_2d:
            return self._forward(x)
        batch, _, depth = x.shape[:3]
        slices = x.transpose(1, 2).flatten(0, 1)
        return self._forward(slices).unflatten(0, (batch, depth)).transpose(1, 2)

    def _forward(self, x: Tensor) -> Tensor:
        x = self.encoder[0](x)
        skips = []
        for down, level in zip(self.down, self.encoder[1:], strict=True):
            skips.append(x)
            x = level(down(x))
        for up, level in zip(self.up, self.decoder, strict=True):
            x = level(torch.cat([up(x), skips.pop()], 1))
        return self.output(x)


def _level(
    channels_in: int, channels: int, stride: Sequence[int], dimensions: int, norm: str, activation: str
) -> nn.Sequential:
    """Convolution, norm and activation, twice; the first convolution may have a stride."""
    convolution = Conv2d if dimensions == 2 else Conv3d
    batch_norm = nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm3d
    layers: list[nn.Module] = []
    for width, step in ((channels_in, tuple(stride)), (channels, 1)):
        # Without bias: the norm that follows would remove it.
        layers.append(convolution(width, channels, 3, step, 1, bias=False))
        # A group norm with a group for each channel is an instance norm, and faster.
        layers.append(nn.GroupNorm(channels, channels) if norm == "instance" else batch_norm(channels))
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


def _initialise(network: nn.Module, slope: float) -> None:
    """He's normal initialisation of every convolution for the slope of the activation that follows, as in the code."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, slope)
