"""What a factorial compares, as comparisons: paired by case, over networks, and with what speaks against its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from gbmlib.analysis import compare, intervals, networks, soundness, statistics
from gbmlib.analysis.networks import OverNetworks
from gbmlib.analysis.soundness import Soundness
from gbmlib.analysis.statistics import Paired
from gbmlib.analysis.treatments import unequal
from gbmlib.study.records import Record

Cells = Mapping[tuple[str, str], Sequence[Record]]
Pairs = Sequence[tuple[tuple[str, str], tuple[str, str]]]


def paired(values: pd.Series, cells: Cells, pairs: Pairs) -> Paired:
    """An effect by (case, seed), against none at all.

    Args:
        pairs: the cells whose differences the effect is made of, two by two.
    """
    table = values.unstack("seed")
    nothing = table.where(table.isna(), 0.0)
    folds = compare.folds_of(record for records in cells.values() for record in records)
    over = networks.over_networks(networks.by_fold(nothing, table, folds))
    known = judged(cells, pairs)
    found = statistics.paired(nothing, table, margin(cells), over)
    return replace(found, unsound=known.unsound, cautions=known.cautions)


def judged(cells: Cells, pairs: Pairs) -> Soundness:
    """What speaks against an effect: of all its networks, and of the budgets of each pair of cells, the first of them.

    One pair with unequal budgets suffices, so the others are not told.
    """
    trained = {record.id: record for pair in pairs for cell in pair for record in cells[cell]}
    reasons = soundness.collapsed(trained.values()) + soundness.undertrained(trained.values())
    unfair, by_design = zip(*(unequal(cells[one], cells[other]) for one, other in pairs), strict=True)
    said = [
        f"{sentence} ({' under '.join(one)} and {' under '.join(other)})"
        for (one, other), sentences in zip(pairs, unfair, strict=True)
        for sentence in sentences
    ]
    return Soundness((*reasons, *said[:1]), tuple(dict.fromkeys(sentence for each in by_design for sentence in each)))


def margin(cells: Cells) -> float:
    """What counts as no difference on the cohort of some cells."""
    return intervals.margin(next(record for records in cells.values() for record in records).experiment.cohort)


def jackknife(
    table: pd.DataFrame, statistic: Callable[[pd.DataFrame], float], fold_of: Mapping[Any, Any]
) -> OverNetworks:
    """A statistic of the means of all cells, and its interval over folds: each fold is left out once (Tukey 1958).

    Args:
        table: a row a case, a column a cell.
        statistic: of some rows of it.
    """
    folds = table.index.map(fold_of)
    names = list(dict.fromkeys(folds))
    count, whole = len(names), float(statistic(table))
    if count < 2:
        return networks.over_folds([whole], count)
    without = np.array([statistic(table[[fold != name for fold in folds]]) for name in names])
    found = networks.over_folds(count * whole - (count - 1) * without, count)
    shift = whole - found.difference.mean  # the interval lies around the statistic itself; NaN stays NaN
    ends = {"low": found.difference.low + shift, "high": found.difference.high + shift}
    return replace(found, difference=replace(found.difference, mean=whole, **ends))
