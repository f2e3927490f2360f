"""What two groups of runs differ in: whether it acted at all, and whether both sides had the same budget.

Both are told from records and configurations, by what a change of a field can do, never by a list of runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gbmlib.analysis import intervals
from gbmlib.preprocess.fingerprint import Fingerprint, path_of
from gbmlib.preprocess.pipeline import new_shape
from gbmlib.study import scales
from gbmlib.study.records import HELD_OUT, Record, Store, steps_of, voxels_of
from gbmlib.study.scales import PILOT
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble

#: So many rates, tried at one schedule, are a search.
RATES = 3

#: Two random patches that share more of their voxels hardly differ.
OVERLAP = 0.8

#: Steps and voxels that differ by less are equal: folds differ by a case.
EQUAL = 0.05

#: What gives two sides other budgets when it is what is compared: options of a plan, and what is built on networks.
SETS_BUDGET = ("options.dimensions", "previous", "spacing", "members")


def networks(records: Iterable[Record]) -> list[Record]:
    """The records of the trained networks behind some records: an ensemble's are those of its members."""
    trained = []
    for record in records:
        if not isinstance(record.experiment, Ensemble):
            trained.append(record)
        elif record.store:
            trained += filter(None, map(record.store.get, record.experiment.members))
    return trained


def configuration_of(experiment: Experiment) -> str:
    """The configuration without fold and seed, which its runs share."""
    return experiment.model_copy(update={"fold": 0, "seed": 0}).canonical


def differing(base: Sequence[Record], other: Sequence[Record]) -> set[str]:
    """The fields in which the configurations of two sides differ, fold and seed aside; options as ``options.NAME``."""
    ours, theirs = (_fields(side[0].experiment) for side in (base, other))
    return {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}


def _fields(run: Experiment | Ensemble) -> Mapping[str, Any]:
    """The fields of a configuration; what an ensemble averages stands for itself in ``members``."""
    members = run.members if isinstance(run, Ensemble) else (run,)
    fields = {"members": tuple(map(configuration_of, members))} if len(members) > 1 else {}
    plain = members[0].model_dump(mode="json", exclude={"fold", "seed"})
    fields |= {f"options.{name}": value for name, value in plain.pop("options").items()} | plain
    added = {"mirrored": None, "single_components": False}  # of a network that nothing is made of
    return fields | {name: getattr(run, name, default) for name, default in added.items()}


# ------------------------------------------------------------------------------------------------------------- vacuous


def vacuous(base: Sequence[Record], other: Sequence[Record], change: Sequence[float] = ()) -> list[str]:
    """Sentences on why the compared change had no effect on the runs, one for each sign of it; empty where it had."""
    fields = differing(base, other)
    reasons = (check((*base, *other)) for field, check in ACTS.items() if field in fields)
    sentences = list(dict.fromkeys(f"vacuous: {reason}" for reason in reasons if reason))
    change = np.abs(np.asarray(change, float))
    if change.size and change.max() <= intervals.STORAGE and not sentences and fields:
        sentences.append(f"vacuous: no case changes by more than {intervals.STORAGE:g}, as rounding alone may do")
    return sentences


def _rule_learned_nothing(records: Iterable[Record]) -> str:
    ruled = [record for record in records if getattr(record.experiment, "single_components", False)]
    if any(record.provenance["single_components"] for record in ruled):
        return ""
    return "no class is a single component in all training cases of any fold, so the rule removes nothing"


def _patches_are_alike(records: Iterable[Record]) -> str:
    shared = [share for record in networks(records) if (share := overlap(record)) is not None]
    if not shared or min(shared) < OVERLAP:
        return ""
    share = int(100 * min(shared))
    return f"two random patches of a case share {share}% of their voxels, so where they lie hardly matters"


#: Fields of a configuration whose change may do nothing, and what tells from the records of both sides that it did not.
ACTS: dict[str, Callable[[Iterable[Record]], str]] = {
    "single_components": _rule_learned_nothing,
    "foreground": _patches_are_alike,
    "crops": _patches_are_alike,
    "fixed_crops": _patches_are_alike,
}


def overlap(record: Record) -> float | None:
    """The share of its voxels that a random training patch is expected to have in common with another of its case.

    From the published shapes of the cohort's cases; None where there are none. Shapes are of the brain's box; whole
    volumes are taken to be longer by the same factor along each axis.
    """
    run = record.experiment
    paths = [path_of(run.cohort, folder) for folder in (record.store.folders if record.store else ())]
    fingerprint = next((Fingerprint.read(path) for path in paths if path.exists()), None)
    if fingerprint is None:
        return None
    shapes = zip(fingerprint.shapes, fingerprint.spacings, strict=True)
    grids = [new_shape(*case, run.spacing) if run.spacing else case[0] for case in shapes]
    stretch = fingerprint.kept ** (-1 / 3) if run.cropping == "none" and fingerprint.kept else 1.0
    return float(np.mean([_shared(grid, run, stretch) for grid in grids]))


def _shared(grid: Sequence[int], run: Experiment, stretch: float) -> float:
    """Overlap in one case: on an axis with n + 1 places for a patch, two lie n (n + 2) / (3 n + 3) apart on average."""
    sizes = [round(stretch * grid[axis]) for axis in run.axes]
    rooms = [max(size - patch, 0) for size, patch in zip(sizes, run.patch_size, strict=True)]
    apart = [room * (room + 2) / (3 * (room + 1)) for room in rooms]
    return prod(max(0.0, 1 - gap / patch) for gap, patch in zip(apart, run.patch_size, strict=True))


# ------------------------------------------------------------------------------------------------------------- unequal


def unequal(base: Sequence[Record], other: Sequence[Record]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How the budgets of two sides differ, the other's first: what makes the comparison unfair, and what belongs to it.

    It belongs to it where the sides differ in something that sets a budget (:data:`SETS_BUDGET`), where as many voxels
    are seen in larger batches, and where each side is shown to have reached its plateau (:func:`doubled`).
    """
    sides = [networks(side) for side in (base, other)]
    if not all(sides):
        return (), ()
    fields = differing(base, other)
    steps, voxels = ([np.mean([count(record) for record in side]) for side in sides] for count in (steps_of, voxels_of))
    unfair, by_design, budgets = [], [], []
    if _differ(steps):
        budgets.append(f"{steps[1]:,.0f} steps against {steps[0]:,.0f}")
    if _differ(voxels):
        budgets.append(f"{voxels[1] / 1e6:,.0f} million voxels seen against {voxels[0] / 1e6:,.0f}")
    if budgets:
        belongs = any(field in fields for field in SETS_BUDGET) or not _differ(voxels) or all(map(_plateau, sides))
        (by_design if belongs else unfair).append(f"unequal: {', '.join(budgets)}")
    models = [{record.experiment.model for record in side} for side in sides]
    rates = [{record.experiment.learning_rate for record in side} for side in sides]
    if models[0] != models[1] and rates[0] != rates[1] and not all(searched(side[0]) for side in sides):
        listed = " against ".join(", ".join(f"{rate:g}" for rate in sorted(side)) for side in reversed(rates))
        unfair.append(f"unequal: the networks' learning rates, {listed}, were not searched alike")
    return tuple(unfair), tuple(by_design)


def doubled(record: Record) -> float | None:
    """The change in held-out Dice when a network trains twice its schedule; None where that was not run."""
    run = record.experiment
    if record.store is None or run.folds <= PILOT["fold"]:
        return None
    once = run.model_copy(update=PILOT)
    pair = [record.store.get(once), record.store.get(scales.doubled(once))]
    if not all(pair):
        return None
    each = (one.cases[(one.cases.split == HELD_OUT) & (one.cases.metric == "dice")].value.mean() for one in pair)
    once, twice = map(float, each)
    return twice - once


def _plateau(records: Sequence[Record]) -> bool:
    """Whether twice the schedule was run for each configuration, and changes its Dice by less than the margin."""
    of_each = {configuration_of(record.experiment): record for record in records}
    changes = [(doubled(record), intervals.margin(record.experiment.cohort)) for record in of_each.values()]
    return all(change is not None and abs(change) < margin for change, margin in changes)


def searched(record: Record) -> bool:
    """Whether several learning rates of this network were tried on the pilot's fold, at one and the same schedule.

    A network takes the rate that was found at home under other pipelines too.
    """
    tried: dict[Any, set[float]] = {}
    for folder in record.store.folders if record.store else ():
        for (network, schedule), rate in _rates(folder, changed(folder)):
            if network == _network(record.experiment):
                tried.setdefault(schedule, set()).add(rate)
    return any(len(rates) >= RATES for rates in tried.values())


def _network(run: Experiment) -> tuple[str, str, str]:
    """A network and the cohort it learns: how its output begins goes with the pipeline's loss."""
    options = {name: value for name, value in run.options.items() if name != "output_gain"}
    return run.model, json.dumps(options, sort_keys=True), run.cohort


@lru_cache(maxsize=16)
def _rates(folder: Path, at: int) -> list[tuple[tuple[Any, Any], float]]:
    """((network, schedule), learning rate) of each run of the pilot's fold in a folder."""
    runs = (record.experiment for record in Store(folder).all())
    pilots = [run for run in runs if isinstance(run, Experiment) and {"fold": run.fold, "seed": run.seed} == PILOT]
    return [((_network(run), (run.epochs, run.batches)), run.learning_rate) for run in pilots]


def changed(folder: Path) -> int:
    """When a folder last got or lost a record: what was read from it is cached until then."""
    return folder.stat().st_mtime_ns if folder.exists() else 0


def _differ(values: Sequence[float]) -> bool:
    return max(values) - min(values) > EQUAL * max(values)
