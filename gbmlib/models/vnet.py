"""V-Net (Milletari, Navab and Ahmadi 2016, arXiv 1606.04797): the baseline of Adeniji and Liu (2019).

Five levels of residual stages with 5 x 5 x 5 convolutions and PReLU, strided 2 x 2 x 2 convolutions down (doubling the
channels) and transposed ones up (halving them), and features forwarded from each level of the encoder to the decoder.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from gbmlib.models.blocks import Conv3d, Levels, OddSize, OutputGain, PReLU, normalisation, small_output, validated


class Stage(nn.Module):
    """Some convolutions whose result is added to the stage's input; PReLU follows each, the last after the addition.

    Where the channels differ, in the first stage, the addition takes the image's channels repeated until they fill the
    stage's filters (figure 2 of the paper).
    """

    def __init__(self, channels_in: int, channels: int, convolutions: int, kernel_size: int, norm: str):
        super().__init__()
        self.channels = channels
        widths = [channels_in] + [channels] * (convolutions - 1)
        self.convolutions = nn.ModuleList(
            nn.Sequential(Conv3d(width, channels, kernel_size, padding=kernel_size // 2), normalisation(norm, channels))
            for width in widths
        )
        self.activations = nn.ModuleList(PReLU(channels) for _ in widths)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for number, (convolution, activation) in enumerate(zip(self.convolutions, self.activations, strict=True), 1):
            out = convolution(out)
            if number == len(self.convolutions):
                out = out + self._shortcut(x)
            out = activation(out)
        return out

    def _shortcut(self, x: Tensor) -> Tensor:
        if x.shape[1] == self.channels:
            return x
        repeats = -(-self.channels // x.shape[1])
        return x.repeat(1, repeats, 1, 1, 1)[:, : self.channels]


class VNet(nn.Module):
    """V-Net: logits (batch, out_channels, z, y, x) from images (batch, in_channels, z, y, x).

    Args:
        in_channels: modalities.
        out_channels: regions; the loss applies a sigmoid to each (the paper has a softmax over two).
        filters: channels of the first level, doubled at each of the four steps down.
        convolutions: convolutions in the stage of each level, 1, 2, 3, 3, 3; the decoder mirrors them (3, 3, 2, 1).
        kernel_size: 5 in the paper.
        forwarding: ``"concatenate"`` as in the paper's figure 2; ``"add"`` adds the encoder's features element by
            element, as Adeniji and Liu (section 2.1) describe it, and halves the width of the decoder.
        norm: ``"none"`` as published; ``"batch"`` (what common implementations do) or ``"instance"``, after each
            convolution.
        output_gain: by what the output's initial weights are multiplied (``models.blocks.small_output``).

    Attributes:
        divisor: each spatial size must be divisible by it (16).
    """

    @validated("vnet")
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filters: PositiveInt = 16,
        convolutions: Levels = (1, 2, 3, 3, 3),
        kernel_size: OddSize = 5,
        forwarding: Literal["concatenate", "add"] = "concatenate",
        norm: Literal["none", "batch", "instance"] = "none",
        output_gain: OutputGain = 1.0,
    ):
        super().__init__()
        self.forwarding = forwarding
        self.divisor = 2 ** (len(convolutions) - 1)
        widths = [filters * 2**level for level in range(len(convolutions))]

        def stage(channels_in: int, channels: int, level: int) -> Stage:
            return Stage(channels_in, channels, convolutions[level], kernel_size, norm)

        self.encoder = nn.ModuleList([stage(in_channels, widths[0], 0)])
        self.down = nn.ModuleList()
        for level in range(1, len(widths)):
            self.down.append(_step(nn.Conv3d(widths[level - 1], widths[level], 2, stride=2), norm))
            self.encoder.append(stage(widths[level], widths[level], level))

        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        below = widths[-1]
        for level in reversed(range(len(widths) - 1)):
            width = 2 * widths[level] if forwarding == "concatenate" else widths[level]
            self.up.append(_step(nn.ConvTranspose3d(below, widths[level], 2, stride=2), norm))
            self.decoder.append(stage(width, width, level))
            below = width
        self.output = nn.Conv3d(below, out_channels, 1)
        self.apply(_initialise)
        nn.init.xavier_normal_(self.output.weight)
        small_output(self.output, output_gain)

    def forward(self, x: Tensor) -> Tensor:
        if any(size % self.divisor for size in x.shape[2:]):
            fits = tuple(-(-size // self.divisor) * self.divisor for size in x.shape[2:])
            raise ValueError(f"V-Net takes sizes divisible by {self.divisor}, not {tuple(x.shape[2:])}; next is {fits}")
        x = self.encoder[0](x)
        forwarded = [x]
        for down, stage in zip(self.down, self.encoder[1:], strict=True):
            x = stage(down(x))
            forwarded.append(x)
        forwarded.pop()
        for up, stage in zip(self.up, self.decoder, strict=True):
            skip = forwarded.pop()
            x = up(x)
            x = stage(torch.cat([x, skip], 1) if self.forwarding == "concatenate" else x + skip)
        return self.output(x)


def _step(convolution: nn.Module, norm: str) -> nn.Sequential:
    """A strided convolution down or up, with PReLU."""
    channels = convolution.out_channels
    return nn.Sequential(convolution, normalisation(norm, channels), PReLU(channels))


def _initialise(module: nn.Module) -> None:
    """He-normal weights for PReLU's initial slope of 0.25 (He et al. 2015, the initialisation that PReLU came with)."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        # A stride-2 transposed convolution of kernel 2 reads one voxel for each it writes: its fan-in is its channels.
        fan_in = module.in_channels if isinstance(module, nn.ConvTranspose3d) else module.weight[0].numel()
        nn.init.normal_(module.weight, std=(2 / (1 + 0.25**2) / fan_in) ** 0.5)
        nn.init.zeros_(module.bias)
