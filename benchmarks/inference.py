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

#: The median brain of the Decathlon's BrainTumour task (z, y, x), of the 155 x 240 x 240 of its frame.
BRAIN = (138 / 155, 169 / 240, 138 / 240)


def pairs(volume: tuple[int, int, int]) -> list[Pair]:
    """With a network that copies, what is measured is cutting, blending and adding up; with a small one, skipping too.

    Args:
        volume: (z, y, x) in voxels.
    """
    shape = " x ".join(map(str, volume))
    tile = tuple(min(128, max(8, extent // 2)) for extent in volume)
    what = f"sliding window over {shape} with a network that copies, against"
    small = tuple(min(64, max(4, extent // 4)) for extent in volume)
    skipping = f"sliding window over a brain in {shape}, tiles without brain skipped, with one convolution, against"
    return [
        Pair(f"{what} MONAI", partial(ours, volume, tile), partial(monai, volume, tile), memory=True),
        Pair(f"{what} nnU-Net v2", partial(ours, volume, tile), partial(nnunet, volume, tile), memory=True),
        Pair(f"{skipping} MONAI", partial(ours_skipping, volume, small), partial(monai_all, volume, small)),
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


def ours_skipping(shape: tuple[int, int, int], tile: tuple[int, int, int]) -> Callable[[], Tensor]:
    """A brain with nothing around it, of which the network makes nothing: so the result stays the same."""
    image, network = _brain(shape), _network()
    return lambda: sliding_window.sliding_window(
        network, image, tile, starts=sliding_window.stepped_starts, empty=(0, 0, 0)
    )


def monai_all(shape: tuple[int, int, int], tile: tuple[int, int, int]) -> Callable[[], Tensor]:
    """The same positions and weights, every tile predicted."""
    from monai.inferers import sliding_window_inference

    image, network, weights = _brain(shape)[None], _network(), sliding_window.gaussian(tile)

    def predict() -> Tensor:
        with torch.no_grad():
            return sliding_window_inference(image, tile, 1, network, overlap=0.5, roi_weight_map=weights)[0]

    return predict


def _noise(shape: tuple[int, int, int]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((1, *shape), np.float32))


def _brain(shape: tuple[int, int, int]) -> Tensor:
    """Noise in an ellipsoid of a brain's size, and zero around it."""
    axes = [torch.linspace(-1, 1, extent) / share for extent, share in zip(shape, BRAIN, strict=True)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.where(z**2 + y**2 + x**2 <= 1, _noise(shape), 0)


def _network() -> nn.Module:
    """Far cheaper than any that segments, so that what a skipped tile spares is rather too small here."""
    torch.manual_seed(0)
    return nn.Conv3d(1, 3, 3, padding=1, bias=False).eval()
