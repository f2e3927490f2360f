"""The cells of the two papers' head to head by their configurations: what each pipeline fixes, what each cell costs.

Cells are (network, pipeline) -> experiments, as ``study.head_to_head.cells`` has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from gbmlib import models
from gbmlib.analysis.factorial import Cells
from gbmlib.augment.nnunet import TRANSFORMS
from gbmlib.cohorts import GLIOMA, regions
from gbmlib.files import sizes
from gbmlib.study import head_to_head, nnunet
from gbmlib.study.head_to_head import named
from gbmlib.training import batches
from gbmlib.training.configuration import Experiment

Wanted = Mapping[tuple[str, str], Sequence[Experiment]]

#: What each loss adds up, and over what its Dice is taken.
LOSSES = {
    "dice": "Dice",
    "dice_focal": "Dice and focal loss",
    "dice_ce": "Dice of each sample and cross entropy",
    "dice_ce_batch": "Dice of the batch and cross entropy",
}


def pipelines(wanted: Wanted) -> pd.DataFrame:
    """What each pipeline fixes, a row a choice, from the configurations of the network that is at home in it."""
    found = {f"pipeline {p}": _pipeline(wanted[network, p][0]) for p, network in head_to_head.AT_HOME.items()}
    table = pd.DataFrame(found)
    alike = table.nunique(axis=1) == 1
    return table.assign(**{"": ["the same" if same else "" for same in alike]})


def cost(wanted: Wanted, groups: Cells | None = None) -> pd.DataFrame:
    """How long each cell is trained, and on how much, from its configuration; and the minutes of its records, if any.

    Counted in the first of its folds, where every patient has one case.
    """
    rows = {}
    for cell, (of, *_) in wanted.items():
        steps = of.epochs * batches.per_epoch(of, training_cases(of))
        patches = steps * of.batch_size
        rows[named(cell)] = {
            "patch (z, y, x)": sizes(of.patch_size),
            "batch": of.batch_size,
            "epochs": of.epochs,
            "steps": f"{steps:,}",
            "patches": f"{patches:,}",
            "voxels (million)": f"{patches * np.prod(of.patch_size) / 1e6:.3g}",
            "peak rate": f"{of.learning_rate:g}",
            "warm-up (epochs)": of.warmup,
            "parameters (million)": f"{parameters(of) / 1e6:.2f}",
        }
        if groups and groups.get(cell):
            seconds = [record.provenance["seconds"] for record in groups[cell]]
            rows[named(cell)] |= {"minutes a run": f"{np.mean(seconds) / 60:.1f}", "threads": str(of.threads)}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def training_cases(of: Experiment) -> int:
    """How many cases a fold trains on, where every patient has one."""
    cases = nnunet.plan_of(of.cohort).cases
    return cases - len(range(of.fold, cases, of.folds))


def parameters(of: Experiment) -> int:
    """The number of trainable parameters of a configuration's network, for the three labels of a glioma."""
    channels = len(regions.members(of.regions, GLIOMA)) + of.softmax
    with torch.device("meta"):  # shapes without memory
        network = models.build(of.model, len(of.modalities), channels, of.patch_size, **of.options)
    return models.parameters(network)


def _pipeline(of: Experiment) -> dict[str, str]:
    drawn = f"{of.batches} batches of cases at random" if of.batches else f"{of.crops} x every case"
    simple = f"each axis mirrored with p = {of.flips:g}" + (
        f", intensities by {of.intensity:g}" if of.intensity else ""
    )
    whole = [name for name in TRANSFORMS if name not in of.without]
    return {
        "grid (mm)": sizes(of.spacing, 2) if of.spacing else "each case's own",
        "resampling": of.resampling,
        "normalisation": of.normalisation,
        "patch (z, y, x)": sizes(of.patch_size),
        "patches a step": str(of.batch_size),
        "patches that must hold foreground": {"none": "none"}.get(of.foreground, "more than a third"),
        "augmentation": simple if of.augmentation == "simple" else ", ".join(whole),
        "classes": "nested regions" if of.regions == "brats" else "exclusive labels",
        "output": "softmax, with the background" if of.softmax else "a sigmoid for each",
        "loss": LOSSES[of.loss],
        "penalty": f"{of.l2:g} x sum of squared kernels" if of.l2 else "none",
        "peak learning rate": f"{of.learning_rate:g}",
        "course of the rate": of.schedule.replace("_", " ") + (f", {of.warmup} epochs of warm-up" if of.warmup else ""),
        "an epoch": drawn,
        "epochs": str(of.epochs),
        "tiles of inference": sizes(of.tile),
        "inference": "averaged over mirrorings" if of.mirrored_inference else "once",
    }
