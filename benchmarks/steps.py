"""Training steps of the first paper's networks: the study's against MONAI's, with the same loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.pair import Pair
from gbmlib import models, training
from gbmlib.experiments import study
from gbmlib.losses import dice_loss

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
    for precision in ("float32", "bfloat16"):
        ours, theirs = (partial(side, size=size, precision=precision) for side in (vnet_step, monai_vnet_step))
        out.append(Pair(f"step of V-Net against MONAI's, {size}^3, {precision}", ours, theirs, memory=True))
    return out


def paper_a_step(size: int, filters: int, precision: str) -> Callable[[], object]:
    """The first paper's network with its loss as the study trains it, the penalty on the kernels included."""
    own = study.paper_a("paper", folds=(0,), seeds=(0,))[0]
    experiment = own.changed(patch_size=(size,) * 3, options={"filters": filters}, precision=precision)
    network = models.build("segvae", 2, 3, experiment.patch_size, **experiment.options)

    def loss(outputs: object, images: Tensor, target: Tensor) -> Tensor:
        terms = training.loss_terms(experiment, network, outputs, outputs.logits.float(), images, target)
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


def vnet_step(size: int, precision: str) -> Callable[[], object]:
    """The V-Net with features forwarded as channels, as MONAI's has them."""
    return step(models.build("vnet", 2, 3), _dice, size, precision)


def monai_vnet_step(size: int, precision: str) -> Callable[[], object]:
    """MONAI's V-Net, at its defaults."""
    from monai.networks.nets import VNet

    return step(VNet(3, 2, 3), _dice, size, precision)


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
