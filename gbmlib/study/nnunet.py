"""The U-Nets of nnU-Net (Isensee et al. 2018) as experiments: a plan, and how much of its training a scale affords.

What the planner decides for a data set (grid, normalisation, patch, batch, poolings, which Dice) comes from the plan
(``planner``); the training is the paper's. An epoch is 250 batches in the paper, and it trains until its loss
stands still, hundreds of epochs: that is the scale ``paper``. The other scales shorten the schedule and say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import isfinite
from typing import Any

from gbmlib import models, planner
from gbmlib.cohorts import CaseError, Cohort, open_cohort
from gbmlib.cohorts.opening import opened
from gbmlib.planner import Network, Plan, memory
from gbmlib.preprocess import pipeline
from gbmlib.preprocess.fingerprint import Fingerprint, fingerprint, path_of
from gbmlib.study import scales
from gbmlib.study.records import BOOK
from gbmlib.training.configuration import Experiment, as_triplet

#: The U-Nets of section 2.1: of slices, of volumes, and the cascade: of volumes at low resolution, and of volumes and
#: what that one predicted.
KINDS = (2, 3, "low", "cascade")

#: Fields of a configuration that this paper decides itself: exclusive labels, its own augmentation, and by the plan.
DECIDED = ("regions", "flips", "normalisation")

#: Sections 2.3 and 2.4 of the paper.
PAPER: dict[str, Any] = {
    "batches": 250,
    "validation_batches": 50,
    "foreground": "paper",
    "augmentation": "nnunet",
    "learning_rate": 3e-4,
    "schedule": "plateau_paper",
    "epochs": 1000,
    "mirrored_inference": True,
}

#: What each scale changes. Where the schedule is short, the rate decays along a polynomial: the paper's waits for 30
#: epochs without progress before its first step. Adam moves a weight by no more than the rate in a step, and an output
#: without bias has far to go, so few steps want a higher rate: 3e-3 was the best of 1e-3, 3e-3 and 1e-2 on fold 2. The
#: study's networks are half as wide as the plan's, so that five folds of four networks are hours of one processor.
SCALES: dict[str, dict[str, Any]] = {
    "test": {"epochs": 2, "batches": 2, "validation_batches": 1, "schedule": "polynomial", "threads": 1, "filters": 4},
    "demo": {
        "epochs": 6,
        "batches": 30,
        "validation_batches": 6,
        "schedule": "polynomial",
        "learning_rate": 1e-2,
        "precision": "fast",
        "filters": 8,
    },
    "short": {
        "epochs": 8,
        "batches": 50,
        "validation_batches": 10,
        "schedule": "polynomial",
        "learning_rate": 3e-3,
        "precision": "bfloat16",
        "threads": 1,
        "filters": 16,
    },
    "study": {
        "epochs": 24,
        "batches": 30,
        "validation_batches": 10,
        "schedule": "polynomial",
        "learning_rate": 3e-3,
        "draws": "seed and fold",
        "precision": "bfloat16",
        "threads": 1,
        "filters": 16,
    },
    "paper": {"precision": "bfloat16"},
}

#: Hippocampus on a processor: 600 steps of the paper's own plan, width, batch and all, in less than half an hour.
HIPPOCAMPUS = {"short": {"epochs": 6, "batches": 100, "validation_batches": 5, "threads": 2, "filters": 30}}
HIPPOCAMPUS_COHORT = "msd-task04-hippocampus-260"


@lru_cache(maxsize=32)
def published_fingerprint(cohort_name: str, folder: str = BOOK) -> Fingerprint | None:
    """The fingerprint of a cohort that was measured before and published, so that its data are not needed."""
    path = path_of(cohort_name, folder)
    return Fingerprint.read(path) if path.exists() else None


def plan_of(cohort: Cohort | str, spacing: Sequence[float] | None = None, cascade: bool = False) -> Plan:
    """The plan of a cohort, by its name where its fingerprint is published or the cohort is open; else it is measured.

    A published fingerprint counts where the data are not here, or are those that it was measured on.

    Args:
        spacing: (z, y, x) in mm to plan for in place of the median: the study's coarser grids.
        cascade: plan one even where the rule has none.

    Raises:
        ValueError: a name without a published fingerprint, of a cohort that is not open.
    """
    name = cohort if isinstance(cohort, str) else cohort.name
    here = opened(name) if isinstance(cohort, str) else cohort
    measured = published_fingerprint(name)
    if measured is None or (here is not None and measured.digest not in ("", here.fingerprint)):
        try:
            measured = _measured(here or open_cohort(name))
        except CaseError as error:
            if not isinstance(cohort, str):
                raise
            raise ValueError(f"{path_of(name, BOOK)} is missing; open the cohort first ({error})") from error
    return planner.plan(at_spacing(measured, spacing), cascade=cascade)


#: What was measured in this process, by what identifies a cohort's data.
_known: dict[tuple[Any, ...], Fingerprint] = {}


def _measured(cohort: Cohort) -> Fingerprint:
    """A cohort's fingerprint, measured once: it reads every case."""
    key = (cohort.name, cohort.fingerprint, cohort.modalities)
    if key not in _known:
        _known[key] = fingerprint(cohort, progress=False)
    return _known[key]


def at_spacing(original: Fingerprint, spacing: Sequence[float] | None) -> Fingerprint:
    """The fingerprint of the data after resampling every case to a spacing (z, y, x) in mm."""
    if spacing is None:
        return original
    if not all(isfinite(step) and step > 0 for step in spacing):
        raise ValueError(f"spacing {tuple(spacing)}: it takes positive numbers of mm")
    shapes = (pipeline.new_shape(*case, spacing) for case in zip(original.shapes, original.spacings, strict=True))
    return replace(original, shapes=tuple(shapes), spacings=(tuple(map(float, spacing)),) * len(original.shapes))


def unet(
    profile: str,
    plan: Plan,
    network: Network,
    cohort: str,
    changes: Mapping[str, Any],
    folds: Iterable[int] | None = None,
    seeds: Iterable[int] | None = None,
) -> list[Experiment]:
    """A planned network's training, a run for each fold and seed.

    Args:
        plan, network: a plan and one of its networks.
        cohort: the cohort's name.
        folds, seeds: None for the first fold and seed 0.
        changes: options of the network (``models.unet.UNet``), fields of :class:`Experiment` and ``n_folds`` alike;
            None keeps the scale's own. :data:`DECIDED` are not read.
    """
    changes = {name: value for name, value in changes.items() if value is not None and name not in DECIDED}
    scale = SCALES[profile] | changes
    fields: dict[str, Any] = PAPER | {
        "model": "unet",
        "cohort": cohort,
        "regions": "labels",
        "spacing": network.spacing,
        "resampling": "spline",
        "normalisation": _normalisation(plan, cohort, scale.get("modalities")),
        "axes": network.axes,
        "patch_size": network.training_patch,
        "batch_size": network.batch_size,
        "loss": "dice_ce" if network.dice == "sample" else "dice_ce_batch",
    }
    options = memory.options(network)
    names = models.options_of("unet")
    options |= {name: value for name, value in scale.items() if name in names}
    fields |= {name: value for name, value in scale.items() if name not in names}
    folds, seeds = (0,) if folds is None else folds, (0,) if seeds is None else seeds
    fields["options"] = options
    return [Experiment(**one | {"seed": seed}) for seed in seeds for one in scales.of_folds(fields, folds)]


def _normalisation(plan: Plan, cohort: str, modalities: Sequence[str] | None) -> str | tuple[str, ...]:
    """The plan's scheme of each channel of a network; where they differ, the open cohort tells which is which."""
    if len(set(plan.normalisation)) == 1:
        return plan.normalisation[0]
    schemes = dict(zip(open_cohort(cohort).modalities, plan.normalisation, strict=True))
    return tuple(schemes[name] for name in open_cohort(cohort, modalities).modalities)


def glioma(
    profile: str,
    kind: int | str,
    folds: Iterable[int] | None = None,
    seeds: Iterable[int] | None = None,
    **changes: Any,
) -> list[Experiment]:
    """A planned network for the glioma cohort of a scale, on that scale's grid.

    At a coarser grid images are averaged over the new voxels, as for the first paper's networks, where point samples of
    a spline would alias. ``changes`` as in :func:`unet`; ``spacing`` and ``cohort`` also change what is planned for.

    Args:
        kind: one of :data:`KINDS`. A glioma has too few voxels for a cascade, so the planner is made to plan one.
    """
    fields = {name: scales.SCALES[profile][name] for name in ("cohort", "spacing", "folds")} | changes
    spacing = as_triplet(fields.pop("spacing"))
    if spacing is not None:
        fields = {"resampling": "average"} | fields
    return _planned(profile, kind, plan_of(fields["cohort"], spacing, cascade=True), fields, folds, seeds)


def hippocampus(
    profile: str,
    kind: int | str,
    folds: Iterable[int] | None = None,
    seeds: Iterable[int] | None = None,
    **changes: Any,
) -> list[Experiment]:
    """The planned network for the Decathlon's hippocampus, all 260 cases, five folds; ``kind`` of :data:`KINDS`."""
    fields = HIPPOCAMPUS.get(profile, {}) | {"modalities": ("mri",), "cohort": HIPPOCAMPUS_COHORT} | changes
    spacing = as_triplet(fields.pop("spacing", None))
    return _planned(profile, kind, plan_of(HIPPOCAMPUS_COHORT, spacing, cascade=True), fields, folds, seeds)


def _planned(
    profile: str,
    kind: int | str,
    plan: Plan,
    fields: Mapping[str, Any],
    folds: Iterable[int] | None,
    seeds: Iterable[int] | None,
) -> list[Experiment]:
    """The networks of a kind, a run for each fold and seed."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: unknown; use one of {KINDS}")
    network = {2: plan.two_d, "low": plan.low_res}.get(kind, plan.three_d)
    folds, seeds = (0,) if folds is None else tuple(folds), (0,) if seeds is None else tuple(seeds)
    if kind != "cascade":
        return unet(profile, plan, network, fields["cohort"], fields, folds, seeds)
    firsts = {seed: _planned(profile, "low", plan, fields, (0,), (seed,))[0] for seed in seeds}
    # Where there is a cascade, the second network sees small parts of cases: the batch counts as one volume in the Dice
    # (section 2.3). The short runs, of a cascade that the rule does not have, took each sample by itself.
    fields = fields if profile in scales.AS_FIRST_PUBLISHED else {"loss": "dice_ce_batch"} | dict(fields)
    return [
        experiment.changed(previous=firsts[experiment.seed])
        for experiment in unet(profile, plan, network, fields["cohort"], fields, folds, seeds)
    ]
