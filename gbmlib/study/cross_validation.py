"""The whole method of nnU-Net's first paper: networks, their averages, and what follows, over a cross-validation.

Isensee et al. (2018): 2D, 3D and cascade are trained in five folds (sections 2.1 and 2.3); their averages in pairs are
candidates too, and what does best on the held-out cases is chosen (section 2.6, ``analysis.leaderboard``); mirrorings
(2.4) and the single-component rule (2.5) are switched on and off for the same networks, which needs no training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from gbmlib.evaluation.components import CONNECTIVITY
from gbmlib.study import nnunet
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble

LOW_RESOLUTION = "low resolution"

#: Between the labels of the networks of a pair.
PLUS = " + "

Networks = Mapping[str, Sequence[Experiment]]
Groups = Mapping[str, Sequence[Experiment | Ensemble]]

#: The rows of the paper's table 2, and the kind of network in each (``study.nnunet.KINDS``).
NETWORKS: dict[str, int | str] = {"2D": 2, "3D": 3, LOW_RESOLUTION: "low", "cascade": "cascade"}

#: What is averaged in pairs: the first network of the cascade is no candidate.
CANDIDATES = ("2D", "3D", "cascade")

#: The demonstration trains eight small networks in the time in which other chapters train two: coarser, and in two
#: folds.
SCALES: dict[str, dict[str, Any]] = {"demo": {"spacing": 4}}
PARTS = {"demo": 2}

#: On the hippocampus the plan's own batch at about half of its width: 200 steps in the short runs, an hour of two cores
#: for five folds of two networks; 1,500 at the study's scale.
HIPPOCAMPUS: dict[str, dict[str, Any]] = {
    "short": {"epochs": 4, "batches": 50, "filters": 16, "threads": 1},
    "study": {"epochs": 15, "batches": 100},
}

#: How voxels hang together for the rule of single components, by scale and cohort, where not across faces alone. So
#: taken, 6 and 13 of the 260 labels of the two parts of the hippocampus fall apart and the rule learns nothing; across
#: corners too 1 and 0.
NEIGHBOURS = {("study", nnunet.HIPPOCAMPUS_COHORT): 26}


def networks(
    profile: str,
    folds: Iterable[int] | None = None,
    seeds: Iterable[int] | None = None,
    make: Callable[..., list[Experiment]] = nnunet.glioma,
    only: Iterable[str] = tuple(NETWORKS),
    **changes: Any,
) -> dict[str, list[Experiment]]:
    """The networks of a cross-validation, a run for each fold and seed, by their label in table 2.

    Args:
        folds: None for all.
        make: ``study.nnunet.glioma`` or ``study.nnunet.hippocampus``.
        only: labels of :data:`NETWORKS`.
        changes: as ``make`` takes them; None keeps the scale's own.
    """
    changes = SCALES.get(profile, {}) | {name: value for name, value in changes.items() if value is not None}
    seeds = None if seeds is None else tuple(seeds)
    parts = changes.get("n_folds") or PARTS.get(profile) or make(profile, 3, **changes)[0].folds
    folds = range(parts) if folds is None else tuple(folds)
    labels = [label for label in NETWORKS if label in set(only)]
    by_label = {label: make(profile, NETWORKS[label], folds, seeds, **changes) for label in labels}
    return {label: [_in_parts(run, parts) for run in runs] for label, runs in by_label.items()}


def _in_parts(run: Experiment, parts: int) -> Experiment:
    """The run in a cross-validation with this number of folds."""
    previous = run.previous and run.previous.changed(folds=parts)
    return run if run.folds == parts else run.changed(folds=parts, previous=previous)


def of_hippocampus(profile: str, folds: Iterable[int] | None = None) -> dict[str, list[Experiment]]:
    """2D and 3D for the hippocampus, all 260 cases: the planner has no cascade for it, nor has table 2."""
    changes = HIPPOCAMPUS.get(profile, {})
    return networks(profile, folds, make=nnunet.hippocampus, only=("2D", "3D"), **changes)


def averages(groups: Networks) -> dict[str, list[Ensemble]]:
    """The average of each pair of candidate networks, run by run."""
    return {
        PLUS.join(pair): [Ensemble(members=members) for members in zip(*(groups[label] for label in pair), strict=True)]
        for pair in combinations([label for label in groups if label in CANDIDATES], 2)
    }


def unmirrored(groups: Groups) -> dict[str, list[Ensemble]]:
    """The same networks and averages without test-time mirroring."""
    return {label: [_changed(run, mirrored=False) for run in runs] for label, runs in groups.items()}


def single_components(groups: Groups, profile: str) -> dict[str, list[Ensemble]]:
    """The same with the rule of single components, learned on each fold's training labels (:data:`NEIGHBOURS`)."""

    def ruled(run: Experiment | Ensemble) -> Ensemble:
        return _changed(run, single_components=True, connectivity=NEIGHBOURS.get((profile, run.cohort), CONNECTIVITY))

    return {label: [ruled(run) for run in runs] for label, runs in groups.items()}


def _changed(run: Experiment | Ensemble, **changes: Any) -> Ensemble:
    ensemble = run if isinstance(run, Ensemble) else None
    names = ("mirrored", "single_components", "connectivity")
    same = {name: getattr(ensemble, name) for name in names} if ensemble else {}
    return Ensemble(members=ensemble.members if ensemble else (run,), **same | changes)


def everything(groups: Networks, profile: str) -> dict[str, Sequence[Experiment | Ensemble]]:
    """All runs behind a chapter by label: the networks, their averages, and both switches of each."""
    rows: dict[str, Sequence[Experiment | Ensemble]] = {**groups, **averages(groups)}
    once = {f"{label}, once": runs for label, runs in unmirrored(groups).items()}
    ruled = {f"{label}, one component": runs for label, runs in single_components(rows, profile).items()}
    return {**rows, **once, **ruled}
