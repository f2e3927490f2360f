"""Training batches: which cases, which patches of them, and their augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gbmlib.augment import cascade_noise, nnunet, simple, spatial
from gbmlib.preprocess.normalise import ZERO_IS_BACKGROUND, schemes_of
from gbmlib.training import patches
from gbmlib.training.configuration import Experiment
from gbmlib.training.samples import Sample, decode, one_hot

#: The samples of a batch: (number of the crop, number of the case) each.
Chosen = list[tuple[int, int]]


def per_epoch(experiment: Experiment, cases: int) -> int:
    """The number of batches of an epoch."""
    return experiment.batches or -(-cases * experiment.crops // experiment.batch_size)


def choose(experiment: Experiment, cases: int, generator: torch.Generator) -> Iterator[Chosen]:
    """The batches of an epoch: every crop of every case once, in random order, or ``batches`` of crops at random."""
    if experiment.batches is None:
        order = torch.randperm(cases * experiment.crops, generator=generator)
        for numbers in order.split(experiment.batch_size):
            yield [divmod(int(number), cases) for number in numbers]
        return
    yield from at_random(experiment.batches, experiment.batch_size, cases, generator, experiment.crops)


def at_random(number: int, batch_size: int, cases: int, generator: torch.Generator, crops: int = 1) -> Iterator[Chosen]:
    """A number of batches, each of crops drawn with replacement from ``crops`` of every case."""
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
    first_forced = len(chosen) - patches.forced(experiment.foreground, len(chosen))
    batch = [samples[case] for _, case in chosen]
    corners = (
        _corner(experiment, sample, generator, crop, number >= first_forced)
        for number, (sample, (crop, _)) in enumerate(zip(batch, chosen, strict=True))
    )
    if augmented and experiment.augmentation != "simple":
        return _nnunet(experiment, batch, list(corners), generator)
    # Lazily, one sample after another: the draws of a sample's place and of its augmentation alternate.
    pairs = [_simple(experiment, *pair, generator, augmented) for pair in zip(batch, corners, strict=True)]
    return tuple(torch.stack(tensors) for tensors in zip(*pairs, strict=True))


def _corner(
    experiment: Experiment, sample: Sample, generator: torch.Generator, crop: int, forced: bool
) -> tuple[int, int, int]:
    """Where a patch lies (z, y, x); ``crop`` counts the crops of a case within an epoch."""
    if experiment.fixed_crops:
        return fixed_corners(experiment, sample)[crop]
    size, patch = sample.images.shape[1:], experiment.patch_size
    if forced and sample.foreground:
        return patches.draw_foreground_corner(sample.foreground, size, patch, generator)
    return patches.draw_corner(size, patch, generator)


def fixed_corners(experiment: Experiment, sample: Sample) -> list[tuple[int, int, int]]:
    """Where the fixed crops of a case lie, by seed and case (``training.patches.fixed_corners``)."""
    size = experiment.patch_size
    return patches.fixed_corners(sample.images.shape[1:], size, experiment.crops, experiment.seed, sample.id)


def _simple(
    experiment: Experiment, sample: Sample, corner: Sequence[int], generator: torch.Generator, augmented: bool
) -> tuple[Tensor, Tensor]:
    """A patch under the first paper's augmentation: mirrored, and its intensities shifted and scaled."""
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


def _nnunet(
    experiment: Experiment, batch: Sequence[Sample], corners: Sequence[Sequence[int]], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A batch under the second paper's augmentation: larger blocks are cut, and warped down to the patch."""
    patch = experiment.patch_size
    parameters = nnunet.draw(len(batch), len(batch[0].images), patch, settings(experiment), generator)
    size = spatial.reach(parameters.spatial, patch)
    corners = [
        tuple(start - (block - inner) // 2 for start, block, inner in zip(corner, size, patch, strict=True))
        for corner in corners
    ]
    blocks = []
    for sample, corner in zip(batch, corners, strict=True):
        maps = torch.stack([sample.code] if sample.previous is None else [sample.code, sample.previous])
        blocks.append((patches.crop(sample.images, corner, size), patches.crop(maps, corner, size)))
    images, maps = nnunet.apply(*(torch.stack(tensors) for tensors in zip(*blocks, strict=True)), parameters, patch)
    regions = len(batch[0].target)
    if experiment.previous is not None:
        # A cascade's second network must not rely on the first: what that predicted is disturbed.
        predicted = torch.stack([one_hot(label_map, regions) for label_map in maps[:, 1]])
        disturbed = cascade_noise.apply(predicted, cascade_noise.draw(len(batch), regions, generator))
        images = torch.cat([images, disturbed.to(images)], 1)
    return images, decode(maps[:, 0], regions)


def settings(experiment: Experiment) -> nnunet.Settings:
    """The settings of the second paper's augmentation for a configuration."""
    masked = set(schemes_of(experiment.normalisation, len(experiment.modalities))) <= set(ZERO_IS_BACKGROUND)
    return nnunet.paper_b(experiment.patch_size, experiment.without, masked, experiment.slicewise)
