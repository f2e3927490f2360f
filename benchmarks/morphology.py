"""Disturbing a cascade's one-hot classes: the study's against batchgeneratorsv2's.

The operations are the same on both sides, and so is what comes out. Which component goes is each side's own choice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.pair import Pair
from gbmlib.augment import cascade_noise
from gbmlib.augment.cascade_noise import Operation, Parameters

#: One of each kind, with odd balls, small and large.
OPERATIONS = (
    Operation(0, "dilation", 3),
    Operation(1, "closing", 6),
    Operation(2, "opening", 2),
    Operation(0, "erosion", 7),
)
CLASSES = 3


def pairs(edge: int = 128) -> list[Pair]:
    """Operations, and the removal of a component of each class, on one thread.

    Args:
        edge: of the cubic patch, in voxels.
    """
    what = f"disturbing {CLASSES} one-hot classes in {edge}^3"
    return [
        Pair(f"{what}, four operations, against batchgeneratorsv2", partial(ours, edge), partial(theirs, edge)),
        Pair(
            f"{what}, removals, against batchgeneratorsv2", partial(ours_removed, edge), partial(theirs_removed, edge)
        ),
    ]


def ours(edge: int) -> Callable[[], Tensor]:
    """The four operations, one after the other, on a copy."""
    return _on_one_thread(partial(cascade_noise.apply, _classes(edge), Parameters((OPERATIONS,), ((),))))


def theirs(edge: int) -> Callable[[], Tensor]:
    """The same with its convolutions by Fourier transform."""
    from batchgeneratorsv2.transforms.nnunet import random_binary_operator as module

    transform = module.ApplyRandomBinaryOperatorTransform(channel_idx=list(range(CLASSES)))
    given = {
        "apply_to_channels": [o.channel for o in OPERATIONS],
        "operators": [getattr(module, f"binary_{o.name}_torch") for o in OPERATIONS],
        "strel_size": [o.radius for o in OPERATIONS],
    }
    one_hot = _classes(edge)[0].float()
    return _on_one_thread(lambda: transform._apply_to_image(one_hot.clone(), **given))


def ours_removed(edge: int) -> Callable[[], Tensor]:
    """The component in the middle of each class's list."""
    return _on_one_thread(partial(cascade_noise.apply, _classes(edge), Parameters(((),), ((0.5,) * CLASSES,))))


def theirs_removed(edge: int) -> Callable[[], Tensor]:
    """A random component of each class."""
    from batchgeneratorsv2.transforms.nnunet import remove_connected_components as module

    transform = module.RemoveRandomConnectedComponentFromOneHotEncodingTransform(
        list(range(CLASSES)), fill_with_other_class_p=0, dont_do_if_covers_more_than_x_percent=0.15
    )
    one_hot = _classes(edge)[0].float()
    np.random.seed(0)
    return _on_one_thread(lambda: transform._apply_to_image(one_hot.clone(), apply_to_channels=list(range(CLASSES))))


def _on_one_thread(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return function()
        finally:
            torch.set_num_threads(before)

    return run


def _classes(edge: int) -> Tensor:
    """Lumps of three exclusive classes beside a background, bool (1, class, z, y, x)."""
    coarse = torch.rand((1, 1, *[edge // 12] * 3), generator=torch.Generator().manual_seed(0))
    values = torch.nn.functional.interpolate(coarse, size=(edge,) * 3, mode="trilinear")[0, 0]
    labels = (values * (CLASSES + 1)).long()
    return torch.stack([labels == value for value in range(1, CLASSES + 1)])[None]
