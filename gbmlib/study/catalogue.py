"""All runs that the book shows, in the order of their worth: what is decided first comes first.

A *family* is what answers one question; a half of it decides nothing, so each is run whole before the next begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from gbmlib.analysis.treatments import PILOT, voxels_of
from gbmlib.study import ablations, code_differences, cross_validation, head_to_head, nnunet, nnunet_ablations, scales
from gbmlib.study.records import Record
from gbmlib.training import batches
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble

Run = Experiment | Ensemble

#: The cohorts that the published runs were made on. Any other takes the place of the gliomas.
PUBLISHED = ("brats2018-19", scales.EXTERNAL, nnunet.HIPPOCAMPUS_COHORT)


def _flat(groups: Mapping[Any, Iterable[Run]]) -> list[Run]:
    return [run for group in groups.values() for run in group]


def _rates(profile: str, **own: Any) -> list[Run]:
    """The search that makes the learning rates of the head to head comparable, on the pilot's fold."""
    return _flat(head_to_head.rates(profile, **PILOT, **own)) if profile in head_to_head.WITH_NORMALISED else []


def _more_seeds(profile: str, **own: Any) -> list[Run]:
    """The head to head with further seeds, one after the other; the V-Net as published has the first alone."""
    seeds = scales.SEEDS[profile][1:] if profile in head_to_head.WITH_NORMALISED else ()
    groups = [head_to_head.cells(profile, seeds=(seed,), **own) for seed in seeds]
    return [run for cells in groups for (network, _), runs in cells.items() if network != "V-Net" for run in runs]


def _external(profile: str, **own: Any) -> list[Run]:
    """Every network of the head to head on another cohort. The first short runs were not kept for that."""
    if profile != "study" or own:
        return []
    kinds: dict[str, list[Experiment]] = {}
    for run in (*_flat(head_to_head.cells(profile)), *_more_seeds(profile)):
        kinds.setdefault(run.changed(fold=0, seed=0).id, []).append(run)
    return [ensemble for runs in kinds.values() for ensemble in scales.external(runs)]


def _baseline(profile: str, **own: Any) -> list[Run]:
    seeds = (0,) if profile == "study" else scales.SEEDS[profile]
    norms = scales.VNET_NORMS if profile == "study" else ("none",)
    return [
        run
        for norm in norms
        for seed in seeds
        for run in scales.vnet(profile, scales.FOLDS[profile], norm=norm, seed=seed, **own)
    ]


def _penalty(profile: str, **own: Any) -> list[Run]:
    return [*scales.paper_a(profile, **own), *scales.paper_a(profile, l2=0.0, **own)]


def _folds(profile: str, **own: Any) -> list[Run]:
    return cross_validation.everything(cross_validation.networks(profile, **own), profile)


def _hippocampus_folds(profile: str, **own: Any) -> list[Run]:
    return [] if own else cross_validation.everything(cross_validation.of_hippocampus(profile), profile)


def _hippocampus(profile: str, **own: Any) -> list[Run]:
    return [] if own else [run for kind in (2, 3) for run in nnunet.hippocampus(profile, kind)]


def _choices(profile: str, **own: Any) -> list[Run]:
    return [run for one in ablations.choices(profile) for run in _flat(ablations.runs(one, profile, **own))]


def _untested(profile: str, **own: Any) -> list[Run]:
    return [run for one in nnunet_ablations.COMPARISONS for run in _flat(nnunet_ablations.runs(one, profile, **own))]


def simple_augmentation(profile: str, **own: Any) -> dict[str, list[Experiment]]:
    """The first paper's network with its own augmentation, with none, and with all of the second paper's."""
    return {
        "mirroring": scales.paper_a(profile, **own),
        "none": scales.paper_a(profile, **own | {"flips": 0.0}),
        "all of paper B's": scales.paper_a(profile, **own | {"augmentation": "nnunet"}),
    }


#: By name, the most valuable first: from a scale (and the name of a cohort of one's own) to the runs.
FAMILIES: dict[str, Callable[..., list[Run]]] = {
    "headtohead": lambda profile, **own: _flat(head_to_head.cells(profile, **own)),
    "rates": _rates,
    "headtohead-seeds": _more_seeds,
    "external": _external,
    "vnet": _baseline,
    "vae": lambda profile, **own: _flat(ablations.runs(ablations.VAE, profile, **own)),
    "se": lambda profile, **own: _flat(ablations.runs(ablations.SE, profile, **own)),
    "penalty": _penalty,
    "hippocampus-folds": _hippocampus_folds,
    "choices": _choices,
    "untested": _untested,
    "dice-terms": lambda profile, **own: [] if own else _flat(nnunet_ablations.dice_terms(profile)),
    "simple-augmentation": lambda profile, **own: _flat(simple_augmentation(profile, **own)),
    "crossvalidation": _folds,
    "masked-normalisation": lambda profile, **own: _flat(nnunet_ablations.masked_normalisation(profile, **own)),
    "anisotropy": lambda profile, **own: _flat(nnunet_ablations.anisotropy(profile, **own)),
    "unet": lambda profile, **own: [run for kind in (2, 3) for run in nnunet.glioma(profile, kind, **own)],
    "rescue": lambda profile, **own: _flat(ablations.rescued(**own)) if profile == "short" else [],
    "code": lambda profile, **own: _flat(code_differences.ladder(profile, **own)),
    "hippocampus": _hippocampus,
}


def families(profile: str, cohorts: Sequence[str], only: Iterable[str] = ()) -> dict[str, list[Run]]:
    """The runs of each family that can be made from some cohorts, in order of worth; each run in the first that has it.

    Args:
        profile: a scale (``study.scales.PROFILES``).
        cohorts: names of those at hand. One that nothing was published of takes the place of the gliomas.
        only: names of :data:`FAMILIES`; of none all.
    """
    strange = [name for name in cohorts if name not in PUBLISHED]
    own = {"cohort": strange[0]} if strange else {}
    wanted, known = {}, set()
    for name in only or FAMILIES:
        runs = {run.id: run for run in FAMILIES[name](profile, **own) if set(cohorts_of(run)) <= set(cohorts)}
        wanted[name] = [run for key, run in runs.items() if key not in known]
        known |= set(runs)
    return {name: runs for name, runs in wanted.items() if runs}


def cohorts_of(run: Run) -> tuple[str, ...]:
    """The names of all cohorts that a run reads."""
    others = run.elsewhere or ()
    return (run.cohort, *((others,) if isinstance(others, str) else others))


def expected_seconds(run: Run, records: Iterable[Record], cases: int = 20) -> float:
    """How long a run will take on the machine that made some records, going by those that are most like it.

    A training takes time for every voxel that it sees, at the median rate of the records of its kind; what is made of
    trained networks takes the median of its like. NaN where there is nothing to go by.

    Args:
        cases: that the run trains on, where an epoch is a pass over them.
    """
    kind = _kind(run)
    alike = [record for record in records if _kind(record.experiment) == kind]
    if not alike:
        return float("nan")
    if isinstance(run, Ensemble):
        return median(record.provenance["seconds"] for record in alike)
    return median(record.provenance["seconds"] / voxels_of(record) for record in alike) * voxels_seen(run, cases)


def voxels_seen(run: Experiment, cases: int) -> int:
    """Voxels of all patches of a training on some cases, to its last epoch."""
    steps = run.epochs * batches.per_epoch(run, cases)
    return steps * run.batch_size * run.patch_size[0] * run.patch_size[1] * run.patch_size[2]


def _kind(run: Run) -> tuple[Any, ...]:
    """What decides how long a voxel takes."""
    if isinstance(run, Ensemble):
        return "ensemble", run.cohort, run.elsewhere, run.mirrored
    return run.model, run.is_2d, run.cohort, run.options.get("filters"), run.options.get("kernel_size")
