"""What is compared with what: each side as a function that prepares and returns the function to measure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import SegResNetVAE, VNet
from skimage.transform import resize
from torch import nn

from benchmarks.pair import Pair
from gbmlib import models, preprocess, training
from gbmlib.experiments import study
from gbmlib.inference import sliding_window
from gbmlib.losses import dice_loss


def pairs(size: int, filters: int, volume: tuple[int, int, int]) -> list[Pair]:
    """Every comparison.

    Args:
        size: edge of the cubic training patch, in voxels.
        filters: of the first level of the networks that have the choice.
        volume: (z, y, x) of what is resampled and predicted tile by tile.
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
    coarser = tuple(max(1, round(extent * 5 / 6)) for extent in volume)
    shape = " x ".join(map(str, volume))
    ours, theirs = (partial(side, volume, coarser) for side in (resampling, skimage_resampling))
    out.append(Pair(f"cubic resampling of {shape} against skimage", ours, theirs))
    tile = tuple(min(128, max(8, extent // 2)) for extent in volume)
    ours, theirs = (partial(side, volume, tile) for side in (window, monai_window))
    out.append(Pair(f"sliding window over {shape} with a network that copies, against MONAI", ours, theirs))
    return out


# ---------------------------------------------------------------------------------------------------- training steps


def paper_a_step(size: int, filters: int, precision: str) -> Callable[[], object]:
    """The first paper's network with its loss as the study trains it, the penalty on the kernels included."""
    own = study.paper_a("paper", folds=(0,), seeds=(0,))[0]
    experiment = own.changed(patch_size=(size,) * 3, options={"filters": filters}, precision=precision)
    network = models.build("segvae", 2, 3, experiment.patch_size, **experiment.options)

    def loss(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        outputs = network(images)
        terms = training.loss_terms(experiment, network, outputs, outputs.logits.float(), images, target)
        return sum(terms.values())

    return _step(network, loss, size, precision)


def segresnet_vae_step(size: int, filters: int, precision: str) -> Callable[[], object]:
    """MONAI's version of the network that the first paper changes, with the same Dice loss and its own VAE's."""
    torch.manual_seed(0)
    network = SegResNetVAE(
        (size,) * 3, vae_estimate_std=True, vae_nz=128, init_filters=filters, in_channels=2, out_channels=3
    )

    def loss(images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits, branch = network(images)
        return dice_loss(logits.float(), target) + 0.1 * branch

    return _step(network, loss, size, precision)


def vnet_step(size: int, precision: str) -> Callable[[], object]:
    """The V-Net with features forwarded as channels, as MONAI's has them."""
    network = models.build("vnet", 2, 3)
    return _step(network, lambda images, target: dice_loss(network(images).float(), target), size, precision)


def monai_vnet_step(size: int, precision: str) -> Callable[[], object]:
    """MONAI's V-Net, at its defaults."""
    network = VNet(3, 2, 3)
    return _step(network, lambda images, target: dice_loss(network(images).float(), target), size, precision)


def _step(
    network: nn.Module, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], size: int, precision: str
) -> Callable[[], object]:
    """A whole step on one patch, batch 1: forward, loss, backward, Adam."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 2, size, size, size, generator=generator)
    target = torch.rand(1, 3, size, size, size, generator=generator) < 0.01
    optimiser = torch.optim.Adam(network.train().parameters(), lr=1e-5, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            total = loss(images, target)
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()

    return step


# ------------------------------------------------------------------------------------------------------------- volumes


def _volume(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, *shape), np.float32)


def resampling(shape: tuple[int, int, int], new: tuple[int, int, int]) -> Callable[[], object]:
    """One channel to a coarser grid by cubic splines."""
    volume = _volume(shape)
    return lambda: preprocess.resample_to(volume, new, 3)


def skimage_resampling(shape: tuple[int, int, int], new: tuple[int, int, int]) -> Callable[[], object]:
    """The call that nnU-Net makes, which ours agrees with."""
    volume = _volume(shape)[0]
    return lambda: resize(volume, new, 3, mode="edge", clip=False, anti_aliasing=False)


def window(shape: tuple[int, int, int], tile: tuple[int, int, int]) -> Callable[[], object]:
    """Cutting, blending and adding up alone: the network returns what it gets."""
    image = torch.from_numpy(_volume(shape))
    return lambda: sliding_window(torch.clone, image, tile)


def monai_window(shape: tuple[int, int, int], tile: tuple[int, int, int]) -> Callable[[], object]:
    """The same by MONAI, Gaussian weights, overlap 0.5. (It weights in place; without a copy, the image itself.)"""
    image = torch.from_numpy(_volume(shape))[None]
    return lambda: sliding_window_inference(image, tile, 1, torch.clone, overlap=0.5, mode="gaussian")
