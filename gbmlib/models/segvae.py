"""Encoder-decoder with a variational autoencoder (VAE) branch: Myronenko's network and Adeniji and Liu's version of it.

Myronenko (2018, arXiv 1810.11654) trains a residual encoder-decoder whose deepest features must also reconstruct the
input image through a VAE; Adeniji and Liu (2019, section 3.2) halve the filters, add squeeze-excitation, pool instead
of striding, reorder the layers and initialise after He and Glorot. Here each of these is an option of one network. The
defaults are what Adeniji and Liu's text says; :data:`MYRONENKO` are the options of the original.

The text leaves two things open:

- *Where the channels double.* A strided convolution down doubles them itself. Pooling cannot, so the first block of the
  next level does, and its shortcut becomes a 1 x 1 x 1 convolution, the only place where one is needed.
- *Where the last ReLU of a block stands.* Here it follows the addition; see ``models.residual``, which has the blocks.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from gbmlib.models import residual
from gbmlib.models.blocks import (
    Levels,
    OddSize,
    OutputGain,
    Share,
    SqueezeExcitation,
    convolution,
    downsample,
    normalisation,
    small_output,
    validated,
)

#: Size (z, y, x) in voxels of the training crops of Adeniji and Liu (section 4.2): 144 x 144 x 128 in their own order
#: (x, y, z).
CROP = (128, 144, 144)

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
    """The outputs of the network in training: logits, and from the VAE the image again and its latent distribution.

    ``logits`` (batch, out_channels, z, y, x); ``reconstruction`` (batch, in_channels, z, y, x), float32; ``mean`` and
    ``log_variance`` (batch, latent), float32.
    """

    logits: Tensor
    reconstruction: Tensor
    mean: Tensor
    log_variance: Tensor


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
        norm: see ``models.blocks.normalisation``.
        down: ``"max_pool"``, ``"average_pool"``, or ``"stride"``, a convolution without norm as in the original.
        up: ``"linear"`` or ``"nearest"`` after a 1 x 1 x 1 convolution that halves the channels, or ``"transposed"``:
            one strided transposed convolution in place of both.
        se: squeeze-excitation scales the ``"residual"`` (section 3.2.2), the ``"shortcut"`` (the code), or ``"none"``.
        reduction: of the squeeze. The paper leaves r open; 2 is the code's.
        shortcut: ``"identity"`` wherever the channels allow, or always a 1 x 1 x 1 ``"conv"`` (the code).
        last_relu: of a block, ``"after"`` or ``"before"`` the addition.
        init: ``"he"``: He-normal, and Glorot-normal before a sigmoid (section 3.2.3); ``"he_output"``: the output too
            (the code); ``"glorot"``: Glorot-uniform throughout, the default of the paper's framework; ``"torch"``: a
            sixth of He's variance, which suits the original order, where no norm follows what is added to the residual
            stream: under He's weights features grow there from block to block.
        output_gain: by what the output's initial weights are multiplied (``models.blocks.small_output``).
        dropout: of whole channels after the first convolution (the original 0.2).
        vae: whether there is a branch. It runs in training only.
        latent: means, and as many log-variances.
        vae_channels: to which the branch reduces the features before its dense layer; 0 for no reduction (the code).

    Attributes:
        divisor: each spatial size must be divisible by it (8 for four levels).
        training_divisor: in training (16 with the VAE, which halves once more).

    Raises:
        ValueError: an option with an impossible value, or a patch that does not fit; names the nearest that does.
    """

    @validated("segvae")
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        patch_size: tuple[int, int, int] = CROP,
        filters: PositiveInt = 16,
        blocks: Levels = (1, 2, 2, 4),
        kernel_size: OddSize = 3,
        order: Literal["conv-norm-act", "norm-act-conv"] = "conv-norm-act",
        norm: Literal["group", "groups_of_8", "batch", "instance", "slab", "none"] = "group",
        down: Literal["max_pool", "average_pool", "stride"] = "max_pool",
        up: Literal["linear", "nearest", "transposed"] = "linear",
        se: Literal["residual", "shortcut", "none"] = "residual",
        reduction: PositiveInt = 2,
        shortcut: Literal["identity", "conv"] = "identity",
        last_relu: Literal["after", "before"] = "after",
        init: Literal["he", "he_output", "glorot", "torch"] = "he",
        dropout: Share = 0.0,
        vae: bool = True,
        latent: PositiveInt = 128,
        vae_channels: NonNegativeInt = 16,
        output_gain: OutputGain = 1.0,
    ):
        super().__init__()
        if norm in ("group", "groups_of_8", "slab") and (filters % 8 or vae_channels % 8):
            raise ValueError(
                f"segvae: filters is {filters} and vae_channels {vae_channels}; norm {norm!r} needs multiples of 8"
            )
        if vae:
            _check_size(patch_size, 2 ** len(blocks), "segvae: in training with the VAE, patch_size")
        options = residual.BlockOptions(kernel_size, order, norm, up, se, reduction, shortcut, last_relu)
        self.patch_size = patch_size
        self.divisor = 2 ** (len(blocks) - 1)
        self.training_divisor = self.divisor * (2 if vae else 1)
        widths = [filters * 2**level for level in range(len(blocks))]
        self.first = nn.Sequential(residual.single(in_channels, widths[0], kernel_size, options), nn.Dropout3d(dropout))
        self.down, self.encoder = nn.ModuleList(), nn.ModuleList()
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            entering = width if level == 0 or down == "stride" else widths[level - 1]
            if level:
                self.down.append(downsample(down, widths[level - 1], width, kernel_size))
            self.encoder.append(residual.level_of_blocks(entering, width, count, options))
        self.up, self.decoder = residual.decoder(widths, options)
        self.output = nn.Conv3d(widths[0], out_channels, 1)
        self.vae = VAE(in_channels, widths, patch_size, latent, vae_channels, options) if vae else None
        _initialise(self, init)
        small_output(self.output, output_gain)

    def forward(self, x: Tensor) -> Tensor | Outputs:
        _check_size(x.shape[2:], self.divisor, "the image's size")
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

    def __init__(
        self,
        in_channels: int,
        widths: list[int],
        patch_size: tuple[int, int, int],
        latent: int,
        vae_channels: int,
        options: residual.BlockOptions,
    ):
        super().__init__()
        deepest = widths[-1]
        channels = vae_channels or deepest
        self.size = tuple(size // 2 ** len(widths) for size in patch_size)
        voxels = self.size[0] * self.size[1] * self.size[2]
        reduce = convolution(deepest, channels, options.kernel_size, stride=2)
        if options.order == "norm-act-conv":
            self.reduce = nn.Sequential(normalisation(options.norm, deepest), nn.ReLU(), reduce)
        else:
            self.reduce = nn.Sequential(reduce, normalisation(options.norm, channels), nn.ReLU(inplace=True))
        self.distribution = nn.Linear(channels * voxels, 2 * latent)
        self.back_channels = vae_channels or 16
        self.back = nn.Linear(latent, self.back_channels * voxels)
        self.widen = nn.Sequential(*residual.upward(self.back_channels, deepest, options))
        self.up, self.decoder = residual.decoder(widths, options)
        self.output = nn.Conv3d(widths[0], in_channels, 1)

    def forward(self, deepest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        reduced = self.reduce(deepest)
        if tuple(reduced.shape[2:]) != self.size:
            halvings = 2 ** (len(self.up) + 1)
            actual, built = (tuple(n * halvings for n in size) for size in (reduced.shape[2:], self.size))
            raise ValueError(
                f"the VAE's dense layers were built for training patches of {built}, and this one is about {actual}; "
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


def _initialise(network: SegVAE, init: str) -> None:
    """Draw every weight by the option ``init``; biases start at zero (but for torch's own rule)."""
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


def _check_size(size: tuple[int, ...], divisor: int, what: str) -> None:
    if any(n % divisor for n in size):
        nearest = tuple(max(1, round(n / divisor)) * divisor for n in size)
        raise ValueError(f"{what} {tuple(size)} must be divisible by {divisor}; the nearest that is: {nearest}")
