"""What a set of records says: means over held-out cases, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from gbmlib.cohorts import Cohort
from gbmlib.metrics import NAMES
from gbmlib.records import HELD_OUT, Record


@dataclass(frozen=True)
class Interval:
    """A mean over cases with its bootstrap interval; the ends are NaN where there are too few cases for one."""

    mean: float
    low: float
    high: float
    cases: int

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.mean:.3f} ({self.cases} case{'s' if self.cases > 1 else ''})"
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Mean and bias-corrected, accelerated bootstrap interval over cases (SciPy; 9,999 resamples, seeded).

    Fewer than three values give no interval; equal values give one of no width.

    Raises:
        ValueError: no values, or values that are not finite: a missing case must not drop out of a mean unseen.
    """
    values = np.asarray(values, float)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"need one or more finite values for a mean, not {values}")
    mean, cases = float(values.mean()), len(values)
    if cases < 3:
        return Interval(mean, np.nan, np.nan, cases)
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean, cases)
    ends = stats.bootstrap((values,), np.mean, confidence_level=confidence, rng=np.random.default_rng(seed))
    return Interval(mean, float(ends.confidence_interval.low), float(ends.confidence_interval.high), cases)


def cases_of(records: Iterable[Record]) -> pd.DataFrame:
    """The case tables of several runs as one, with the columns run, fold and seed."""
    tables = [
        record.cases.assign(run=record.id, fold=record.experiment.fold, seed=record.experiment.seed)
        for record in records
    ]
    return pd.concat(tables, ignore_index=True)


def held_out(records: Iterable[Record], split: str = HELD_OUT) -> pd.DataFrame:
    """Mean and interval of every metric in every region over the held-out cases, and their number; a row a region.

    A case that several runs hold out (seeds) counts once, with its mean. ``split`` may be ``"train"`` or the name of
    another cohort that the runs were measured on.
    """
    cases = cases_of(records)
    cases = cases[cases.split == split]
    if cases.empty:
        raise ValueError(f"no run was measured on {split!r}")
    by_case = cases.groupby(["region", "metric", "case"], sort=False).value.mean()
    table = by_case.groupby(["region", "metric"], sort=False).agg(lambda values: str(mean_interval(values)))
    table = table.unstack("metric")[list(NAMES)].loc[cases.region.unique()]
    table.insert(0, "cases", by_case.xs("dice", level="metric").groupby("region").size())
    return table.rename_axis(index=None, columns=None)


def over_epochs(records: Sequence[Record], every: int = 10) -> pd.DataFrame:
    """Validation metrics at some epochs, mean over runs: the form of table 1 of Adeniji and Liu (2019).

    Rows are epochs 0, ``every``, 2 ``every``… and the last that all runs reached.
    """
    names = {"val_loss": "loss", "val_dice": "Dice", "val_precision": "precision", "val_recall": "recall"}
    names["val_accuracy"] = "accuracy"
    histories = [record.history.set_index("epoch")[list(names)] for record in records]
    mean = sum(histories[1:], histories[0]) / len(histories)
    mean = mean.dropna()
    rows = sorted({epoch for epoch in mean.index if epoch % every == 0} | {mean.index.max()})
    return mean.loc[rows].rename(columns=names)


def made(records: Sequence[Record], cohort: Cohort | None = None) -> pd.DataFrame:
    """Where the records come from: a line a run, with its minutes, machine, and what makes it stale, if anything.

    With the cohort at hand, a record that was made from other data of the same name shows as stale.
    """
    rows = []
    for record in records:
        of, by = record.experiment, record.provenance
        fingerprint = cohort.fingerprint if cohort is not None and cohort.name == of.cohort else None
        rows.append(
            {
                "run": record.id,
                "cohort": of.cohort,
                "fold": of.fold,
                "seed": of.seed,
                "epochs": len(record.history),
                "minutes": round(by["seconds"] / 60, 1),
                "machine": by["device"],
                "peak memory (MB)": by["peak_memory_mb"],
                "torch": by["packages"]["torch"],
                "commit": by["commit"],
                "stale": "; ".join(record.stale(fingerprint)) or "no",
            }
        )
    return pd.DataFrame(rows).set_index("run")


def typical_case(record: Record) -> str:
    """The held-out case whose Dice of the first region is the (lower) median: neither the best nor the worst."""
    cases = record.cases[(record.cases.split == HELD_OUT) & (record.cases.metric == "dice")]
    first = cases[cases.region == cases.region.iloc[0]].sort_values("value")
    return first.case.iloc[(len(first) - 1) // 2]
