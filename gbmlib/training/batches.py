"""Training batches: of which cases, where in them, and what the augmentation makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gbmlib.augment import cascade_noise, nnunet, simple, spatial_draws
from gbmlib.preprocess.normalise import ZERO_IS_BACKGROUND
from gbmlib.training import patches
from gbmlib.training.configuration import Experiment
from gbmlib.training.samples import Sample, decode, one_hot

#: Of a batch: which crop of which case, by their numbers.
Chosen = list[tuple[int, int]]


def per_epoch(experiment: Experiment, cases: int) -> int:
    """The batches of an epoch."""
    return experiment.batches or -(-cases * experiment.crops // experiment.batch_size)


def choose(experiment: Experiment, cases: int, generator: torch.Generator) -> Iterator[Chosen]:
    """The batches of an epoch: every crop of every case once, in random order, or so many of crops drawn at random."""
    if experiment.batches is None:
        order = torch.randperm(cases * experiment.crops, generator=generator)
        for numbers in order.split(experiment.batch_size):
            yield [divmod(int(number), cases) for number in numbers]
        return
    yield from at_random(experiment.batches, experiment.batch_size, cases, generator, experiment.crops)


def at_random(number: int, batch_size: int, cases: int, generator: torch.Generator, crops: int = 1) -> Iterator[Chosen]:
    """So many batches, each of crops drawn with replacement from ``crops`` of every case."""
    for _ in range(number):
        drawn = torch.randint(cases * crops, (batch_size,), generator=generator)
        yield [divmod(crop, cases) for crop in drawn.tolist()]


def draw(
    experiment: Experiment,
    samples: Sequence[Sample],
    chosen: Chosen,
    generator: torch.Generator,
    augmented: bool = True,
) -> tuple[Tensor, Tensor]:
    """Images (batch, channel, z, y, x) and target (batch, region, z, y, x) of the chosen cases, augmented or plain."""
    forced = patches.forced(experiment.foreground, len(chosen))
    of = [samples[case] for _, case in chosen]
    patch = experiment.patch_size
    corners = (
        _corner(experiment, sample, generator, crop, number >= len(of) - forced)
        for number, (sample, (crop, _)) in enumerate(zip(of, chosen, strict=True))
    )
    if not augmented or experiment.augmentation == "simple":
        # One after another: what is drawn for a sample's place and for its augmentation alternates.
        drawn = [_cut(experiment, *pair, generator, augmented) for pair in zip(of, corners, strict=True)]
        return tuple(torch.stack(part) for part in zip(*drawn, strict=True))
    corners = list(corners)
    parameters = nnunet.draw(len(of), len(of[0].images), patch, settings(experiment), generator)
    size = spatial_draws.reach(parameters.spatial, patch)
    corners = [
        tuple(at - (block - own) // 2 for at, block, own in zip(corner, size, patch, strict=True)) for corner in corners
    ]
    images = torch.stack([patches.crop(s.images, corner, size) for s, corner in zip(of, corners, strict=True)])
    maps = [[s.code] if s.previous is None else [s.code, s.previous] for s in of]
    maps = torch.stack([patches.crop(torch.stack(m), corner, size) for m, corner in zip(maps, corners, strict=True)])
    images, maps = nnunet.apply(images, maps, parameters, patch)
    regions = len(of[0].target)
    if experiment.previous is not None:
        images = torch.cat([images, _disturbed(maps[:, 1], regions, generator).to(images)], 1)
    return images, decode(maps[:, 0], regions)


def _disturbed(previous: Tensor, regions: int, generator: torch.Generator) -> Tensor:
    """What the first network of a cascade predicted, one-hot, less sure than it is (``augment.cascade_noise``)."""
    channels = torch.stack([one_hot(each, regions) for each in previous])
    return cascade_noise.apply(channels, cascade_noise.draw(len(channels), regions, generator))


def settings(experiment: Experiment) -> nnunet.Settings:
    """What the second paper's augmentation draws for a configuration."""
    constants = "code" if experiment.augmentation == "nnunet_code" else "paper"
    masked = experiment.normalisation in ZERO_IS_BACKGROUND
    return nnunet.paper_b(experiment.patch_size, experiment.without, constants, masked, experiment.slicewise)


def _corner(
    experiment: Experiment, sample: Sample, generator: torch.Generator, crop: int, forced: bool
) -> tuple[int, int, int]:
    """Where a patch lies; ``crop`` counts the crops of a case within an epoch."""
    if experiment.fixed_crops:
        return corners(experiment, sample)[crop]
    size, patch = sample.images.shape[1:], experiment.patch_size
    if forced and sample.foreground:
        return patches.draw_foreground_corner(sample.foreground, size, patch, generator)
    return patches.draw_corner(size, patch, generator)


def corners(experiment: Experiment, sample: Sample) -> list[tuple[int, int, int]]:
    """Where the fixed crops of a case lie, by seed and case (``training.patches.fixed_corners``)."""
    size = experiment.patch_size
    return patches.fixed_corners(sample.images.shape[1:], size, experiment.crops, experiment.seed, sample.id)


def _cut(
    experiment: Experiment, sample: Sample, corner: Sequence[int], generator: torch.Generator, augmented: bool
) -> tuple[Tensor, Tensor]:
    """A patch, by default mirrored, and its intensities shifted and scaled, as the first paper has it."""
    images, target = (patches.crop(volume, corner, experiment.patch_size) for volume in (sample.inputs, sample.target))
    if not augmented:
        return images, target
    if experiment.mirroring == "copy":
        if simple.draw_copy(experiment.flips, generator):
            images, target = simple.flip_copy(images, target)
    else:
        axes = simple.draw_flips(experiment.flips, generator)
        images, target = simple.flip(images, axes), simple.flip(target, axes)
    if experiment.intensity:
        drawn = simple.draw_intensity(len(images), experiment.intensity, experiment.intensity, generator)
        images = simple.intensity(images, *drawn)
    return images, target
