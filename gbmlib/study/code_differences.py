"""From the text of Adeniji and Liu (2019) to their code: every difference between them, and a ladder of all, as data.

A rung of the ladder is the network of the one before it with one difference more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gbmlib.study import scales
from gbmlib.study.ablations import SCREENED_SEEDS, SCREENING, as_tuple, screened
from gbmlib.training.configuration import Experiment
from gbmlib.training.losses import PAPER_VOXELS


@dataclass(frozen=True)
class Quirk:
    """One thing in which the paper's code (vliu15/3d-brain-tumor-segmentation, 23d955b) differs from its text."""

    label: str
    paper: str
    code: str
    changes: Mapping[str, Any]


#: From the paper's text to its code, in the order in which 05b turns them on.
QUIRKS = (
    Quirk(
        "exclusive labels",
        "nested regions by name, labels 4, 1 and 2 by number",
        "the labels 1, 2 and 4, each alone",
        {"regions": "labels"},
    ),
    Quirk("data-set normalisation", "image by image", "one mean and deviation a channel", {"normalisation": "dataset"}),
    Quirk(
        "flipped copies",
        "each spatial axis with probability 0.75",
        "a copy flipped in two axes, its channels exchanged",
        {"mirroring": "copy"},
    ),
    Quirk("levels", "1, 2, 2, 4 blocks", "2, 2, 2, 4 blocks", {"blocks": (2, 2, 2, 4)}),
    Quirk("slab norm", "groups of channels", "slabs of space (a missing transpose)", {"norm": "slab"}),
    Quirk(
        "SE on the shortcut",
        "the residual is scaled; the shortcut is the identity",
        "the shortcut is scaled, and always a 1 x 1 x 1 convolution",
        {"se": "shortcut", "shortcut": "conv"},
    ),
    Quirk("ReLU first", "last ReLU after the addition", "before the addition", {"last_relu": "before"}),
    Quirk("nearest upsampling", "linear", "nearest", {"up": "nearest"}),
    Quirk(
        "VAE head",
        "16 channels, then 128 means and 128 log-variances",
        "no reduction of channels before the dense layer, 128 numbers in all",
        {"vae_channels": 0, "latent": 64},
    ),
    Quirk("He output", "Glorot before the output's sigmoid", "He there too", {"init": "he_output"}),
    Quirk("KL's N", "voxels", "voxels times input channels", {"kl_voxels": 2 * PAPER_VOXELS}),
)


def ladder(
    profile: str, folds: Iterable[int] | None = None, seeds: Iterable[int] | None = None, **changes: Any
) -> dict[str, list[Experiment]]:
    """The experiments of each rung, by label; screened as in ``study.ablations.runs``."""
    # It is of gliomas' regions and normalisation, so it stays with gliomas where single choices do not.
    folds, changes = screened(profile, folds, changes, SCREENING.get(profile, {}))
    seeds = as_tuple(SCREENED_SEEDS.get(profile) if seeds is None else seeds)
    rungs, so_far = {"paper's text": scales.paper_a(profile, folds, seeds, **changes)}, dict(changes)
    for quirk in QUIRKS:
        so_far |= quirk.changes
        rungs[quirk.label] = scales.paper_a(profile, folds, seeds, **so_far)
    return rungs
