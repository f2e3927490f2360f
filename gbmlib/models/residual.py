"""Residual blocks, and the way up through levels of them, in every order and form that the autoencoder's options name.

The text of Adeniji and Liu (2019) leaves open where the last ReLU of a block stands. Here it is after the addition, as
in the residual network that section 3.2.6 refers to: what a level hands on is then not negative. The code has it before
the addition (``last_relu="before"``), which lets features only grow from block to block. In the original order (norm,
ReLU, convolution; Myronenko 2018) a block has none at its end.

``options`` are those of ``models.segvae.SegVAE``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from gbmlib.models.blocks import SqueezeExcitation, Upsample, computed_again, convolution, norm

ORDERS = ("conv-norm-act", "norm-act-conv")
SE = ("residual", "shortcut", "none")
SHORTCUTS = ("identity", "conv")
LAST_RELU = ("after", "before")


class Block(nn.Module):
    """A residual block: two convolutions, squeeze-excitation, and the addition of the shortcut."""

    def __init__(self, channels_in: int, channels: int, options: dict[str, Any]):
        super().__init__()
        self.pre = options["order"] == "norm-act-conv"
        self.last_relu, self.se = options["last_relu"], options["se"]
        size, kind = options["kernel_size"], options["norm"]
        self.convolutions = nn.ModuleList([convolution(channels_in, channels, size)])
        self.convolutions.append(convolution(channels, channels, size))
        self.norms = nn.ModuleList([norm(kind, channels_in if self.pre else channels), norm(kind, channels)])
        projected = channels_in != channels or options["shortcut"] == "conv"
        self.shortcut = convolution(channels_in, channels, 1) if projected else nn.Identity()
        self.excitation = SqueezeExcitation(channels, options["reduction"]) if self.se != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        residual, again = self._residual(x)
        shortcut = self.shortcut(x)
        if self.se == "residual":
            weight = self.excitation(residual).to(residual.dtype)
            with again:
                out = torch.addcmul(shortcut, residual, weight)  # weight x residual + shortcut in one pass over memory
        elif self.se == "shortcut":
            out = torch.addcmul(residual, shortcut, self.excitation(shortcut).to(shortcut.dtype))
        else:
            out = residual + shortcut
        return out if self.pre or self.last_relu == "before" else torch.relu_(out)

    def _residual(self, x: Tensor) -> tuple[Tensor, AbstractContextManager]:
        """The residual, and what keeps it from being kept for the backward pass once more."""
        first, second = self.convolutions
        if self.pre:
            return second(torch.relu_(self.norms[1](first(torch.relu(self.norms[0](x)))))), nullcontext()
        inner, last = self.norms
        convolved = first(x)
        normed = inner(convolved)
        with computed_again(normed, inner, lambda: torch.relu_(inner(convolved)), uses=2):
            out = second(torch.relu_(normed))
        finish = (lambda: torch.relu_(last(out))) if self.last_relu == "before" else (lambda: last(out))
        residual = finish()
        return residual, computed_again(residual, last, finish)


def single(channels_in: int, channels: int, kernel_size: int, options: dict[str, Any]) -> nn.Module:
    """One convolution outside the blocks, with norm and ReLU behind it in the reordered network."""
    layer = convolution(channels_in, channels, kernel_size)
    if options["order"] == "norm-act-conv":
        return layer
    return nn.Sequential(layer, norm(options["norm"], channels), nn.ReLU(inplace=True))


def blocks(channels_in: int, channels: int, count: int, options: dict[str, Any]) -> nn.Sequential:
    """The blocks of a level, of which the first may have other channels at its entrance."""
    return nn.Sequential(*(Block(channels if number else channels_in, channels, options) for number in range(count)))


def upward(channels_in: int, channels: int, options: dict[str, Any]) -> list[nn.Module]:
    """Other channels and twice the size."""
    if options["up"] != "transposed":
        return [single(channels_in, channels, 1, options), Upsample(options["up"])]
    layer = nn.ConvTranspose3d(channels_in, channels, 2, stride=2, bias=False)
    if options["order"] == "norm-act-conv":
        return [layer]
    return [layer, norm(options["norm"], channels), nn.ReLU(inplace=True)]


def decoder(widths: list[int], options: dict[str, Any]) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The steps up and the block of each level, from the deepest but one to the finest."""
    steps = list(zip(widths[::-1], widths[-2::-1], strict=False))
    up = nn.ModuleList(nn.Sequential(*upward(below, width, options)) for below, width in steps)
    return up, nn.ModuleList(blocks(width, width, 1, options) for _, width in steps)
