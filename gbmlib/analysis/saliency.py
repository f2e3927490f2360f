"""What a network looks at: gradient saliency, SmoothGrad and Grad-CAM of a region, over whole volumes.

A map explains a number, and a segmentation gives one for every voxel. The number here is the sum, over the voxels of a
mask, of the region's log-odds (:func:`score`). The mask is what the network itself segmented, or one that is given.
Summing over it is Seg-Grad-CAM's proposal (Vinogradova et al. 2020), and the logits are taken before the
sigmoid or the softmax: where a network is sure, these are flat, and their gradient vanishes. Of a softmax, the score of
a class alone says nothing, as adding to all of them changes no probability; log-odds do not change with it either. The
mask is fixed: it does not move with the image.

Maps are assembled like predictions (``evaluation.sliding_window``), tile by tile with the same weights, so memory is
that of one tile. What that loses lies at the borders of tiles: each explains the part of the mask within itself by
nothing but what it sees, so an influence that reaches from one tile to another is not there, and where only one of
several tiles holds any of the mask, its map is averaged with the zeros of the others. A volume of a single tile loses
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gbmlib.evaluation.sliding_window import sliding_window
from gbmlib.preprocess.grids import Grid, restore
from gbmlib.training.validation import SLICES


@dataclass(frozen=True)
class Subject:
    """What is to be explained: how a network came to a region in an image.

    Attributes:
        network: takes (tile, channel, z, y, x) and returns logits of the same spatial size.
        image: float32 (channel, z, y, x), as the network is given it.
        mask: bool (z, y, x): the voxels whose score is explained.
        inside: the network's output channels that make up the region: one of several sigmoids, or some of a softmax.
        softmax: whether the channels exclude each other.
        tile: (z, y, x) of the tiles in which the network sees the volume.
        precision: ``"float32"``, or ``"bfloat16"`` for mixed precision.
        mirror_axes: over whose mirrorings maps are averaged; each axis doubles the time.
        grid: the way back to native space; None where there is none.
    """

    network: nn.Module
    image: Tensor
    mask: Tensor
    inside: tuple[int, ...]
    softmax: bool
    tile: tuple[int, int, int]
    precision: str = "float32"
    mirror_axes: tuple[int, ...] = ()
    grid: Grid | None = None


def score(logits: Tensor, inside: Sequence[int], softmax: bool) -> Tensor:
    """The log-odds of a region at each voxel, float32 (batch, z, y, x), from logits (batch, channel, z, y, x).

    Of a sigmoid that is the logit itself. Of a softmax it is the logarithm of what the region's classes have together
    over what all others have.
    """
    logits = logits.float()
    if not softmax:
        (channel,) = inside
        return logits[:, channel]
    outside = [channel for channel in range(logits.shape[1]) if channel not in inside]
    return logits[:, list(inside)].logsumexp(1) - logits[:, outside].logsumexp(1)


# ---------------------------------------------------------------------------------------------------------------- maps


def gradient(subject: Subject, progress: bool = False) -> Tensor:
    """How the score changes with each voxel of each channel: float32 (channel, z, y, x), signed.

    The gradient of Simonyan et al. (2014, section 3); its :func:`magnitude` is the saliency map.
    """

    def of_tiles(images: Tensor, mask: Tensor) -> Tensor:
        images.requires_grad_()
        return torch.autograd.grad(_total(subject, images, mask), images)[0]

    return _assembled(subject, of_tiles, len(subject.image), progress)


def smooth_gradient(
    subject: Subject, samples: int = 16, noise: float = 0.1, seed: int = 0, progress: bool = False
) -> Tensor:
    """SmoothGrad (Smilkov et al. 2017): the mean of :func:`gradient` over noisy copies of the image.

    The noise of a copy is drawn once for the whole volume, on the CPU, so that tiles which overlap see the same image
    and every device the same noise. Background, exactly 0, stays so.

    Args:
        noise: its deviation as a share of each channel's range outside the background; section 3.2 there recommends
            0.1 to 0.2.

    Raises:
        ValueError: fewer than one sample, or noise below 0.
    """
    if samples < 1 or noise < 0:
        raise ValueError(f"samples is {samples} and noise is {noise}; take at least 1 sample, and noise of at least 0")
    image, generator = subject.image, torch.Generator().manual_seed(seed)
    inside = image != 0
    deviation = torch.stack(
        [noise * (c[i].max() - c[i].min()) if i.any() else c.new_zeros(()) for c, i in zip(image, inside, strict=True)]
    )
    total = torch.zeros_like(image)
    for _ in range(samples):
        drawn = torch.randn(image.shape, generator=generator).to(image.device)
        noisy = image + drawn * deviation.view(-1, 1, 1, 1) * inside
        total += gradient(replace(subject, image=noisy), progress)
    return total / samples


def magnitude(of: Tensor) -> Tensor:
    """A saliency map (z, y, x) of a gradient (channel, z, y, x): its largest absolute value over the channels (Simonyan
    et al. 2014, section 3.1)."""
    return of.abs().amax(0)


def grad_cam(subject: Subject, layer: str | Sequence[str], progress: bool = False) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, section 3) of layers, (layer, z, y, x), at least 0.

    The features of a layer, each weighed by the mean over space of the score's gradient there, are summed, cut at 0,
    and interpolated to the size of the tile. A network of slices has weights for each slice.

    Args:
        layer: one or several of :func:`layers`; several cost no more than one.

    Raises:
        ValueError: there is no such layer; lists those that there are.
    """
    names = [layer] if isinstance(layer, str) else list(layer)
    known = layers(subject.network)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"this network has no layer {', '.join(map(repr, unknown))}; it has {', '.join(known)}")

    def of_tiles(images: Tensor, mask: Tensor) -> Tensor:
        kept: dict[str, Tensor] = {}

        def keeper(name: str) -> Callable:
            def keep(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
                kept[name] = output
                return output.clone()  # which what follows may change in place

            return keep

        hooks = [subject.network.get_submodule(name).register_forward_hook(keeper(name)) for name in names]
        try:
            # Through the image, features have a gradient even where no weight asks for one.
            total = _total(subject, images.requires_grad_(), mask)
        finally:
            for hook in hooks:
                hook.remove()
        gradients = torch.autograd.grad(total, [kept[name] for name in names])
        return torch.cat([_weighed(kept[n], g, images) for n, g in zip(names, gradients, strict=True)], 1)

    return _assembled(subject, of_tiles, len(names), progress)


def _weighed(features: Tensor, gradient: Tensor, images: Tensor) -> Tensor:
    """Grad-CAM (tile, 1, z, y, x) of features (tile, channel, z, y, x), or (tile x slice, channel, y, x) of slices."""
    weights = gradient.float().mean(tuple(range(2, gradient.ndim)), keepdim=True)
    cam = torch.relu((weights * features.detach().float()).sum(1, keepdim=True))
    if features.ndim == 5:
        return functional.interpolate(cam, images.shape[2:], mode="trilinear", align_corners=False)
    cam = functional.interpolate(cam, images.shape[3:], mode="bilinear", align_corners=False)
    return cam.unflatten(0, (len(images), images.shape[2])).transpose(1, 2)


def _total(subject: Subject, images: Tensor, mask: Tensor) -> Tensor:
    """The number that is explained: a scalar, from tiles (tile, channel, z, y, x) and their masks (tile, z, y, x)."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=subject.precision == "bfloat16"):
        logits = subject.network(images)
    return (score(logits, subject.inside, subject.softmax) * mask).sum()


def _assembled(subject: Subject, of_tiles: Callable[[Tensor, Tensor], Tensor], channels: int, progress: bool) -> Tensor:
    """What tiles say, blended over the volume (channel, z, y, x), float32, on the image's device."""
    _check(subject)

    def predict(given: Tensor) -> Tensor:
        # The mask travels as a last channel, so that it is cut, padded and mirrored with the image.
        if not given[:, -1].any():
            return given.new_zeros((len(given), channels, *given.shape[2:]))
        with torch.inference_mode(False), torch.enable_grad():
            return of_tiles(given[:, :-1].clone(), given[:, -1].clone())

    given = torch.cat([subject.image, subject.mask[None].to(subject.image)])
    size = SLICES if subject.tile[0] == 1 else 1
    training = subject.network.training
    subject.network.eval()
    try:
        return sliding_window(
            predict, given, subject.tile, mirror_axes=subject.mirror_axes, batch_size=size, progress=progress
        )
    finally:
        subject.network.train(training)


def _check(subject: Subject) -> None:
    problems = []
    if subject.image.ndim != 4 or subject.mask.shape != subject.image.shape[1:]:
        shapes = f"{tuple(subject.image.shape)} and {tuple(subject.mask.shape)}"
        problems.append(f"image and mask have the shapes {shapes}; they need (channel, z, y, x) and (z, y, x)")
    if subject.mask.dtype != torch.bool or not subject.mask.any():
        problems.append("the mask holds no voxel, or is not boolean: there is nothing to explain")
    if not subject.inside or (not subject.softmax and len(subject.inside) > 1):
        problems.append(f"inside is {subject.inside}; a softmax needs one channel or more, a sigmoid exactly one")
    if subject.precision not in ("float32", "bfloat16"):
        problems.append(f"precision is {subject.precision!r}; use 'float32' or 'bfloat16'")
    if problems:
        raise ValueError("; ".join(problems))


def native(subject: Subject, maps: Tensor) -> np.ndarray:
    """Maps (channel, z, y, x) on the network's grid in the case's native space: linear, and 0 outside the crop."""
    if subject.grid is None:
        raise ValueError("this subject has no grid, so there is no native space to go back to")
    return restore(maps.float().cpu().numpy(), subject.grid)


# -------------------------------------------------------------------------------------------------------------- layers

#: Parts of a network that have no say in the segmentation: they run in training alone.
_TRAINING_ALONE = ("vae",)

#: Where a part of the networks here stands: on the way down, on the way up or at the end; level; before its kind.
_PLACES = {
    "first": lambda n: (0, -1, 0),
    "encoder": lambda n: (0, n, 1),
    "down": lambda n: (0, n + 1, 0),
    "up": lambda n: (1, n, 0),
    "decoder": lambda n: (1, n, 1),
    "output": lambda n: (2, 0, 0),
}


def layers(network: nn.Module) -> list[str]:
    """The names of the layers that :func:`grad_cam` can look at, in the order of computation.

    They are the parts that a reader knows by name: ``encoder.0`` is the finest level of the way down, the last
    ``encoder`` the deepest, ``decoder.0`` the first level on the way up. The output is left out: it is the score
    itself.
    """
    return [name for name in stages(network) if name != "output"]


def stages(network: nn.Module) -> list[str]:
    """Parts in the order of computation, members of lists one by one; of another's network, as they were registered."""
    names = []
    for name, part in network.named_children():
        members = {f"{name}.{n}": of for n, of in enumerate(part)} if isinstance(part, nn.ModuleList) else {name: part}
        names += [n for n, of in members.items() if name not in _TRAINING_ALONE and not isinstance(of, nn.Identity)]
    parts = [name.partition(".") for name in names]
    if not {part for part, _, _ in parts} <= set(_PLACES):
        return names
    places = {name: _PLACES[part](int(n or 0)) for name, (part, _, n) in zip(names, parts, strict=True)}
    return sorted(names, key=places.get)
