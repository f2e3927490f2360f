"""Training steps of the first paper's networks: the study's against MONAI's, with the same loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.pair import Pair
from gbmlib import models
from gbmlib.study import scales
from gbmlib.training import loop
from gbmlib.training.losses import dice_loss

#: From what a network returns and its images and target, the loss.
Loss = Callable[[object, Tensor, Tensor], Tensor]


def pairs(size: int, filters: int) -> list[Pair]:
    """In both precisions.

    Args:
        size: edge of the cubic patch, in voxels.
        filters: of the first level of Paper A's network.
    """
    out = []
    for precision in ("float32", "bfloat16"):
        setting = {"size": size, "filters": filters, "precision": precision}
        ours, theirs = partial(paper_a_step, **setting), partial(segresnet_vae_step, **setting)
        name = f"step of Paper A's network against MONAI's SegResNetVAE, {filters} filters, {size}^3, {precision}"
        out.append(Pair(name, ours, theirs, memory=True))
    name = "step of V-Net against MONAI's"
    for precision in ("float32", "bfloat16"):
        published, alike = (partial(vnet_step, size, precision, norm=norm) for norm in ("none", "batch"))
        defaults, same = (partial(monai_vnet_step, size, precision, alike=alike) for alike in (False, True))
        out.append(Pair(f"{name}, the same layers, {size}^3, {precision}", alike, same, memory=True))
        out.append(Pair(f"{name} at its defaults, which convolve less, {size}^3, {precision}", published, defaults))
    return out


def paper_a_step(size: int, filters: int, precision: str) -> Callable[[], object]:
    """The first paper's network with its loss as the study trains it, the penalty on the kernels included."""
    own = scales.paper_a("paper", folds=(0,), seeds=(0,))[0]
    experiment = own.changed(patch_size=(size,) * 3, options={"filters": filters}, precision=precision)
    network = models.build("segvae", 2, 3, experiment.patch_size, **experiment.options)

    def loss(outputs: object, images: Tensor, target: Tensor) -> Tensor:
        terms = loop.loss_terms(experiment, network, outputs, outputs.logits.float(), images, target)
        return sum(terms.values())

    return step(network, loss, size, precision)


def segresnet_vae_step(size: int, filters: int, precision: str) -> Callable[[], object]:
    """MONAI's version of the network that the first paper changes, with the same Dice loss and its own VAE's."""
    from monai.networks.nets import SegResNetVAE

    torch.manual_seed(0)
    network = SegResNetVAE(
        (size,) * 3, vae_estimate_std=True, vae_nz=128, init_filters=filters, in_channels=2, out_channels=3
    )

    def loss(outputs: object, images: Tensor, target: Tensor) -> Tensor:
        logits, branch = outputs
        return dice_loss(logits.float(), target) + 0.1 * branch

    return step(network, loss, size, precision)


def vnet_step(size: int, precision: str, norm: str = "none") -> Callable[[], object]:
    """The V-Net with features forwarded as channels, as MONAI's has them."""
    return step(models.build("vnet", 2, 3, norm=norm), _dice, size, precision)


def monai_vnet_step(size: int, precision: str, alike: bool = False) -> Callable[[], object]:
    """MONAI's V-Net, at its defaults or with the same layers as the paper's (:func:`monai_vnet_alike`)."""
    from monai.networks.nets import VNet

    return step(monai_vnet_alike() if alike else VNet(3, 2, 3), _dice, size, precision)


def monai_vnet_alike() -> nn.Module:
    """MONAI's V-Net with the paper's convolutions, and with PReLU and batch norm as ours can have them.

    At its defaults it has fewer convolutions than the paper's figure 2: 1, 1, 2, 3, 2 down and 2, 2, 1, 1 up instead of
    1, 2, 3, 3, 3 and 3, 3, 2, 1. The paper's take 1.36 times as many multiplications, although MONAI's ends in one
    more convolution of 5 x 5 x 5. It also has ELU for PReLU, and dropout.
    """
    from monai.networks.nets.vnet import DownTransition, UpTransition, VNet

    torch.manual_seed(0)
    network = VNet(3, 2, 3, act="prelu")
    network.down_tr32, network.down_tr64 = DownTransition(3, 16, 2, "prelu"), DownTransition(3, 32, 3, "prelu")
    network.down_tr128, network.down_tr256 = DownTransition(3, 64, 3, "prelu"), DownTransition(3, 128, 3, "prelu")
    for width, channels_in, convolutions in ((256, 256, 3), (128, 256, 3), (64, 128, 2), (32, 64, 1)):
        block = UpTransition(3, channels_in, width, convolutions, "prelu", dropout_prob=(None, 0))
        setattr(network, f"up_tr{width}", block)
    network.out_tr = nn.Conv3d(32, 3, 1)
    return network


def _dice(logits: object, images: Tensor, target: Tensor) -> Tensor:
    return dice_loss(logits.float(), target)


def step(network: nn.Module, loss: Loss, size: int, precision: str, exclusive: bool = False) -> Callable[[], object]:
    """A whole step on one patch of two channels, batch 1: forward, loss in float32, backward, Adam.

    Returns the loss. The target has three sparse regions, which overlap unless they are to be ``exclusive``.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 2, size, size, size, generator=generator)
    target = torch.rand(1, 3, size, size, size, generator=generator) < 0.01
    if exclusive:
        target &= target.cumsum(1) == 1
    optimiser = torch.optim.Adam(network.train().parameters(), lr=1e-5, fused=True)

    def run() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = network(images)
        total = loss(outputs, images, target)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
        return float(total.detach())

    return run
