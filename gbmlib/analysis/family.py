"""Families of comparisons that answer one question: p-values corrected together, in a table of a row each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pandas as pd

from gbmlib.analysis import paired, scores
from gbmlib.analysis.intervals import MARGIN, NOTHING, UNDECIDED, Difference, mean_interval
from gbmlib.analysis.paired import Paired
from gbmlib.analysis.scores import Groups, UnpairedError
from gbmlib.study.records import HELD_OUT, TRAIN, Record

#: The columns of a :func:`table`.
COLUMNS = ("difference", "p", "rank_biserial", "decided", "cases", "seeds", "family")
COLUMNS += ("networks", "detectable", "margin", "unsound", "caution")

Key = TypeVar("Key")


def holm(p: Mapping[Key, float]) -> dict[Key, float]:
    """The p-values of a family, adjusted by Holm's method, which controls the chance of any false positive.

    The family is what is listed: a comparison that was not made yet (NaN) stays NaN but counts, so that making it later
    favours none of the others.
    """
    values = pd.Series(dict(p), dtype=float)
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"p lies between 0 and 1, unlike {values[(values < 0) | (values > 1)].to_dict()}")
    ordered = values.dropna().sort_values(kind="stable")
    steps = len(values) - np.arange(len(ordered))
    adjusted = np.minimum(np.maximum.accumulate(ordered * steps), 1.0)
    return {key: float(adjusted.get(key, np.nan)) for key in values.index}


def corrected(comparisons: Mapping[Key, Paired | None]) -> dict[Key, Paired | None]:
    """The same comparisons, their p corrected together (:func:`holm`); one that was not made is None, and counts."""
    adjusted = holm({key: math.nan if one is None else one.p for key, one in comparisons.items()})
    size = len(comparisons)
    return {key: one and replace(one, adjusted=adjusted[key], family=size) for key, one in comparisons.items()}


def table(comparisons: Mapping[Key, Paired | None]) -> pd.DataFrame:
    """A :func:`corrected` family, a row each.

    Returns:
        Columns ``difference`` (``analysis.intervals.NOTHING`` where none was made), ``p`` (corrected),
        ``rank_biserial``, ``decided``, ``cases``, ``seeds`` (the fewer of the two sides), ``family`` (its size),
        ``networks`` (the difference over networks), ``detectable`` (what they could have found), ``margin``,
        ``unsound`` and ``caution`` (sentences; empty where there is nothing to say).
    """
    rows = {}
    for key, one in corrected(comparisons).items():
        if one is None:
            size = len(comparisons)
            rows[key] = (NOTHING, math.nan, math.nan, UNDECIDED, 0, 0, size, NOTHING, math.nan, MARGIN, "", "")
            continue
        tests = (one.difference, one.adjusted, one.effect, one.decided, one.cases, min(one.seeds), one.family)
        networks = (one.networks.difference, one.networks.detectable) if one.networks else (NOTHING, math.nan)
        rows[key] = (*tests, *networks, one.margin, "; ".join(one.unsound), "; ".join(one.cautions))
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS))


def contrasts(groups: Groups, against: str = "first", split: str = HELD_OUT) -> pd.DataFrame:
    """Every group but the first minus the first, or the one before it, on the folds that both ran.

    Args:
        against: ``"first"``, or ``"previous"`` for changes that are turned on one after another.
        split: as in ``analysis.scores.by_seed``.

    Returns:
        Index: labels; columns ``against`` (a label), those of :func:`table`, ``folds``, and ``problem``, which says why
        there is nothing to compare and is empty otherwise.
    """
    if against not in ("first", "previous"):
        raise ValueError(f"against is {against!r}; use 'first' or 'previous'")
    labels, regions = list(groups), scores.common_regions(groups)
    comparisons, rows = {}, {}
    for number, label in enumerate(labels[1:], 1):
        base = labels[0 if against == "first" else number - 1]
        pair = scores.on_shared_folds(groups[base], groups[label])
        problem = ""
        try:
            comparisons[label] = paired.compare(*pair, regions=regions, split=split)
        except UnpairedError as error:
            comparisons[label], problem = None, str(error)
        rows[label] = (base, len({scores.fold_of(record) for record in pair[0]}), problem)
    named = pd.DataFrame.from_dict(rows, orient="index", columns=["against", "folds", "problem"])
    return named[["against"]].join(table(comparisons)).join(named[["folds", "problem"]])


def by_region(base: Sequence[Record], other: Sequence[Record]) -> pd.DataFrame:
    """Other minus base in Dice: a row for each region that both measured, and one for their mean.

    The mean is the comparison that is asked for, and stands by itself; the regions are a family of their own.

    Returns:
        Index: regions and ``"mean"``; columns of :func:`table`.

    Raises:
        UnpairedError: as ``analysis.paired.compare``.
    """
    mean = paired.compare(base, other)
    shared = scores.common_regions({"base": base, "other": other})
    each = {region: paired.compare(base, other, regions=[region]) for region in shared}
    return pd.concat([table(each), table({"mean": mean})])


def gaps(groups: Groups) -> pd.DataFrame:
    """The gap between cases trained on and held out of each group: mean Dice over regions, whole volumes, native space.

    With two or more folds every held-out case was trained on in another one, so the gap is that of a case with itself
    and the interval is over cases and seeds: four held-out patients a fold differ by more than networks do. With one
    fold it is the difference of two means over different cases, and has no interval. What a change does to the gap are
    the :func:`contrasts` of the split ``analysis.scores.GAP``.

    Returns:
        Index: labels; columns ``trained on``, ``held out``, ``gap`` and ``cases``.
    """
    rows, regions, metric = {}, scores.common_regions(groups), scores.dice_of(groups)
    for label, records in groups.items():
        trained, held = (scores.by_seed(records, metric, regions, split) for split in (TRAIN, HELD_OUT))
        cases, both = len(held), held.index.intersection(trained.index)
        if len(both):
            trained, held = trained.loc[both], held.loc[both]
            gap = paired.compare_tables(held, trained).difference
        else:
            gap = Difference(float(trained.mean(axis=1).mean() - held.mean(axis=1).mean()), np.nan, np.nan, cases)
        means = [mean_interval(values.mean(axis=1)) for values in (trained, held)]
        rows[label] = dict(zip(("trained on", "held out", "gap", "cases"), (*means, gap, cases), strict=True))
    return pd.DataFrame.from_dict(rows, orient="index")
