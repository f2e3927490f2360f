"""Augmenting a patch, every transform forced on: the study's against batchgeneratorsv2's, which nnU-Net v2 uses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.pair import Pair
from gbmlib.augment import nnunet, spatial

#: What nnU-Net v2 cuts for a patch of 128, and what both sides get.
BLOCK_FOR_128 = 205
CHANNELS = 2
#: The largest displacement that the strongest deformation (alpha 900, sigma 9) usually has: four of its deviations.
LARGEST_MOVE = 11


def pairs(edge: int = 128) -> list[Pair]:
    """On one thread and on two; and ours on a graphics card, where there is one, against theirs on two threads.

    Args:
        edge: of the cubic patch, in voxels.
    """
    what = f"augmenting {edge}^3, {CHANNELS} channels and label, every transform on, against batchgeneratorsv2"
    out = [
        Pair(f"{what}, {name}", partial(ours, edge, threads), partial(theirs, edge, threads))
        for threads, name in ((1, "one thread"), (2, "two threads"))
    ]
    if torch.cuda.is_available():
        card = partial(ours, edge, 2, device="cuda")
        out.append(Pair(f"{what}, graphics card against two threads", card, partial(theirs, edge, 2)))
    return out


def ours(edge: int, threads: int, device: str = "cpu") -> Callable[[], object]:
    """Draws and applies rotation, scaling, elastic deformation, gamma and mirroring, anew at each call."""
    patch = (edge,) * 3
    images, label = (volume.to(device) for volume in _block(edge))
    settings = nnunet.Settings(spatial.Settings(p_rotation=1, p_scaling=1, p_elastic=1), p_gamma=1)
    generator = torch.Generator().manual_seed(0)

    def run() -> tuple[Tensor, Tensor]:
        drawn = nnunet.draw(1, CHANNELS, patch, settings, generator)
        out = nnunet.apply(images, label, drawn, patch)
        if device == "cuda":
            torch.cuda.synchronize()
        return out

    return _with_threads(threads, run)


def theirs(edge: int, threads: int) -> Callable[[], object]:
    """The same ranges; its elastic deformation is told a width in parts of the patch, and a largest displacement."""
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

    images, label = _block(edge)
    np.random.seed(0)
    transforms = [
        SpatialTransform(
            (edge,) * 3,
            patch_center_dist_from_border=0,
            random_crop=False,
            p_elastic_deform=1,
            elastic_deform_scale=(9 / edge, 13 / edge),
            elastic_deform_magnitude=(0, LARGEST_MOVE),
            p_synchronize_def_scale_across_axes=1,
            p_rotation=1,
            rotation=(-np.pi / 12, np.pi / 12),
            p_scaling=1,
            scaling=(0.85, 1.25),
            p_synchronize_scaling_across_axes=1,
        ),
        GammaTransform((0.7, 1.5), p_invert_image=0, synchronize_channels=False, p_per_channel=1, p_retain_stats=1),
        MirrorTransform((0, 1, 2)),
    ]

    def run() -> tuple[Tensor, Tensor]:
        data = {"image": images[0], "segmentation": label.short()}
        for transform in transforms:
            data = transform(**data)
        return data["image"], data["segmentation"]

    return _with_threads(threads, run)


def _block(edge: int) -> tuple[Tensor, Tensor]:
    """Noise (1, channel, z, y, x), and a lump of three nested labels with a bumpy surface (1, z, y, x)."""
    size = round(edge * BLOCK_FOR_128 / 128)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((1, CHANNELS, size, size, size), generator=generator)
    line = torch.linspace(-1, 1, size)
    radius = (line[:, None, None] ** 2 + line[:, None] ** 2 + line**2).sqrt()
    bumps = torch.randn((1, 1, 9, 9, 9), generator=generator) * 0.06
    radius = radius + torch.nn.functional.interpolate(bumps, size=radius.shape, mode="trilinear")[0, 0]
    return images, sum((radius < at).to(torch.uint8) for at in (0.2, 0.3, 0.45))[None]


def _with_threads(number: int, run: Callable[[], object]) -> Callable[[], object]:
    def wrapped() -> object:
        before = torch.get_num_threads()
        torch.set_num_threads(number)
        try:
            return run()
        finally:
            torch.set_num_threads(before)

    return wrapped
