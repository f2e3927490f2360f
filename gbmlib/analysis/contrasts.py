"""Groups of runs side by side: what each differs by from the first, and the table of an ablation.

*Groups* are label -> records. Every comparison is ``analysis.compare.paired``, on the folds that both sides ran, and
worded by the one rule of ``analysis.statistics``. The comparisons of a table answer one question: they are a family,
and their p are corrected together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gbmlib.analysis import compare, statistics
from gbmlib.analysis.compare import Groups, UnpairedError
from gbmlib.analysis.intervals import mean_interval
from gbmlib.pages import wording
from gbmlib.study.records import HELD_OUT, Record


def contrasts(groups: Groups, against: str = "first", metric: str = "dice", split: str = HELD_OUT) -> pd.DataFrame:
    """The mean over regions of every group but the first, minus that of the first (or of the one before it).

    Args:
        against: ``"first"``, or ``"previous"`` for changes that are turned on one after another.
        split: as in ``analysis.compare.scores``.

    Returns:
        Index: labels; columns ``against`` (a label), those of ``analysis.statistics.table``, ``folds``, and
        ``problem``, which says why there is nothing to compare and is empty otherwise.
    """
    if against not in ("first", "previous"):
        raise ValueError(f"against is {against!r}; use 'first' or 'previous'")
    labels, regions = list(groups), compare.common_regions(groups)
    found, with_whom, folds, problems = {}, {}, {}, {}
    for number, label in enumerate(labels[1:], 1):
        with_whom[label] = labels[0 if against == "first" else number - 1]
        pair = compare.on_shared_folds(groups[with_whom[label]], groups[label])
        folds[label], problems[label] = len({compare.fold_of(record) for record in pair[0]}), ""
        try:
            found[label] = compare.paired(*pair, metric, regions, split)
        except UnpairedError as error:
            found[label], problems[label] = None, str(error)
    table = statistics.table(found)
    table.insert(0, "against", pd.Series(with_whom, dtype=object))
    return table.assign(folds=pd.Series(folds, dtype=int), problem=pd.Series(problems, dtype=object))


def by_region(base: Sequence[Record], other: Sequence[Record]) -> pd.DataFrame:
    """Other minus base in Dice: a row for each region that both measured, and one for their mean.

    The mean is the comparison that is asked for, and stands by itself; the regions are a family of their own.

    Returns:
        Index: regions and ``"mean"``; columns of ``analysis.statistics.table``.

    Raises:
        UnpairedError: as ``analysis.compare.paired``.
    """
    whole = compare.paired(base, other)
    shared = compare.common_regions({"base": base, "other": other})
    each = {region: compare.paired(base, other, regions=[region]) for region in shared}
    return pd.concat([statistics.table(each), statistics.table({"mean": whole})])


def ablation_table(groups: Groups, decides: bool = True, against: str = "first") -> pd.DataFrame:
    """One row a group: held-out Dice (mean over regions), its difference to the first group, each region, and cost.

    Groups that ran on fewer folds have other cases in their means; the difference is on shared folds alone. Intervals
    of means are over cases, those of differences over cases and seeds.

    Args:
        decides: whether p, effect size and what they decide are shown. Runs on phantoms decide nothing.
        against: as in :func:`contrasts`.
    """
    changes, rows, regions = contrasts(groups, against), {}, compare.common_regions(groups)
    shown = wording.shown(changes) if decides else changes[["difference"]]
    for label, records in groups.items():
        dice = compare.by_case(records, metric=compare.dice_of_groups(groups), regions=regions)
        tables = {name: compare.by_case(records, metric=name, regions=regions) for name in ("precision", "recall")}
        rows[label] = {
            "Dice": mean_interval(dice.mean(axis=1, skipna=False)),
            **(dict(shown.loc[label]) if label in shown.index else dict.fromkeys(shown, "")),
            **{region: mean_interval(values) for region, values in dice.items()},
            **{name: mean_interval(table.mean(axis=1, skipna=False)) for name, table in tables.items()},
            "cases": len(dice),
            "runs": len(records),
            "parameters (million)": round(records[0].provenance["parameters"] / 1e6, 2),
            "minutes a run": round(float(np.mean([record.provenance["seconds"] for record in records])) / 60, 1),
        }
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    return pd.DataFrame([{name: row.get(name, "") for name in columns} for row in rows.values()], index=list(rows))
