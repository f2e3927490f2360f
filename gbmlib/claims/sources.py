"""The groups of runs that claims are decided by, under the names that ``book/claims.yml`` calls them.

Each is made by the very functions that the chapters declare their runs with, so that a page and a verdict can never
speak of different runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from gbmlib.study import ablations, catalogue, cross_validation, head_to_head, nnunet_ablations, scales
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble

Runs = Mapping[str, Sequence[Experiment | Ensemble]]

GLIOMAS, HIPPOCAMPUS = "brats:PATH", "msd:PATH"


@dataclass(frozen=True)
class Source:
    """Groups of runs at every scale.

    Attributes:
        make: from a scale (``study.scales.PROFILES``) to the runs of each group, by label.
        data: what kind of data they need, as ``cohorts.open_cohort`` takes it.
    """

    make: Callable[[str], Runs]
    data: str = GLIOMAS


def choice(name: str) -> Source:
    """One of ``study.ablations.choices``, whose labels may follow the scale."""

    def make(profile: str) -> Runs:
        return ablations.runs(next(of for of in ablations.choices(profile) if of.name == name), profile)

    return Source(make)


def unvalidated(name: str) -> Source:
    """One of ``study.nnunet_ablations.COMPARISONS``."""
    comparison = next(of for of in nnunet_ablations.COMPARISONS if of.name == name)
    return Source(lambda profile: nnunet_ablations.runs(comparison, profile))


def networks(make: Callable[[str], cross_validation.Networks]) -> Callable[[str], Runs]:
    """The networks of a cross-validation and their averages, and each again without mirroring and with the
    single-component rule."""

    def all_of(profile: str) -> Runs:
        of = make(profile)
        rows = {**of, **cross_validation.averages(of)}
        once = {f"{label}, once": runs for label, runs in cross_validation.unmirrored(of).items()}
        ruled = {
            f"{label}, one component": runs for label, runs in cross_validation.single_components(rows, profile).items()
        }
        return {**rows, **once, **ruled}

    return all_of


def baseline(profile: str) -> Runs:
    """The V-Net, as published and where the scale has it normalised, and the first paper's network."""
    later = profile in head_to_head.WITH_NORMALISED
    folds, seeds = scales.FOLDS[profile], (0,) if later else scales.SEEDS[profile]
    norms = {"V-Net": "none"} | ({head_to_head.NORMALISED: "instance"} if later else {})
    of_vnet = {
        label: [run for seed in seeds for run in scales.vnet(profile, folds, norm, seed=seed)]
        for label, norm in norms.items()
    }
    return of_vnet | {"Paper A": scales.paper_a(profile, seeds=seeds)}


def penalty(profile: str) -> Runs:
    """The first paper's network with its penalty on the kernels, and without."""
    return {"with penalty": scales.paper_a(profile), "without penalty": scales.paper_a(profile, l2=0.0)}


def slices(profile: str) -> Runs:
    """The sweep over slice thickness: its thickest slices, and those as thick as a voxel is wide."""
    swept = nnunet_ablations.anisotropy(profile)
    names = {max(at for _, at in swept): "thickest slices", nnunet_ablations.IN_PLANE[profile]: "cubes"}
    return {f"{network}, {names[at]}": runs for (network, at), runs in swept.items() if at in names}


def factorial(profile: str) -> Runs:
    """The cells of the head to head."""
    return {head_to_head.named(cell): runs for cell, runs in head_to_head.cells(profile).items()}


SOURCES: dict[str, Source] = {
    "vae": Source(lambda profile: ablations.runs(ablations.VAE, profile)),
    "se": Source(lambda profile: ablations.runs(ablations.SE, profile)),
    "baseline": Source(baseline),
    "penalty": Source(penalty),
    "simple augmentation": Source(catalogue.simple_augmentation),
    **{f"choice: {of.name}": choice(of.name) for of in ablations.choices(scales.DEFAULT)},
    "gliomas": Source(networks(cross_validation.networks)),
    "hippocampus": Source(networks(cross_validation.of_hippocampus), HIPPOCAMPUS),
    **{f"untested: {of.name}": unvalidated(of.name) for of in nnunet_ablations.COMPARISONS},
    "masked normalisation": Source(nnunet_ablations.masked_normalisation),
    "Dice terms": Source(nnunet_ablations.dice_terms, HIPPOCAMPUS),
    "slices": Source(slices),
    "head to head": Source(factorial),
}


@cache
def runs_of(source: str, scale: str) -> Runs:
    """The runs of each group of a source (:data:`SOURCES`) at a scale, by label."""
    return SOURCES[source].make(scale)
