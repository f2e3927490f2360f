"""Resampling there and back against nnU-Net v2's own calls, as installed: images, probabilities."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.pair import Pair
from gbmlib.preprocess.grids import Prepared, restore_labels
from gbmlib.preprocess.resampling import new_shape, resample, resample_to

Spacing = tuple[float, float, float]

#: From and to which spacing (z, y, x) in mm.
CHANGES: dict[str, tuple[Spacing, Spacing]] = {
    "a coarser grid": ((1, 1, 1), (1.2, 1.2, 1.2)),
    "a finer grid": ((1, 1, 1), (0.8, 0.8, 0.8)),
}
CLASSES = 4


def pairs(volume: tuple[int, int, int]) -> list[Pair]:
    """Every comparison, on a volume of this shape (z, y, x)."""
    shape, out = " x ".join(map(str, volume)), []
    for to, change in CHANGES.items():
        name = f"cubic resampling of {shape} to {to}, against nnU-Net v2"
        out.append(Pair(name, partial(images, volume, *change), partial(nnunet_images, volume, *change)))
        if torch.cuda.is_available():
            ours, theirs = partial(images, volume, *change, device="cuda"), partial(nnunet_images, volume, *change)
            out.append(Pair(f"{name} on the processor, ours on the graphics card", ours, theirs))
    change = CHANGES["a coarser grid"]
    name = f"probabilities of {CLASSES} classes back to {shape}, and which is largest, against nnU-Net v2"
    out.append(Pair(name, partial(back, volume, *change), partial(nnunet_back, volume, *change), memory=True))
    return out


def images(
    shape: tuple[int, int, int], spacing: Spacing, new_spacing: Spacing, device: str = "cpu"
) -> Callable[[], object]:
    """One channel by cubic splines, clipped to its range as nnU-Net's are."""
    volume = torch.from_numpy(_image(shape)).to(device)

    def clipped() -> torch.Tensor:
        out = resample(volume, spacing, new_spacing, 3).clamp_(volume.min(), volume.max())
        if device == "cuda":
            torch.cuda.synchronize()
        return out

    return clipped


def nnunet_images(shape: tuple[int, int, int], spacing: Spacing, new_spacing: Spacing) -> Callable[[], object]:
    """nnU-Net v2's call for images, with the settings that its planner gives it."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    volume, new = _image(shape), new_shape(shape, spacing, new_spacing)
    setting = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    return lambda: resample_data_or_seg_to_shape(volume, new, spacing, new_spacing, **setting)


def back(shape: tuple[int, int, int], spacing: Spacing, new_spacing: Spacing) -> Callable[[], object]:
    """From probabilities on the network's grid to the label map of the native one."""
    probabilities = _probabilities(new_shape(shape, spacing, new_spacing))
    box = tuple(slice(0, extent) for extent in shape)
    prepared = Prepared("case", probabilities, None, box, shape)
    return lambda: restore_labels(probabilities, prepared, lambda slab: slab.argmax(0))


def nnunet_back(shape: tuple[int, int, int], spacing: Spacing, new_spacing: Spacing) -> Callable[[], object]:
    """nnU-Net v2's call for probabilities, then the largest."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    probabilities = _probabilities(new_shape(shape, spacing, new_spacing))
    setting = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}

    def restore() -> np.ndarray:
        native = resample_data_or_seg_to_shape(probabilities, shape, new_spacing, spacing, **setting)
        return native.argmax(0).astype(np.uint8)

    return restore


def _image(shape: tuple[int, int, int]) -> np.ndarray:
    """Noise, which has more of what interpolates badly than any scan: float32 (1, z, y, x)."""
    return np.random.default_rng(0).standard_normal((1, *shape), np.float32)


def _probabilities(shape: tuple[int, int, int]) -> np.ndarray:
    """Of the classes at each voxel, adding up to 1, float32 (class, z, y, x)."""
    coarse = np.random.default_rng(0).random((CLASSES, 6, 6, 6), np.float32)
    return torch.softmax(8 * torch.from_numpy(resample_to(coarse, shape, 1)), 0).numpy()
