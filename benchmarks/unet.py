"""A training step of the planned 3D U-Net: the study's against nnU-Net v2's network and loss, as installed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.pair import Pair
from benchmarks.steps import step
from gbmlib import models
from gbmlib.training import losses

#: Features of the deepest levels, and classes with the background.
MOST, CLASSES = 320, 4


def pairs(sizes: Sequence[int] = (64, 128), filters: int = 30, precision: str = "bfloat16") -> list[Pair]:
    """The same features on both sides, and theirs as its trainer has it: 32 features and deep supervision.

    Args:
        sizes: edges of cubic patches, in voxels.
        filters: features of our first level, and in the first comparison of theirs; the paper's are 30.
    """
    what = "step of the 3D U-Net with Dice and cross entropy against nnU-Net v2's"
    out = []
    for size in sizes:
        mine, setting = partial(ours, size, filters, precision), f"{size}^3, {precision}"
        plain, whole = partial(theirs, size, filters, precision), partial(theirs, size, 32, precision, deep=True)
        out.append(Pair(f"{what}, {filters} features both, {setting}", mine, plain, memory=True))
        out.append(Pair(f"{what} with its 32 features and deep supervision, {setting}", mine, whole))
    return out


def ours(size: int, filters: int, precision: str) -> Callable[[], object]:
    """The paper's network and loss."""

    def loss(logits: Tensor, images: Tensor, target: Tensor) -> Tensor:
        return losses.dice_ce_loss(logits.float(), target)

    return step(our_network(size, filters), loss, size, precision, exclusive=True)


def theirs(size: int, filters: int, precision: str, deep: bool = False) -> Callable[[], object]:
    """Its network with its trainer's loss.

    Args:
        deep: deep supervision: each level of the decoder but the lowest has a loss, half of that of the level above.
    """
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    options = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    measured = DC_and_CE_loss(options, {}, dice_class=MemoryEfficientSoftDiceLoss)
    levels = range(poolings(size))
    weights = [0.5**level for level in levels[:-1]] + [0.0]
    supervised = DeepSupervisionWrapper(measured, [weight / sum(weights) for weight in weights])

    def loss(outputs: Tensor | list[Tensor], images: Tensor, target: Tensor) -> Tensor:
        numbers = losses.class_numbers(target)[:, None]
        if not deep:
            return measured(outputs.float(), numbers)
        targets = [numbers[..., :: 2**level, :: 2**level, :: 2**level] for level in levels]
        return supervised([logits.float() for logits in outputs], targets)

    return step(their_network(size, filters, deep), loss, size, precision, exclusive=True)


def our_network(size: int, filters: int) -> nn.Module:
    """The paper's: it pools."""
    torch.manual_seed(0)
    return models.build("unet", 2, CLASSES, filters=filters, pools=(poolings(size),) * 3)


def their_network(size: int, filters: int, deep: bool = False) -> nn.Module:
    """As nnU-Net v2's planner builds it: it strides, and its convolutions have a bias."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    depth = poolings(size)
    torch.manual_seed(0)
    network = PlainConvUNet(
        input_channels=2,
        n_stages=depth + 1,
        features_per_stage=[min(filters * 2**level, MOST) for level in range(depth + 1)],
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=[1, *[2] * depth],
        n_conv_per_stage=2,
        num_classes=CLASSES,
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=deep,
    )
    network.apply(network.initialize)
    return network


def poolings(size: int) -> int:
    """Of each axis: the paper's five where the patch allows it, and at least two voxels are left."""
    return min(5, int(math.log2(size)) - 1)
