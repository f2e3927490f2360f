"""What nnU-Net's first paper (Isensee et al. 2018) did not validate, as comparisons, and a sweep over slice thickness.

Single choices are changes to the planned 3D U-Net, the last of them in the thickest slices of the sweep. The sweep over
slice thickness plans both networks anew at each. At the scale ``short`` both are a screening on a processor: two folds,
one seed, and five epochs of 50 batches, of two patches of 48 x 64 x 48 at 3 mm: 250 steps, about four minutes on one
core.

At the study's scale single choices are asked of the hippocampus, all five folds, at 2 mm, as in ``study.ablations``:
1,200 steps of the batch that is planned at its own 1 mm; on the pilot's fold 600 had 0.013 Dice less. Thick slices are
6 mm there.

Nothing here is averaged over mirrorings at the end: a network that never saw a mirrored case would take them for other
cases, and all variants are to be measured alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gbmlib.augment.nnunet import TRANSFORMS
from gbmlib.study import nnunet, scales
from gbmlib.study.ablations import Comparison, screened
from gbmlib.training.configuration import Experiment

#: What the screening changes at a scale; the demonstration is coarser, so that nobody waits for it.
SCREENING: dict[str, dict[str, Any]] = {"demo": {"spacing": 4}, "short": {"epochs": 5}}
PLAIN = {"mirrored_inference": False}

#: At the study's scale, on the hippocampus.
HIPPOCAMPUS: dict[str, Any] = {"epochs": 24, "batches": 50, "spacing": 2, "batch_size": 9}
THICK_HIPPOCAMPUS = (6, 2, 2)

#: Spacing within a slice and the slices' thicknesses, in mm. The paper's own data would be cut at 1 mm into slices of 1
#: to 6 mm; at 3 mm, where a processor can train, these have the same proportions, and one where slices are finer.
IN_PLANE: dict[str, float] = {"test": 6, "demo": 3, "short": 3, "study": 3, "paper": 1}
THICKNESS: dict[str, tuple[float, ...]] = {
    "test": (6, 12),
    "demo": (3, 9),
    **dict.fromkeys(("short", "study"), (1.5, 3, 6, 9, 12)),
    "paper": (1, 2, 3, 4, 6),
}

COMPARISONS = (
    Comparison(
        "activation",
        "Leaky ReLU or ReLU?",
        "Leaky ReLUs replace the original's ReLUs; their benefit was not properly validated.",
        "sections 2.1 and 4",
        {"leaky ReLU": {}, "ReLU": {"activation": "relu"}},
    ),
    Comparison(
        "augmentation",
        "Which part of the augmentation is needed?",
        "Rotation, scaling, elastic deformation, gamma and mirroring; their parameters were not properly validated.",
        "sections 2.3 and 4",
        {
            "all of it": {},
            **{f"no {'mirroring' if name == 'mirror' else name}": {"without": (name,)} for name in TRANSFORMS},
            "no augmentation at all": {"without": TRANSFORMS},
        },
    ),
    Comparison(
        "norm",
        "Instance norm or batch norm?",
        "Instance normalisation is used instead of the more popular batch normalisation; no comparison is shown.",
        "section 2.1",
        {"instance norm": {}, "batch norm": {"norm": "batch"}},
    ),
    Comparison(
        "down",
        "Max-pooling, or strided convolutions as in the public code?",
        "The networks pool; no comparison is shown.",
        "section 2.1",
        {"max-pooling": {}, "strided convolutions": {"down": "stride"}},
    ),
    Comparison(
        "foreground",
        "Must some patches of a batch hold foreground?",
        "More than a third of them do, to stabilise the training; no comparison is shown.",
        "section 2.3",
        {"at least one of two": {}, "patches anywhere": {"foreground": "none"}},
    ),
    Comparison(
        "loss",
        "Dice and cross entropy, or one of them? Dice of each case, or of the batch?",
        "The two are summed; Dice is taken case by case where a patch holds most of a case, else over the batch.",
        "section 2.3",
        {
            "Dice as planned, cross entropy": {},
            "Dice of the batch, cross entropy": {"loss": "dice_ce_batch"},
            "Dice of each case alone": {"loss": "softmax_dice"},
            "cross entropy alone": {"loss": "cross_entropy"},
        },
    ),
    Comparison(
        "optimiser",
        "Adam, or the public code's variant of it?",
        "Adam; the code adds weight decay and AMSGrad, of which the text says nothing.",
        "section 2.3",
        {"Adam": {}, "AMSGrad, weight decay": {"amsgrad": True, "weight_decay": 3e-5}},
    ),
    Comparison(
        "slicewise",
        "Thick slices: moved each in its plane, or in three dimensions?",
        "Patches whose longest edge is over twice the shortest are augmented slice by slice; no comparison is shown.",
        "section 2.3",
        {"slice by slice": {}, "augmented in three dimensions": {"slicewise": False}},
    ),
)


def runs(
    comparison: Comparison,
    profile: str,
    folds: Iterable[int] | None = None,
    seeds: Iterable[int] | None = None,
    **changes: Any,
) -> dict[str, list[Experiment]]:
    """The experiments of each variant of the planned 3D U-Net for gliomas, by label.

    Where slices are augmented is asked in the thickest slices of the sweep, all else on the scale's own grid.

    Args:
        folds, seeds: None for the folds of the screening, and seed 0.
        changes: hold for all variants (``study.nnunet.glioma``), and a variant's own go before them;
            None keeps the scale's own.
    """
    folds, changes = screened(profile, folds, PLAIN | changes, SCREENING.get(profile, {}))
    seeds = None if seeds is None else tuple(seeds)
    make = nnunet.glioma
    cohort = nnunet.HIPPOCAMPUS_COHORT
    if profile in scales.ON_HIPPOCAMPUS and changes.get("cohort", cohort) == cohort:
        if comparison.name == "foreground":  # every patch holds a whole hippocampus, so the rule cannot act
            return {}
        make, changes = nnunet.hippocampus, HIPPOCAMPUS | changes
    if comparison.name == "slicewise":
        changes |= {"spacing": THICK_HIPPOCAMPUS if make is nnunet.hippocampus else thickest(profile)}
        if make(profile, 3, **changes)[0].is_2d:  # of so few slices that there are no three dimensions to move in
            return {}
    variants = {label: changes | dict(variant) for label, variant in comparison.variants.items()}
    return {label: make(profile, 3, folds, seeds, **fields) for label, fields in variants.items()}


def thickest(profile: str) -> tuple[float, float, float]:
    """The spacing (z, y, x) in mm of the sweep's thickest slices, which the rule has augmented in their plane."""
    return THICKNESS[profile][-1], IN_PLANE[profile], IN_PLANE[profile]


def anisotropy(
    profile: str, folds: Iterable[int] | None = None, seeds: Iterable[int] | None = None, **changes: Any
) -> dict[tuple[str, float], list[Experiment]]:
    """The planned 2D and 3D U-Nets for gliomas in slices of each thickness, by network and thickness in mm.

    Both are planned anew at every spacing, with the patch, poolings, batch and augmentation that follow. All take the
    same number of steps. ``folds``, ``seeds`` and ``changes`` as in :func:`runs`.
    """
    folds, changes = screened(profile, folds, PLAIN | changes, SCREENING.get(profile, {}))
    seeds = None if seeds is None else tuple(seeds)
    plane = IN_PLANE[profile]
    return {
        (f"{dimensions}D", thickness): nnunet.glioma(
            profile, dimensions, folds, seeds, **changes | {"spacing": (thickness, plane, plane)}
        )
        for thickness in THICKNESS[profile]
        for dimensions in (2, 3)
    }


def masked_normalisation(profile: str, **changes: Any) -> dict[str, list[Experiment]]:
    """The planned 3D network for gliomas, its intensities normalised by the brain alone and by the whole box."""
    folds = scales.FOLDS[profile]
    alone = nnunet.glioma(profile, 3, folds, **changes)
    return {"brain alone": alone, "whole box": [one.changed(normalisation="whole") for one in alone]}
