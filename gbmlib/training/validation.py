"""Validation during training, on the network's grid: on whole volumes, random patches or fixed crops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gbmlib.evaluation import metrics
from gbmlib.evaluation.sliding_window import sliding_window
from gbmlib.training import batches, losses, patches
from gbmlib.training.configuration import Experiment
from gbmlib.training.losses import LOSSES
from gbmlib.training.samples import Sample

#: How many tiles a network of slices takes at once; other tiles are large enough one by one.
SLICES = 16


def validate(
    network: nn.Module, experiment: Experiment, validation: Sequence[Sample], regions: Sequence[str]
) -> dict[str, float]:
    """Loss and metrics over whole prepared volumes, mean over cases and regions; Dice of each region too.

    The metrics are equations 6 to 9 of Adeniji and Liu (2019) with their eps of 1.
    """
    loss_values, scores = [], {region: [] for region in regions}
    for sample in validation:
        probabilities = predict(network, sample.inputs, experiment)[None]
        # The loss takes logits; blending is over probabilities, so go back.
        logits = losses.logits_of(experiment.loss, probabilities)
        loss_values.append(float(LOSSES[experiment.loss](logits, sample.target[None])))
        decided = losses.decisions(experiment.loss, probabilities, 0.5)[0]
        for region, predicted, truth in zip(regions, decided, sample.target, strict=True):
            scores[region].append(metrics.overlap(predicted, truth, metrics.PAPER_EPS))
    flat = [score for region in regions for score in scores[region]]
    row = {"val_loss": float(np.mean(loss_values))}
    row |= {f"val_{name}": float(np.mean([score[name] for score in flat])) for name in metrics.NAMES}
    return row | {f"val_dice_{region}": float(np.mean([s["dice"] for s in scores[region]])) for region in regions}


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
    agreement, loss_values = [], []
    number, size = experiment.validation_batches, experiment.batch_size
    for chosen in batches.at_random(number, size, len(validation), generator):
        images, target = batches.draw(experiment, validation, chosen, generator, augmented=False)
        loss, counted = _judge(network, experiment, images, target)
        loss_values.append(loss)
        agreement.append(counted.view(len(images), len(regions), 4).sum(0))
    pooled = [metrics.Counts(*c) for c in torch.stack(agreement).sum(0).tolist()]
    row = {"val_loss": float(torch.stack(loss_values).mean())}
    row |= {f"val_{name}": float(np.mean([getattr(region, name)() for region in pooled])) for name in metrics.NAMES}
    return row | {f"val_dice_{region}": total.dice() for region, total in zip(regions, pooled, strict=True)}


@torch.inference_mode()
def predict(network: nn.Module, images: Tensor, experiment: Experiment, mirror_axes: Sequence[int] = ()) -> Tensor:
    """Probabilities (region, z, y, x) of a whole prepared volume, float32; of a softmax with the background first.

    The axes to mirror are those of the prepared volume; a network of slices is not mirrored across them.
    """
    network.eval()
    if experiment.is_2d:
        mirror_axes = [axis for axis in mirror_axes if axis]

    def probabilities(tile: Tensor) -> Tensor:
        with autocast(experiment.precision, tile.device):
            logits = network(tile)
        return losses.probabilities(experiment.loss, logits)

    batch_size = SLICES if experiment.tile[0] == 1 else 1
    return sliding_window(probabilities, images, experiment.tile, mirror_axes=mirror_axes, batch_size=batch_size)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Mixed precision where it is asked for (:class:`Experiment`)."""
    mixed = precision == "bfloat16" or (precision == "fast" and _computes_in_bfloat16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)


def _computes_in_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16; a processor without them would only emulate it."""
    capable = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type != "cpu" or bool(capable.get("avx512_bf16") or capable.get("amx_bf16"))


def fixed_crops(experiment: Experiment, samples: Sequence[Sample]) -> list[tuple[Tensor, Tensor]]:
    """The fixed crops of some cases, (images, target) each: the same in every epoch and every run of a seed."""
    return [
        tuple(patches.crop(volume, corner, experiment.patch_size) for volume in (sample.inputs, sample.target))
        for sample in samples
        for corner in batches.fixed_corners(experiment, sample)
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
    judged = [_judge(network, experiment, images[None], target[None]) for images, target in crops]
    loss_values, agreement = zip(*judged, strict=True)
    each = [metrics.Counts(*c) for c in torch.cat(agreement).tolist()]
    pooled = metrics.Counts(*torch.cat(agreement).sum(0).tolist())
    row = {"crops_loss": float(torch.stack(loss_values).mean())}
    row["crops_dice"] = float(np.mean([crop.dice(metrics.PAPER_EPS) for crop in each]))
    return row | {f"crops_{name}": getattr(pooled, name)(metrics.PAPER_EPS) for name in metrics.NAMES if name != "dice"}


def _judge(network: nn.Module, experiment: Experiment, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and :func:`counts` of a batch, on its device."""
    with autocast(experiment.precision, images.device):
        logits = network(images).float()
    return LOSSES[experiment.loss](logits, target), counts(logits, target, experiment.loss)


def counts(logits: Tensor, target: Tensor, loss: str = "dice") -> Tensor:
    """True and false positives, false and true negatives of each sample and region: int64 (batch x region, 4).

    It stays on the device, so that a graphics card need not wait for the host.
    """
    decided = losses.decisions(loss, logits, 0)
    predicted, true = decided.flatten(0, 1).flatten(1), target.flatten(0, 1).flatten(1)
    both = (predicted & true).sum(1)
    false_positive, false_negative = predicted.sum(1) - both, true.sum(1) - both
    true_negative = predicted.shape[1] - both - false_positive - false_negative
    return torch.stack([both, false_positive, false_negative, true_negative], 1)
