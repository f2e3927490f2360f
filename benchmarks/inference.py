"""Sliding windows over a whole volume: the study's against MONAI's and against nnU-Net v2's, in float32."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.pair import Pair
from gbmlib.evaluation import sliding_window


def pairs(volume: tuple[int, int, int]) -> list[Pair]:
    """With a network that copies, what is measured is cutting, blending and adding up.

    Args:
        volume: (z, y, x) in voxels.
    """
    shape = " x ".join(map(str, volume))
    tile = tuple(min(128, max(8, extent // 2)) for extent in volume)
    what = f"sliding window over {shape} with a network that copies, against"
    return [
        Pair(f"{what} MONAI", partial(ours, volume, tile), partial(monai, volume, tile), memory=True),
        Pair(f"{what} nnU-Net v2", partial(ours, volume, tile), partial(nnunet, volume, tile), memory=True),
    ]


class Copy(nn.Module):
    """Returns its input anew: both others weight what they get in its place."""

    def forward(self, tile: Tensor) -> Tensor:
        return tile.clone()


def ours(shape: tuple[int, int, int], tile: tuple[int, int, int]) -> Callable[[], Tensor]:
    """The study's, at its defaults."""
    image = _noise(shape)
    return lambda: sliding_window.sliding_window(Copy(), image, tile)


def monai(shape: tuple[int, int, int], tile: tuple[int, int, int]) -> Callable[[], Tensor]:
    """MONAI's, Gaussian weights, overlap by half."""
    from monai.inferers import sliding_window_inference

    image = _noise(shape)[None]
    return lambda: sliding_window_inference(image, tile, 1, Copy(), overlap=0.5, mode="gaussian")[0]


def nnunet(shape: tuple[int, int, int], tile: tuple[int, int, int]) -> Callable[[], Tensor]:
    """nnU-Net v2's, given by hand the little that it reads from a trained model's folder. It adds up in float16."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with contextlib.redirect_stdout(io.StringIO()):  # it says that a processor is no accelerator
        predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.network = Copy()
    predictor.configuration_manager = SimpleNamespace(patch_size=tile)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=1)
    image = _noise(shape)
    return lambda: predictor.predict_sliding_window_return_logits(image)


def _noise(shape: tuple[int, int, int]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((1, *shape), np.float32))
