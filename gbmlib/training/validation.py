"""How good a network is while it trains: whole volumes, and crops that stay the same, on the network's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gbmlib.evaluation import metrics
from gbmlib.evaluation.sliding_window import sliding_window
from gbmlib.training import batches, losses, patches
from gbmlib.training.batches import corners
from gbmlib.training.configuration import Experiment
from gbmlib.training.losses import LOSSES
from gbmlib.training.samples import Sample

#: Tiles that a network of slices takes at once; the tiles of others are large enough each.
SLICES = 16


def validate(
    network: nn.Module, experiment: Experiment, validation: Sequence[Sample], regions: Sequence[str]
) -> dict[str, float]:
    """Loss and metrics over whole prepared volumes, mean over cases and regions; Dice of each region too.

    The metrics are equations 6 to 9 of Adeniji and Liu (2019) with their eps of 1.
    """
    found, scores = [], {region: [] for region in regions}
    for sample in validation:
        probabilities = predict(network, sample.inputs, experiment)[None]
        # The loss takes logits; blending is over probabilities, so go back.
        logits = losses.logits_of(experiment.loss, probabilities)
        found.append(float(LOSSES[experiment.loss](logits, sample.target[None])))
        decided = losses.decisions(experiment.loss, probabilities, 0.5)[0]
        for region, predicted, truth in zip(regions, decided, sample.target, strict=True):
            scores[region].append(metrics.every(predicted, truth, metrics.PAPER_EPS))
    every = [score for of_region in scores.values() for score in of_region]
    out = {"val_loss": float(np.mean(found))}
    out |= {f"val_{name}": float(np.mean([score[name] for score in every])) for name in metrics.NAMES}
    out |= {f"val_dice_{region}": float(np.mean([s["dice"] for s in of])) for region, of in scores.items()}
    return out


@torch.inference_mode()
def validate_patches(
    network: nn.Module, experiment: Experiment, validation: Sequence[Sample], regions: Sequence[str], epoch: int
) -> dict[str, float]:
    """Loss and metrics on random patches of held-out cases, drawn as for training but not augmented.

    As the public code of nnU-Net judges an epoch: voxels are pooled over all patches for each region, and the metrics
    are means over regions. They flatter a network, since patches are drawn where there is foreground; for whole cases
    see :func:`validate`. The draws depend on seed and epoch alone.
    """
    network.eval()
    generator = torch.Generator().manual_seed(experiment.seed * 1_000_003 + epoch)
    found, of_loss = [], []
    number, size = experiment.validation_batches, experiment.batch_size
    for chosen in batches.at_random(number, size, len(validation), generator):
        images, target = batches.draw(experiment, validation, chosen, generator, augmented=False)
        with autocast(experiment, images.device):
            logits = network(images).float()
        of_loss.append(LOSSES[experiment.loss](logits, target))
        found.append(counts(logits, target, experiment.loss).view(len(images), len(regions), 4).sum(0))
    pooled = [metrics.Counts(*c) for c in torch.stack(found).sum(0).tolist()]
    out = {"val_loss": float(torch.stack(of_loss).mean())}
    out |= {f"val_{name}": float(np.mean([getattr(of, name)() for of in pooled])) for name in metrics.NAMES}
    return out | {f"val_dice_{region}": of.dice() for region, of in zip(regions, pooled, strict=True)}


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor, experiment: Experiment, mirror_axes: Sequence[int] = ()) -> Tensor:
    """Probabilities (region, z, y, x) of a whole prepared volume, float32; of a softmax with the background first.

    The axes to mirror are those of the prepared volume; a network of slices is not mirrored across them.
    """
    network.eval()
    if experiment.flat:
        mirror_axes = [axis for axis in mirror_axes if axis]

    def probabilities(tile: Tensor) -> Tensor:
        with autocast(experiment, tile.device):
            logits = network(tile)
        return losses.probabilities(experiment.loss, logits)

    size = SLICES if experiment.tile[0] == 1 else 1
    return sliding_window(probabilities, images, experiment.tile, mirror_axes=mirror_axes, batch_size=size)


def autocast(experiment: Experiment, device: torch.device) -> torch.autocast:
    """Mixed precision where the configuration asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=experiment.precision == "bfloat16")


def fixed_crops(experiment: Experiment, samples: Sequence[Sample]) -> list[tuple[Tensor, Tensor]]:
    """The crops of some cases that stay the same in every epoch and every run of a seed: (images, target) each."""
    return [
        tuple(patches.crop(volume, corner, experiment.patch_size) for volume in (sample.inputs, sample.target))
        for sample in samples
        for corner in corners(experiment, sample)
    ]


@torch.inference_mode()
def validate_crops(
    network: nn.Module, experiment: Experiment, crops: Sequence[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Loss and metrics on fixed crops, as the first paper's code logged its Table 1.

    Dice is a mean over crops and channels; precision, recall and accuracy are pooled over all voxels, channels and
    crops; eps is 1 throughout.
    """
    network.eval()
    of_loss, found = [], []
    for images, target in crops:
        with autocast(experiment, images.device):
            logits = network(images[None]).float()
        of_loss.append(LOSSES[experiment.loss](logits, target[None]))
        found.append(counts(logits, target[None], experiment.loss))
    each = [metrics.Counts(*c) for c in torch.cat(found).tolist()]
    pooled = metrics.Counts(*torch.cat(found).sum(0).tolist())
    row = {"crops_loss": float(torch.stack(of_loss).mean())}
    row["crops_dice"] = float(np.mean([of.dice(metrics.PAPER_EPS) for of in each]))
    return row | {f"crops_{name}": getattr(pooled, name)(metrics.PAPER_EPS) for name in metrics.NAMES if name != "dice"}


def counts(logits: Tensor, target: Tensor, loss: str = "dice") -> Tensor:
    """Agreement of the decisions for each sample and region: int64 (batch x region, 4), no host sync."""
    decided = losses.decisions(loss, logits, 0)
    predicted, true = decided.flatten(0, 1).flatten(1), target.flatten(0, 1).flatten(1)
    both = (predicted & true).sum(1)
    of_predicted, of_true = predicted.sum(1), true.sum(1)
    every = torch.full_like(both, predicted.shape[1])
    return torch.stack([both, of_predicted - both, of_true - both, every - of_predicted - of_true + both], 1)
