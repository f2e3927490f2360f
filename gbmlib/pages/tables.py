"""The tables that several chapters show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from gbmlib import models
from gbmlib.analysis import family, scores
from gbmlib.analysis.intervals import mean_interval
from gbmlib.analysis.scores import Groups
from gbmlib.pages.text import inside_margin, probability
from gbmlib.study import scales


def decided(table: pd.DataFrame, name: str = "difference") -> pd.DataFrame:
    """The columns of a table of comparisons that a page shows: difference (called ``name``), p, effect size, verdict.

    The column of p is headed as corrected where any of them is.
    """
    p_name = "p (Holm)" if len(table) and table.family.max() > 1 else "p"
    columns = {
        name: table.difference,
        p_name: ["" if pd.isna(p) else probability(p) for p in table.p],
        "rank-biserial": ["" if pd.isna(effect) else f"{effect:+.2f}" for effect in table.rank_biserial],
        "decided": [row.decided + inside_margin(row) for _, row in table.iterrows()],
    }
    return pd.DataFrame(columns, table.index, dtype=object)


def comparison(groups: Groups, decides: bool = True, against: str = "first") -> pd.DataFrame:
    """One row a group: held-out Dice (mean over regions), its difference to the first group, each region, and cost.

    Groups that ran on fewer folds have other cases in their means; the difference is on shared folds alone. Intervals
    of means are over cases, those of differences over cases and seeds.

    Args:
        decides: whether p, effect size and what they decide are shown. Runs on phantoms decide nothing.
        against: as in ``analysis.family.contrasts``.
    """
    changes, rows, regions = family.contrasts(groups, against), {}, scores.common_regions(groups)
    shown = decided(changes) if decides else changes[["difference"]]
    for label, records in groups.items():
        dice = scores.by_case(records, metric=scores.dice_of(groups), regions=regions)
        others = {name: scores.by_case(records, metric=name, regions=regions) for name in ("precision", "recall")}
        seconds = sum(record.provenance["seconds"] for record in records) / len(records)
        rows[label] = {
            "Dice": mean_interval(dice.mean(axis=1, skipna=False)),
            **(dict(shown.loc[label]) if label in shown.index else dict.fromkeys(shown, "")),
            **{region: mean_interval(values) for region, values in dice.items()},
            **{name: mean_interval(table.mean(axis=1, skipna=False)) for name, table in others.items()},
            "cases": len(dice),
            "runs": len(records),
            "parameters (million)": round(records[0].provenance["parameters"] / 1e6, 2),
            "minutes a run": round(seconds / 60, 1),
        }
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    return pd.DataFrame([{name: row.get(name, "") for name in columns} for row in rows.values()], index=list(rows))


def two_by_two(groups: Groups, row: str, column: str) -> pd.DataFrame:
    """Held-out Dice of groups that differ in two fields of their configurations, as a table of the two."""
    runs = [records[0].experiment for records in groups.values()]
    fields = [[getattr(run, name) for run in runs] for name in (row, column)]
    table = scores.levels(groups).set_axis(fields).unstack()
    return table.rename_axis(index=row.replace("_", " "), columns=column.replace("_", " "))


def levels(dices: pd.DataFrame) -> dict[str, Any]:
    """A row of a table: the mean of each label (columns) over cases (rows), that of all labels, and how many cases."""
    row = {label: mean_interval(values) for label, values in dices.items()}
    return row | {"mean": mean_interval(dices.mean(axis=1)), "cases": len(dices)}


def schedules(profiles: Sequence[str] = ("demo", "short", "study", "paper")) -> pd.DataFrame:
    """What the first paper's network is trained with at each scale, a row a scale."""
    rows = {}
    for profile in profiles:
        run = scales.paper_a(profile, folds=(0,), seeds=(0,))[0]
        rows[profile] = {
            "cohort": run.cohort,
            "spacing (mm)": f"{run.spacing[0]:g}" if run.spacing else "own",
            "patch (z, y, x)": " x ".join(map(str, run.patch_size)),
            "filters": (models.options_of("segvae") | run.options)["filters"],
            "epochs": run.epochs,
            "crops a case": run.crops,
            "peak learning rate": f"{run.learning_rate:g}",
            "warm-up (epochs)": run.warmup,
        }
    return pd.DataFrame.from_dict(rows, orient="index")
