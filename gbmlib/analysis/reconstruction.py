"""What the VAE branch of a trained network makes of an image."""

from __future__ import annotations

import numpy as np
import torch

from gbmlib.cohorts import Case, Cohort
from gbmlib.study.predicting import load_network, prepare, statistics_of
from gbmlib.study.records import Record
from gbmlib.training import patches


@torch.no_grad()
def reconstruct(record: Record, cohort: Cohort, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """A training patch from the middle of a prepared case, and its reconstruction, each (channel, z, y, x) float32.

    The latent sample is drawn with the run's seed; dropout and batch statistics are those of evaluation.

    Raises:
        ValueError: the run's network has no VAE branch.
        FileNotFoundError: the record's weights are not on this machine.
    """
    of = record.experiment
    network = load_network(record, cohort, "cpu")
    if getattr(network, "vae", None) is None:
        raise ValueError(f"the network of {record.id} has no VAE branch that could reconstruct an image")
    volume = torch.from_numpy(prepare(of, case, statistics_of(record)).images)
    corner = [(size - patch) // 2 for size, patch in zip(volume.shape[1:], of.patch_size, strict=True)]
    image = patches.crop(volume, corner, of.patch_size)
    network.training = True  # this module alone: the branch runs, and the layers below evaluate
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(of.seed)
        outputs = network(image[None])
    return image.numpy(), outputs.reconstruction[0].numpy()
