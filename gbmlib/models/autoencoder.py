"""Encoder-decoder with a variational autoencoder (VAE) branch: Myronenko's network and Adeniji and Liu's version of it.

Myronenko (2018, arXiv 1810.11654) trains a residual encoder-decoder whose deepest features must also reconstruct the
input image through a VAE; Adeniji and Liu (2019, section 3.2) halve the filters, add squeeze-excitation, pool instead
of striding, reorder the layers and initialise after He and Glorot. Here each of these is an option of one network. The
defaults are what Adeniji and Liu's text says; :data:`MYRONENKO` are the options of the original.

Two things the text leaves open, and what is done here:

- *Where the channels double.* A strided convolution down doubles them itself. Pooling cannot, so the first block of the
  next level does, and its shortcut becomes a 1 x 1 x 1 convolution, the only place where one is needed.
- *Where the last ReLU of a block stands.* After the addition, as in the residual network that section 3.2.6 refers to:
  what a level hands on is then not negative. The code has it before the addition (``last_relu="before"``), which lets
  features only grow from block to block. In the original order (norm, ReLU, convolution) a block has none at its end.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gbmlib.models.blocks import (
    DOWN,
    NORMS,
    UP,
    SqueezeExcitation,
    Upsample,
    computed_again,
    convolution,
    downsample,
    norm,
)
from gbmlib.published import CROP

ORDERS = ("conv-norm-act", "norm-act-conv")
SE = ("residual", "shortcut", "none")
SHORTCUTS = ("identity", "conv")
LAST_RELU = ("after", "before")
INITS = ("he", "he_output", "glorot", "torch")

#: The options of the original (Myronenko 2018, section 3): twice the filters, pre-activation, strided convolutions.
MYRONENKO: dict[str, Any] = {
    "filters": 32,
    "order": "norm-act-conv",
    "down": "stride",
    "se": "none",
    "dropout": 0.2,
    "init": "torch",
}


class Outputs(NamedTuple):
    """What the network gives in training: logits, and from the VAE the image again and its latent distribution.

    ``logits`` (batch, out_channels, z, y, x); ``reconstruction`` (batch, in_channels, z, y, x), float32; ``mean`` and
    ``log_variance`` (batch, latent), float32.
    """

    logits: Tensor
    reconstruction: Tensor
    mean: Tensor
    log_variance: Tensor


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


class SegVAE(nn.Module):
    """Logits (batch, out_channels, z, y, x) from images (batch, in_channels, z, y, x); in training :class:`Outputs`.

    Args:
        in_channels: modalities.
        out_channels: regions, each with a sigmoid in the loss.
        patch_size: of training (z, y, x) in voxels, which the VAE's dense layers fix; a prediction may have any size
            that ``divisor`` divides. By default the paper's crop.
        filters: channels of the first level (16; the original 32), doubled at each of the three steps down.
        blocks: residual blocks of each level of the encoder; the decoder has one a level.
        kernel_size: of the blocks' convolutions.
        order: of the layers: ``"conv-norm-act"`` (section 3.2.6, single convolutions included) or the original's
            ``"norm-act-conv"``, whose single convolutions stand alone.
        norm: see :func:`gbmlib.models.blocks.norm`.
        down: ``"max_pool"``, ``"average_pool"``, or ``"stride"``, a convolution without norm as in the original.
        up: ``"linear"`` or ``"nearest"`` after a 1 x 1 x 1 convolution that halves the channels, or ``"transposed"``:
            one strided transposed convolution in place of both.
        se: squeeze-excitation scales the ``"residual"`` (section 3.2.2), the ``"shortcut"`` (the code), or ``"none"``.
        reduction: of the squeeze. The paper leaves r open; 2 is the code's.
        shortcut: ``"identity"`` wherever the channels allow, or always a 1 x 1 x 1 ``"conv"`` (the code).
        last_relu: of a block, ``"after"`` or ``"before"`` the addition; see the module's text.
        init: ``"he"``: He-normal, and Glorot-normal before a sigmoid (section 3.2.3); ``"he_output"``: the output too
            (the code); ``"glorot"``: Glorot-uniform throughout, the default of the paper's framework; ``"torch"``.
        dropout: of whole channels after the first convolution (the original 0.2).
        vae: whether there is a branch. It runs in training only.
        latent: means, and as many log-variances.
        vae_channels: to which the branch reduces the features before its dense layer; 0 for no reduction (the code).

    Attributes:
        divisor: each spatial size must be divisible by it (8 for four levels).
        training_divisor: in training (16 with the VAE, which halves once more).

    Raises:
        ValueError: an option with an impossible value, or a patch that does not fit, with the nearest that does.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        patch_size: tuple[int, int, int] = CROP,
        filters: int = 16,
        blocks: tuple[int, ...] = (1, 2, 2, 4),
        kernel_size: int = 3,
        order: str = "conv-norm-act",
        norm: str = "group",
        down: str = "max_pool",
        up: str = "linear",
        se: str = "residual",
        reduction: int = 2,
        shortcut: str = "identity",
        last_relu: str = "after",
        init: str = "he",
        dropout: float = 0.0,
        vae: bool = True,
        latent: int = 128,
        vae_channels: int = 16,
    ):
        super().__init__()
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        _check(options)
        self.patch_size = tuple(patch_size)
        self.divisor = 2 ** (len(blocks) - 1)
        self.training_divisor = self.divisor * (2 if vae else 1)
        widths = [filters * 2**level for level in range(len(blocks))]
        self.first = nn.Sequential(_single(in_channels, widths[0], kernel_size, options), nn.Dropout3d(dropout))
        self.down, self.encoder = nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            entering = width if level == 0 or down == "stride" else widths[level - 1]
            if level:
                self.down.append(downsample(down, widths[level - 1], width, kernel_size))
            self.encoder.append(_blocks(entering, width, count, options))
        self.up, self.decoder = _decoder(widths, options)
        self.output = nn.Conv3d(widths[0], out_channels, 1)
        self.vae = VAE(in_channels, widths, options) if vae else None
        _initialise(self, init)

    def forward(self, x: Tensor) -> Tensor | Outputs:
        _fits(x.shape[2:], self.divisor)
        deepest, skips = self.encode(x)
        out = deepest
        for up, block, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            out = block(up(out) + skip)
        logits = self.output(out)
        return Outputs(logits, *self.vae(deepest)) if self.training and self.vae is not None else logits

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The deepest features, and those of each level above it from the finest on."""
        x = self.encoder[0](self.first(x))
        skips = []
        for down, level in zip(self.down, self.encoder[1:], strict=True):
            skips.append(x)
            x = level(down(x))
        return x, skips


class VAE(nn.Module):
    """The branch that reconstructs the image: from the deepest features to ``(reconstruction, mean, log_variance)``.

    A strided convolution to ``vae_channels``, a dense layer to means and log-variances, a sample drawn with them, a
    dense layer back, and a decoder like the segmentation's but without skips (Myronenko 2018, section 3.2, table 1).
    """

    def __init__(self, in_channels: int, widths: list[int], options: dict[str, Any]):
        super().__init__()
        deepest, latent = widths[-1], options["latent"]
        channels = options["vae_channels"] or deepest
        halvings = 2 ** len(widths)
        self.size = tuple(size // halvings for size in options["patch_size"])
        voxels = self.size[0] * self.size[1] * self.size[2]
        reduce = convolution(deepest, channels, options["kernel_size"], stride=2)
        if options["order"] == "norm-act-conv":
            self.reduce = nn.Sequential(norm(options["norm"], deepest), nn.ReLU(), reduce)
        else:
            self.reduce = nn.Sequential(reduce, norm(options["norm"], channels), nn.ReLU(inplace=True))
        self.distribution = nn.Linear(channels * voxels, 2 * latent)
        self.back_channels = options["vae_channels"] or 16
        self.back = nn.Linear(latent, self.back_channels * voxels)
        self.widen = nn.Sequential(*_upward(self.back_channels, deepest, options))
        self.up, self.decoder = _decoder(widths, options)
        self.output = nn.Conv3d(widths[0], in_channels, 1)

    def forward(self, deepest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reduced = self.reduce(deepest)
        if tuple(reduced.shape[2:]) != self.size:
            given, built = (tuple(n * 2 ** (len(self.up) + 1) for n in size) for size in (reduced.shape[2:], self.size))
            raise ValueError(
                f"the VAE's dense layers were built for training patches of {built}, and this one is about {given}; "
                "build the network with patch_size as trained, or predict in eval mode, which takes any size"
            )
        # exp() of a log-variance needs the range and the precision of float32.
        mean, log_variance = self.distribution(reduced.flatten(1)).float().chunk(2, 1)
        sample = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        out = torch.relu(self.back(sample)).view(-1, self.back_channels, *self.size)
        out = self.widen(out)
        for up, block in zip(self.up, self.decoder, strict=True):
            out = block(up(out))
        return self.output(out).float(), mean, log_variance


def _single(channels_in: int, channels: int, kernel_size: int, options: dict[str, Any]) -> nn.Module:
    """One convolution outside the blocks, with norm and ReLU behind it in the reordered network."""
    layer = convolution(channels_in, channels, kernel_size)
    if options["order"] == "norm-act-conv":
        return layer
    return nn.Sequential(layer, norm(options["norm"], channels), nn.ReLU(inplace=True))


def _blocks(channels_in: int, channels: int, count: int, options: dict[str, Any]) -> nn.Sequential:
    return nn.Sequential(*(Block(channels if number else channels_in, channels, options) for number in range(count)))


def _upward(channels_in: int, channels: int, options: dict[str, Any]) -> list[nn.Module]:
    """Other channels and twice the size."""
    if options["up"] != "transposed":
        return [_single(channels_in, channels, 1, options), Upsample(options["up"])]
    layer = nn.ConvTranspose3d(channels_in, channels, 2, stride=2, bias=False)
    if options["order"] == "norm-act-conv":
        return [layer]
    return [layer, norm(options["norm"], channels), nn.ReLU(inplace=True)]


def _decoder(widths: list[int], options: dict[str, Any]) -> tuple[nn.ModuleList, nn.ModuleList]:
    """The steps up and the block of each level, from the deepest but one to the finest."""
    upward = list(zip(widths[::-1], widths[-2::-1], strict=False))
    up = nn.ModuleList(nn.Sequential(*_upward(below, width, options)) for below, width in upward)
    return up, nn.ModuleList(_blocks(width, width, 1, options) for _, width in upward)


def _initialise(network: SegVAE, init: str) -> None:
    """Draw every weight by one of :data:`INITS`; biases start at zero (but for torch's own rule)."""
    if init == "torch":
        return
    before_sigmoid = {module.excite for module in network.modules() if isinstance(module, SqueezeExcitation)}
    if init != "he_output":
        before_sigmoid.add(network.output)
    for module in network.modules():
        if not isinstance(module, nn.Conv3d | nn.ConvTranspose3d | nn.Linear):
            continue
        if init == "glorot":
            nn.init.xavier_uniform_(module.weight)
        elif module in before_sigmoid:
            nn.init.xavier_normal_(module.weight)
        elif isinstance(module, nn.ConvTranspose3d):
            # Of stride 2 and kernel 2, it reads one voxel for each it writes: its fan-in is its channels.
            nn.init.normal_(module.weight, std=(2 / module.in_channels) ** 0.5)
        else:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check(options: dict[str, Any]) -> None:
    faults = []
    choices = {"order": ORDERS, "norm": NORMS, "down": DOWN, "up": UP, "se": SE, "shortcut": SHORTCUTS}
    choices |= {"last_relu": LAST_RELU, "init": INITS}
    for name, allowed in choices.items():
        if options[name] not in allowed:
            faults.append(f"{name} is {options[name]!r}, not one of {allowed}")
    filters, blocks = options["filters"], tuple(options["blocks"])
    if filters < 1 or (options["norm"] in ("group", "groups_of_8", "slab") and filters % 8):
        faults.append(f"filters is {filters}; norm {options['norm']!r} needs a multiple of 8")
    if len(blocks) < 2 or min(blocks) < 1:
        faults.append(f"blocks is {blocks}, not two or more levels of at least one block")
    if options["kernel_size"] < 1 or options["kernel_size"] % 2 == 0:
        faults.append(f"kernel_size is {options['kernel_size']}, not odd")
    if not 0 <= options["dropout"] < 1:
        faults.append(f"dropout is {options['dropout']}, not at least 0 and below 1")
    faults += [f"{name} is {options[name]}, not at least 1" for name in ("reduction", "latent") if options[name] < 1]
    channels = options["vae_channels"]
    if channels < 0 or (options["norm"] in ("group", "groups_of_8", "slab") and channels % 8):
        faults.append(f"vae_channels is {channels}; norm {options['norm']!r} needs 0 or a multiple of 8")
    if options["vae"] and not faults:
        try:
            _fits(options["patch_size"], 2 ** len(blocks), "in training with the VAE, patch_size")
        except ValueError as fault:
            faults.append(str(fault))
    if faults:
        raise ValueError("segvae: " + "; ".join(faults))


def _fits(size: tuple[int, ...], divisor: int, what: str = "the image's size") -> None:
    if any(n % divisor for n in size):
        nearest = tuple(max(1, round(n / divisor)) * divisor for n in size)
        raise ValueError(f"{what} {tuple(size)} must be divisible by {divisor}; the nearest that is: {nearest}")
