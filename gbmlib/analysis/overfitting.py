"""How much better networks do on cases that they were trained on: the gap, and what a change does to it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gbmlib.analysis import compare, contrasts, statistics
from gbmlib.analysis.compare import GAP, Groups
from gbmlib.analysis.intervals import Difference, mean_interval
from gbmlib.study.records import HELD_OUT, TRAIN


def overfitting(groups: Groups) -> pd.DataFrame:
    """The gap between cases trained on and held out of each group: mean Dice over regions, whole volumes, native space.

    With two or more folds every held-out case was trained on in another one, so the gap is that of a case with itself
    and the interval is over cases and seeds: four held-out patients a fold differ by more than networks do. With one
    fold it is the difference of two means over different cases, and has no interval.

    Returns:
        Index: labels; columns ``trained on``, ``held out``, ``gap`` and ``cases``.
    """
    rows, regions, metric = {}, compare.common_regions(groups), compare.dice_of_groups(groups)
    for label, records in groups.items():
        trained, held = (compare.scores(records, metric, regions, part) for part in (TRAIN, HELD_OUT))
        cases, both = len(held), held.index.intersection(trained.index)
        if len(both):
            trained, held = trained.loc[both], held.loc[both]
            gap = statistics.paired(held, trained).difference
        else:
            gap = Difference(float(trained.mean(axis=1).mean() - held.mean(axis=1).mean()), np.nan, np.nan, cases)
        means = [mean_interval(table.mean(axis=1)) for table in (trained, held)]
        rows[label] = dict(zip(("trained on", "held out", "gap", "cases"), (*means, gap, cases), strict=True))
    return pd.DataFrame.from_dict(rows, orient="index")


def changes(groups: Groups) -> pd.DataFrame:
    """The gap of every group but the first minus that of the first (``analysis.contrasts.contrasts``)."""
    return contrasts.contrasts(groups, split=GAP)
