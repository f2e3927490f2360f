"""The residual blocks of ``models.segvae``, and the way up through levels of them, in every form that its options name.

The text of Adeniji and Liu (2019) leaves open where the last ReLU of a block stands. Here it is after the addition, as
in the residual network that section 3.2.6 refers to, so features are never negative. The code has it before the
addition (``last_relu="before"``), which lets features only grow from block to block. In the original order (norm, ReLU,
convolution; Myronenko 2018) a block ends without one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gbmlib.models.blocks import SqueezeExcitation, Upsample, checkpointed, convolution, normalisation


class BlockOptions(NamedTuple):
    """The options of ``models.segvae.SegVAE`` that shape its blocks and its steps up."""

    kernel_size: int = 3
    order: str = "conv-norm-act"
    norm: str = "group"
    up: str = "linear"
    se: str = "residual"
    reduction: int = 2
    shortcut: str = "identity"
    last_relu: str = "after"


class Block(nn.Module):
    """A residual block: two convolutions, squeeze-excitation, and the addition of the shortcut."""

    def __init__(self, channels_in: int, channels: int, options: BlockOptions):
        super().__init__()
        self.options, size, kind = options, options.kernel_size, options.norm
        self.norm_first = options.order == "norm-act-conv"
        self.convolutions = nn.ModuleList([convolution(channels_in, channels, size)])
        self.convolutions.append(convolution(channels, channels, size))
        self.norms = nn.ModuleList([normalisation(kind, channels_in if self.norm_first else channels)])
        self.norms.append(normalisation(kind, channels))
        projected = channels_in != channels or options.shortcut == "conv"
        self.shortcut = convolution(channels_in, channels, 1) if projected else nn.Identity()
        self.excitation = SqueezeExcitation(channels, options.reduction) if options.se != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        residual, checkpoint = self._residual(x)
        shortcut = self.shortcut(x)
        if self.options.se == "residual":
            weight = self.excitation(residual).to(residual.dtype)
            with checkpoint:  # shortcut + weight x residual, in one pass over memory
                total = torch.addcmul(shortcut, residual, weight)
        elif self.options.se == "shortcut":
            total = torch.addcmul(residual, shortcut, self.excitation(shortcut).to(shortcut.dtype))
        else:
            total = residual + shortcut
        return total if self.norm_first or self.options.last_relu == "before" else torch.relu_(total)

    def _residual(self, x: Tensor) -> tuple[Tensor, AbstractContextManager]:
        """The residual, and a context in which the backward pass recomputes it (``models.blocks.checkpointed``)."""
        first, second = self.convolutions
        inner, last = self.norms
        if self.norm_first:
            return second(torch.relu_(last(first(torch.relu(inner(x)))))), nullcontext()
        convolved = first(x)
        normed = inner(convolved)
        with checkpointed(normed, inner, lambda: torch.relu_(inner(convolved)), uses=2):
            out = second(torch.relu_(normed))
        finish = (lambda: torch.relu_(last(out))) if self.options.last_relu == "before" else (lambda: last(out))
        residual = finish()
        return residual, checkpointed(residual, last, finish)


def single(channels_in: int, channels: int, kernel_size: int, options: BlockOptions) -> nn.Module:
    """One convolution outside the blocks; norm and ReLU follow it in Adeniji and Liu's order."""
    layer = convolution(channels_in, channels, kernel_size)
    if options.order == "norm-act-conv":
        return layer
    return nn.Sequential(layer, normalisation(options.norm, channels), nn.ReLU(inplace=True))


def level_of_blocks(channels_in: int, channels: int, count: int, options: BlockOptions) -> nn.Sequential:
    """The blocks of a level, of which the first changes the channels."""
    return nn.Sequential(*(Block(channels if number else channels_in, channels, options) for number in range(count)))


def upward(channels_in: int, channels: int, options: BlockOptions) -> list[nn.Module]:
    """Layers that change the channels and double the size."""
    if options.up != "transposed":
        return [single(channels_in, channels, 1, options), Upsample(options.up)]
    layer = nn.ConvTranspose3d(channels_in, channels, 2, stride=2, bias=False)
    if options.order == "norm-act-conv":
        return [layer]
    return [layer, normalisation(options.norm, channels), nn.ReLU(inplace=True)]


def decoder(widths: list[int], options: BlockOptions) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The steps up and the block of each level, from the deepest but one to the finest."""
    steps = list(zip(widths[::-1], widths[-2::-1], strict=False))
    up = nn.ModuleList(nn.Sequential(*upward(below, width, options)) for below, width in steps)
    return up, nn.ModuleList(level_of_blocks(width, width, 1, options) for _, width in steps)
