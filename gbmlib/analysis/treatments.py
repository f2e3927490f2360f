"""What two groups of runs differ in: whether it acted at all, and whether both sides had the same budget.

Both are told from records and configurations, by what a change of a field can do, never by a list of runs.
``analysis.soundness`` gathers what speaks against a comparison.
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
from gbmlib.study.records import Record, Store, steps_of, voxels_of
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
    found = []
    for record in records:
        if isinstance(record.experiment, Ensemble):
            members = record.experiment.members if record.store else ()
            found += [member for of in members if (member := record.store.get(of))]
        else:
            found.append(record)
    return found


def family(experiment: Experiment) -> str:
    """What runs of one configuration share, whatever their fold and seed."""
    return experiment.model_copy(update={"fold": 0, "seed": 0}).canonical


# ------------------------------------------------------------------------------------------------------------- vacuous


def vacuous(base: Sequence[Record], other: Sequence[Record], change: Sequence[float] = ()) -> list[str]:
    """That what is compared did not act, a sentence for each way of telling; empty where it did."""
    said = []
    fields = differing(base, other)
    for field, check in ACTS.items():
        if field in fields and (reason := check((*base, *other))):
            said.append(f"vacuous: {reason}")
    change = np.abs(np.asarray(change, float))
    if change.size and change.max() <= intervals.STORAGE and not said and fields:
        said.append(f"vacuous: no case changes by more than {intervals.STORAGE:g}, as rounding alone may do")
    return list(dict.fromkeys(said))


def _rule_learned_nothing(records: Iterable[Record]) -> str:
    ruled = [of for of in records if isinstance(of.experiment, Ensemble) and of.experiment.single_components]
    if any(record.provenance["single_components"] for record in ruled):
        return ""
    return "no class is a single component in all training cases of any fold, so the rule removes nothing"


def _patches_are_alike(records: Iterable[Record]) -> str:
    shared = [overlap(record) for record in networks(records)]
    shared = [value for value in shared if value is not None]
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
    of, known = record.experiment, _fingerprint(record)
    if known is None:
        return None
    shapes = zip(known.shapes, known.spacings, strict=True)
    grids = [new_shape(*case, of.spacing) if of.spacing else case[0] for case in shapes]
    whole = of.cropping == "none" and known.kept
    stretch = known.kept ** (-1 / 3) if whole else 1.0
    return float(np.mean([_shared(grid, of, stretch) for grid in grids]))


def _shared(grid: Sequence[int], of: Experiment, stretch: float) -> float:
    """Of one case: along an axis with room for n + 1 places, two of them lie n (n + 2) / (3 n + 3) apart on average."""
    sizes = [round(stretch * grid[axis]) for axis in of.axes]
    rooms = [max(size - patch, 0) for size, patch in zip(sizes, of.patch_size, strict=True)]
    apart = [room * (room + 2) / (3 * (room + 1)) for room in rooms]
    return prod(max(0.0, 1 - gap / patch) for gap, patch in zip(apart, of.patch_size, strict=True))


def _fingerprint(record: Record) -> Fingerprint | None:
    paths = [path_of(record.experiment.cohort, folder) for folder in (record.store.folders if record.store else ())]
    return next((Fingerprint.read(path) for path in paths if path.exists()), None)


# ------------------------------------------------------------------------------------------------------------- unequal


def unequal(base: Sequence[Record], other: Sequence[Record]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How the budgets of two sides differ: what makes the comparison unfair, and what belongs to it, in sentences.

    It belongs to it where the sides differ in something that sets a budget (:data:`SETS_BUDGET`), and where as many
    voxels are seen in larger batches.
    """
    sides = [networks(side) for side in (base, other)]
    if not all(sides):
        return (), ()
    fields = differing(base, other)
    steps, voxels = ([_mean(side, count) for side in sides] for count in (steps_of, voxels_of))
    unfair, by_design = [], []
    words = []
    if _differ(steps):
        words.append(f"{steps[0]:,.0f} steps against {steps[1]:,.0f}")
    if _differ(voxels):
        words.append(f"{voxels[0] / 1e6:,.0f} million voxels seen against {voxels[1] / 1e6:,.0f}")
    if words:
        belongs = any(field in fields for field in SETS_BUDGET) or not _differ(voxels)
        (by_design if belongs else unfair).append(f"unequal: {', '.join(words)}")
    models = [{record.experiment.model for record in side} for side in sides]
    rates = [{record.experiment.learning_rate for record in side} for side in sides]
    if models[0] != models[1] and rates[0] != rates[1] and not all(searched(side[0]) for side in sides):
        listed = " against ".join(", ".join(f"{rate:g}" for rate in sorted(side)) for side in rates)
        unfair.append(f"unequal: the networks' learning rates, {listed}, were not searched alike")
    return tuple(unfair), tuple(by_design)


def searched(record: Record) -> bool:
    """Whether several learning rates of this network were tried on the pilot's fold, at one and the same schedule.

    A network takes the rate that was found at home under other pipelines too.
    """
    if record.store is None:
        return False
    network = _network(record.experiment)
    rates: dict[Any, set[float]] = {}
    for folder in record.store.folders:
        for key, rate in _rates(folder, changed(folder)):
            if key[:3] == network:
                rates.setdefault(key, set()).add(rate)
    return any(len(tried) >= RATES for tried in rates.values())


def _network(of: Experiment) -> tuple[str, str, str]:
    """A network and the cohort it learns: how its output begins goes with the pipeline's loss."""
    options = {name: value for name, value in of.options.items() if name != "output_gain"}
    return of.model, json.dumps(options, sort_keys=True), of.cohort


def differing(base: Sequence[Record], other: Sequence[Record]) -> set[str]:
    """The fields in which the configurations of two sides differ, fold and seed aside; options as ``options.NAME``."""
    ours, theirs = (_fields(side[0].experiment) for side in (base, other))
    return {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}


def _fields(of: Experiment | Ensemble) -> Mapping[str, Any]:
    """The fields of a configuration; what an ensemble averages stands for itself in ``members``."""
    members = of.members if isinstance(of, Ensemble) else (of,)
    fields = {"members": tuple(family(member) for member in members)} if len(members) > 1 else {}
    for member in members[:1]:
        plain = member.model_dump(mode="json", exclude={"fold", "seed"})
        fields |= {f"options.{name}": value for name, value in plain.pop("options").items()} | plain
    added = {"mirrored": None, "single_components": False}  # of a network that nothing is made of
    return fields | {name: getattr(of, name, default) for name, default in added.items()}


def _differ(values: Sequence[float]) -> bool:
    return max(values) - min(values) > EQUAL * max(values)


def _mean(records: Sequence[Record], count: Callable[[Record], int]) -> float:
    return float(np.mean([count(record) for record in records]))


def changed(folder: Path) -> int:
    """When a folder last got or lost a record: what was read from it before is known until then."""
    return folder.stat().st_mtime_ns if folder.exists() else 0


@lru_cache(maxsize=16)
def _rates(folder: Path, at: int) -> list[tuple[tuple[Any, ...], float]]:
    """(network, cohort and schedule) and learning rate of each run of the pilot's fold in a folder."""
    found = []
    for record in Store(folder).all():
        of = record.experiment
        if isinstance(of, Experiment) and of.fold == PILOT["fold"] and of.seed == PILOT["seed"]:
            found.append(((*_network(of), of.epochs, of.batches), of.learning_rate))
    return found
