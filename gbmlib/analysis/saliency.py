"""What a network looks at: gradient saliency, SmoothGrad and Grad-CAM of a region, over whole volumes.

A map explains one number: the sum of the region's log-odds (:func:`score`) over the voxels of a fixed mask, which is
Seg-Grad-CAM's proposal (Vinogradova et al. 2020). Logits are taken before the sigmoid or the softmax: where a network
is sure, these are flat, and their gradient vanishes.

Maps are assembled like predictions (``evaluation.sliding_window``), tile by tile, so memory is that of one tile. An
influence that reaches from one tile to another is lost, and where only one of several tiles holds any of the mask, its
map is averaged with the zeros of the others. A volume of a single tile loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gbmlib.cohorts import Case, Cohort, regions
from gbmlib.evaluation.sliding_window import sliding_window
from gbmlib.preprocess.grids import Grid, restore
from gbmlib.study import predicting
from gbmlib.study.records import Record
from gbmlib.training.configuration import Experiment
from gbmlib.training.validation import SLICES, autocast


class EmptyRegionError(ValueError):
    """There is no voxel of a region to explain."""


@dataclass(frozen=True)
class Target:
    """The target of an explanation: a region that a network found in an image.

    Attributes:
        network: takes (tile, channel, z, y, x) and returns logits of the same spatial size.
        image: float32 (channel, z, y, x), as the network is given it.
        mask: bool (z, y, x): the voxels whose score is explained.
        inside: the network's output channels that make up the region: one of several sigmoids, or some of a softmax.
        softmax: whether the channels exclude each other.
        tile: (z, y, x) of the tiles in which the network sees the volume.
        precision: ``"float32"``, or ``"bfloat16"`` for mixed precision.
        grid: the way back to native space.
    """

    network: nn.Module
    image: Tensor
    mask: Tensor
    inside: tuple[int, ...]
    softmax: bool
    tile: tuple[int, int, int]
    precision: str = "float32"
    grid: Grid | None = None


def regions_of(experiment: Experiment, cohort: Cohort) -> dict[str, tuple[int, ...]]:
    """The regions of a network that can be explained, and the label values that each holds.

    Of sigmoids those that it was trained on; of a softmax over a glioma's labels the nested regions too.
    """
    schemes = predicting.schemes(experiment, cohort) if experiment.softmax else (experiment.regions,)
    return {name: values for scheme in schemes for name, values in regions.members(scheme, cohort.labels).items()}


def target(record: Record, cohort: Cohort, case: Case, region: str, network: nn.Module | None = None) -> Target:
    """The :class:`Target` of a region in a case: the voxels where the network of a run itself finds it.

    There its sigmoid reaches 0.5 (before nested regions are laid into each other), or the likeliest class is one of the
    region's.

    Args:
        case: of any cohort with the modalities that the network was trained on.
        region: one of :func:`regions_of`.
        network: spares loading it again for each case.

    Raises:
        ValueError: the network has no such region; lists those that it has.
        EmptyRegionError: the network finds none of the region.
        FileNotFoundError: the weights are not on this machine.
    """
    experiment = record.experiment
    structures = regions_of(experiment, cohort)
    if region not in structures:
        raise ValueError(f"region {region!r}: the network of {record.id} has {', '.join(structures)}")
    network = predicting.load_network(record, cohort) if network is None else network
    prepared = predicting.prepare(experiment, case, predicting.statistics_of(record))
    image = predicting.inputs(experiment, cohort, case, prepared).to(next(network.parameters()).device)
    probabilities = predicting.predict(network, experiment, image)
    if experiment.softmax:  # whose first channel is the background
        inside = tuple(1 + sorted(cohort.labels).index(value) for value in structures[region])
        mask = torch.isin(probabilities.argmax(0), torch.tensor(inside, device=image.device))
    else:
        inside = (list(regions.members(experiment.regions, cohort.labels)).index(region),)
        mask = probabilities[inside[0]] >= 0.5
    if not mask.any():
        raise EmptyRegionError(f"case {case.id} has no {region} to explain: the network finds none of it")
    return Target(
        network, image, mask, inside, experiment.softmax, experiment.tile, experiment.precision, prepared.grid
    )


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


def gradient(target: Target) -> Tensor:
    """The gradient of the score with respect to the image: float32 (channel, z, y, x), signed.

    The gradient of Simonyan et al. (2014, section 3); its :func:`magnitude` is the saliency map.
    """

    def of_tiles(images: Tensor, mask: Tensor) -> Tensor:
        images.requires_grad_()
        return torch.autograd.grad(_total(target, images, mask), images)[0]

    return _assembled(target, of_tiles, len(target.image))


def smooth_gradient(target: Target, samples: int = 16, noise: float = 0.1, seed: int = 0) -> Tensor:
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
    image, generator = target.image, torch.Generator().manual_seed(seed)
    inside = image != 0
    deviation = torch.stack(
        [noise * (c[i].max() - c[i].min()) if i.any() else c.new_zeros(()) for c, i in zip(image, inside, strict=True)]
    )
    total = torch.zeros_like(image)
    for _ in range(samples):
        drawn = torch.randn(image.shape, generator=generator).to(image.device)
        noisy = image + drawn * deviation.view(-1, 1, 1, 1) * inside
        total += gradient(replace(target, image=noisy))
    return total / samples


def magnitude(gradient: Tensor) -> Tensor:
    """A saliency map (z, y, x) of a gradient (channel, z, y, x): its largest absolute value over the channels (Simonyan
    et al. 2014, section 3.1)."""
    return gradient.abs().amax(0)


def grad_cam(target: Target, layer: str | Sequence[str]) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, section 3) of layers, (layer, z, y, x), at least 0.

    The features of a layer, each weighed by the mean over space of the score's gradient there, are summed, cut at 0,
    and interpolated to the size of the tile. A network of slices has weights for each slice.

    Args:
        layer: one or several of :func:`layers`; several cost no more than one.

    Raises:
        ValueError: there is no such layer; lists those that there are.
    """
    names = [layer] if isinstance(layer, str) else list(layer)
    available = layers(target.network)
    if unknown := [name for name in names if name not in available]:
        raise ValueError(f"this network has no layer {', '.join(map(repr, unknown))}; it has {', '.join(available)}")

    def of_tiles(images: Tensor, mask: Tensor) -> Tensor:
        outputs: dict[str, Tensor] = {}

        def keeper(name: str) -> Callable:
            def keep(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
                outputs[name] = output
                return output.clone()  # which what follows may change in place

            return keep

        hooks = [target.network.get_submodule(name).register_forward_hook(keeper(name)) for name in names]
        try:
            # Through the image, features have a gradient even where no weight asks for one.
            total = _total(target, images.requires_grad_(), mask)
        finally:
            for hook in hooks:
                hook.remove()
        gradients = torch.autograd.grad(total, [outputs[name] for name in names])
        return torch.cat([_weighed(outputs[n], g, images) for n, g in zip(names, gradients, strict=True)], 1)

    return _assembled(target, of_tiles, len(names))


def _weighed(features: Tensor, gradient: Tensor, images: Tensor) -> Tensor:
    """Grad-CAM (tile, 1, z, y, x) of features (tile, channel, z, y, x), or (tile x slice, channel, y, x) of slices."""
    weights = gradient.float().mean(tuple(range(2, gradient.ndim)), keepdim=True)
    cam = torch.relu((weights * features.detach().float()).sum(1, keepdim=True))
    if features.ndim == 5:
        return functional.interpolate(cam, images.shape[2:], mode="trilinear", align_corners=False)
    cam = functional.interpolate(cam, images.shape[3:], mode="bilinear", align_corners=False)
    return cam.unflatten(0, (len(images), images.shape[2])).transpose(1, 2)


def _total(target: Target, images: Tensor, mask: Tensor) -> Tensor:
    """The number that is explained: a scalar, from tiles (tile, channel, z, y, x) and their masks (tile, z, y, x)."""
    with autocast(target.precision, images.device):
        logits = target.network(images)
    return (score(logits, target.inside, target.softmax) * mask).sum()


def _assembled(target: Target, of_tiles: Callable[[Tensor, Tensor], Tensor], channels: int) -> Tensor:
    """The tiles' maps blended over the volume (channel, z, y, x), float32, on the image's device."""

    def predict(tiles: Tensor) -> Tensor:
        # The mask travels as a last channel, so that it is cut and padded with the image.
        if not tiles[:, -1].any():
            return tiles.new_zeros((len(tiles), channels, *tiles.shape[2:]))
        with torch.inference_mode(False), torch.enable_grad():
            return of_tiles(tiles[:, :-1].clone(), tiles[:, -1].clone())

    image_and_mask = torch.cat([target.image, target.mask[None].to(target.image)])
    size = SLICES if target.tile[0] == 1 else 1
    training = target.network.training
    target.network.eval()
    try:
        return sliding_window(predict, image_and_mask, target.tile, batch_size=size)
    finally:
        target.network.train(training)


def native(target: Target, maps: Tensor) -> np.ndarray:
    """Maps (channel, z, y, x) on the network's grid in the case's native space: linear, and 0 outside the crop."""
    if target.grid is None:
        raise ValueError("this target has no grid, so there is no native space to go back to")
    return restore(maps.float().cpu().numpy(), target.grid)


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

    ``encoder.0`` is the finest level of the way down, the last ``encoder`` the deepest, ``decoder.0`` the first level
    on the way up. The output is left out: it is the score itself.
    """
    return [name for name in stages(network) if name != "output"]


def stages(network: nn.Module) -> list[str]:
    """Parts in the order of computation, members of lists one by one; of another's network, as they were registered."""
    modules = {}
    for name, module in network.named_children():
        if name not in _TRAINING_ALONE:
            members = module if isinstance(module, nn.ModuleList) else ()
            modules |= {f"{name}.{n}": member for n, member in enumerate(members)} if members else {name: module}
    names = [name for name, module in modules.items() if not isinstance(module, nn.Identity)]
    kinds = [name.partition(".") for name in names]
    if not {kind for kind, _, _ in kinds} <= set(_PLACES):
        return names
    places = {name: _PLACES[kind](int(n or 0)) for name, (kind, _, n) in zip(names, kinds, strict=True)}
    return sorted(names, key=places.get)
