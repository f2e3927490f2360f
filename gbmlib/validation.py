"""How good a network is while it trains: whole volumes, and crops that stay the same, on the network's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gbmlib import metrics, patches
from gbmlib.configuration import Experiment
from gbmlib.inference import sliding_window
from gbmlib.losses import LOSSES


@dataclass(frozen=True)
class Sample:
    """A prepared case on the training device: images (channel, z, y, x) float32, target (region, z, y, x) bool."""

    id: str
    images: Tensor
    target: Tensor


def validate(
    network: nn.Module, experiment: Experiment, validation: Sequence[Sample], regions: Sequence[str]
) -> dict[str, float]:
    """Loss and metrics over whole prepared volumes, mean over cases and regions; Dice of each region too.

    The metrics are equations 6 to 9 of Adeniji and Liu (2019) with their eps of 1.
    """
    losses, scores = [], {region: [] for region in regions}
    for sample in validation:
        probabilities = predict(network, sample.images, experiment)
        # The loss takes logits; blending is over probabilities, so go back.
        logits = torch.logit(probabilities, eps=1e-6)[None]
        losses.append(float(LOSSES[experiment.loss](logits, sample.target[None])))
        for region, probability, truth in zip(regions, probabilities, sample.target, strict=True):
            scores[region].append(metrics.every(probability >= 0.5, truth, metrics.PAPER_EPS))
    every = [score for of_region in scores.values() for score in of_region]
    out = {"val_loss": float(np.mean(losses))}
    out |= {f"val_{name}": float(np.mean([score[name] for score in every])) for name in metrics.NAMES}
    out |= {f"val_dice_{region}": float(np.mean([s["dice"] for s in of])) for region, of in scores.items()}
    return out


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor, experiment: Experiment, mirror_axes: Sequence[int] = ()) -> Tensor:
    """Probabilities (region, z, y, x) of a whole prepared volume, float32."""
    network.eval()

    def probabilities(tile: Tensor) -> Tensor:
        with autocast(experiment, tile.device):
            logits = network(tile)
        return torch.sigmoid(logits.float())

    return sliding_window(probabilities, images, experiment.tile, mirror_axes=mirror_axes)


def autocast(experiment: Experiment, device: torch.device) -> torch.autocast:
    """Mixed precision where the configuration asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=experiment.precision == "bfloat16")


def fixed_crops(experiment: Experiment, samples: Sequence[Sample]) -> list[tuple[Tensor, Tensor]]:
    """The crops of some cases that stay the same in every epoch and every run of a seed: (images, target) each."""
    return [
        tuple(patches.crop(volume, corner, experiment.patch_size) for volume in (sample.images, sample.target))
        for sample in samples
        for corner in corners(experiment, sample)
    ]


def corners(experiment: Experiment, sample: Sample) -> list[tuple[int, int, int]]:
    """Where the fixed crops of a case lie, by seed and case (:func:`gbmlib.patches.fixed_corners`)."""
    size = experiment.patch_size
    return patches.fixed_corners(sample.images.shape[1:], size, experiment.crops, experiment.seed, sample.id)


@torch.inference_mode()
def validate_crops(
    network: nn.Module, experiment: Experiment, crops: Sequence[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Loss and metrics on fixed crops, as the first paper's code logged its Table 1.

    Dice is a mean over crops and channels; precision, recall and accuracy are pooled over all voxels, channels and
    crops; eps is 1 throughout.
    """
    network.eval()
    losses, found = [], []
    for images, target in crops:
        with autocast(experiment, images.device):
            logits = network(images[None]).float()
        losses.append(LOSSES[experiment.loss](logits, target[None]))
        found.append(counts(logits, target[None]))
    each = [metrics.Counts(*c) for c in torch.cat(found).tolist()]
    pooled = metrics.Counts(*torch.cat(found).sum(0).tolist())
    row = {"crops_loss": float(torch.stack(losses).mean())}
    row["crops_dice"] = float(np.mean([of.dice(metrics.PAPER_EPS) for of in each]))
    return row | {f"crops_{name}": getattr(pooled, name)(metrics.PAPER_EPS) for name in metrics.NAMES if name != "dice"}


def counts(logits: Tensor, target: Tensor) -> Tensor:
    """Agreement at a probability of one half for each sample and channel: int64 (batch x channel, 4), no host sync."""
    predicted, true = (logits >= 0).flatten(0, 1).flatten(1), target.flatten(0, 1).flatten(1)
    both = (predicted & true).sum(1)
    of_predicted, of_true = predicted.sum(1), true.sum(1)
    every = torch.full_like(both, predicted.shape[1])
    return torch.stack([both, of_predicted - both, of_true - both, every - of_predicted - of_true + both], 1)
