"""The tumour's share of an image from precision, recall and accuracy alone; and which reading of a table fits.

Of N voxels a share f belongs to the class. Then f (1 - R) are missed, and f R (1 - P) / P are marked wrongly, so that
1 - A = f ((1 - R) + R (1 - P) / P). For metrics of one set of voxels, counts pooled, this is exact whatever the
prediction: a table that prints all three metrics also prints the prevalence, which can be counted in the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations, product

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gbmlib.analysis import scores
from gbmlib.study.records import Record

METRICS = ("precision", "recall", "accuracy")

#: Every way in which three columns, headed precision, recall and accuracy, can hold the three metrics: what the first,
#: the second and the third column are. The first reading takes the headings at their word.
READINGS = tuple(permutations(METRICS))


def prevalence(precision: ArrayLike, recall: ArrayLike, accuracy: ArrayLike) -> np.ndarray:
    """The share of all voxels that belong to the class: (1 - A) / ((1 - R) + R (1 - P) / P).

    Numbers or arrays of one shape. NaN where the metrics leave it open: nothing is marked rightly, or all is. Values
    that no counts could give may yield more than 1.
    """
    p, r, a = (np.asarray(values, float) for values in (precision, recall, accuracy))
    with np.errstate(divide="ignore", invalid="ignore"):
        errors_per_voxel = (1 - r) + r * (1 - p) / p
        return np.where((p > 0) & (errors_per_voxel > 0), (1 - a) / errors_per_voxel, np.nan)


def pooled_dice(precision: ArrayLike, recall: ArrayLike) -> np.ndarray:
    """The Dice of one set of voxels, counts pooled: the harmonic mean of precision and recall. NaN where both are 0."""
    p, r = np.asarray(precision, float), np.asarray(recall, float)
    with np.errstate(invalid="ignore"):
        return 2 * p * r / (p + r)


def read(table: pd.DataFrame, reading: Sequence[str]) -> pd.DataFrame:
    """The columns headed precision, recall and accuracy, renamed to what a reading takes them for.

    Raises:
        ValueError: the reading is not one of :data:`READINGS`.
    """
    if tuple(reading) not in READINGS:
        raise ValueError(f"reading {tuple(reading)}: name each of {METRICS} once")
    return table[list(METRICS)].set_axis(list(reading), axis=1)[list(METRICS)]


def implied(table: pd.DataFrame, reading: Sequence[str], rounding: float = 0.0) -> pd.DataFrame:
    """The prevalence that each row of a table implies under a reading.

    Args:
        table: columns precision, recall, accuracy, as they are headed.
        reading: what the three columns are taken for, in that order.
        rounding: half a unit of the last digit of the table.

    Returns:
        The table's index; columns ``fraction``, and ``low`` and ``high``, between which it lies whatever the rounding
        took away. (It falls or rises throughout with each of the metrics, so the extremes are at corners.)
    """
    metrics = read(table, reading)
    corners = [
        prevalence(*(metrics[name] + sign * rounding for name, sign in zip(METRICS, signs, strict=True)))
        for signs in product((-1, 1), repeat=3)
    ]
    columns = {"fraction": prevalence(*(metrics[name] for name in METRICS))}
    return pd.DataFrame(columns | {"low": np.min(corners, axis=0), "high": np.max(corners, axis=0)}, index=table.index)


def examined(table: pd.DataFrame, rounding: float) -> pd.DataFrame:
    """Every reading of a table whose rows were measured on the same images, and whether it can be true.

    Returns:
        A row for each of :data:`READINGS`. Columns: the fraction that each row of the table implies, under that row's
        name; ``possible``: all are shares, above 0 and below 1, within rounding; ``agree``: one fraction lies within
        the rounding of all rows; ``low`` and ``high``: the fractions that do (NaN where none does).
    """
    rows = {}
    for reading in READINGS:
        each = implied(table, reading, rounding)
        low, high = each.low.max(), each.high.min()
        possible, agree = bool(((each.low < 1) & (each.high > 0)).all()), bool(low <= high)
        ends = {"low": low, "high": high} if agree else {"low": np.nan, "high": np.nan}
        rows[reading] = {**each.fraction, "possible": possible, "agree": agree, **ends}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=[f"headed {name}" for name in METRICS])


def logged(header: Sequence[str], values: Sequence[str]) -> tuple[str, ...]:
    """The reading that corrects a log whose header and values are in different orders.

    Raises:
        ValueError: header and values do not name the same columns, precision, recall and accuracy among them.
    """
    if sorted(header) != sorted(values) or not set(METRICS) <= set(header):
        raise ValueError(
            f"header {tuple(header)} and values {tuple(values)} must name the same columns, with {METRICS}"
        )
    holds = dict(zip(header, values, strict=True))
    return tuple(holds[name] for name in METRICS)


def of_history(history: pd.DataFrame) -> pd.Series | None:
    """The share of tumour in a run's fixed validation crops, by epoch, from their pooled metrics; None without them.

    Metrics are smoothed with an eps of 1 voxel (equations 8 and 9 of Adeniji and Liu), which is nothing beside the
    tumour in all crops. Epochs that leave the share open (see :func:`prevalence`) are left out.
    """
    names = [f"crops_{name}" for name in METRICS]
    if not set(names) <= set(history.columns):
        return None
    return pd.Series(prevalence(*history[names].to_numpy().T), history.epoch, name="fraction").dropna()


def side_by_side(groups: Mapping[str, Sequence[Record]], mixed: Sequence[str]) -> pd.DataFrame:
    """Pooled metrics of runs on their validation crops, and the prevalence that they imply; a row a group.

    Runs without crops, and runs that marked nothing rightly in their last epoch, are left out, and so are groups
    without any other.

    Args:
        mixed: a reading (:data:`READINGS`): what a table would hold under the headings precision, recall, accuracy if
            it had the columns of these runs mixed up in this way.

    Returns:
        Columns: runs; precision, recall, accuracy of the last epoch and the fraction they imply, means over runs;
        ``lowest`` and ``highest`` fraction over all epochs, means over runs; ``mixed up``: the fraction that the mixed
        columns would imply, taken at their headings' word.
    """
    rows = {}
    for label, records in groups.items():
        runs = []
        for record in records:
            by_epoch, last = of_history(record.history), record.history.iloc[-1]
            if by_epoch is None or by_epoch.empty or by_epoch.index[-1] != last.epoch:
                continue
            row = {name: last[f"crops_{name}"] for name in METRICS}
            row |= {"fraction": by_epoch.iloc[-1], "lowest": by_epoch.min(), "highest": by_epoch.max()}
            runs.append(row | {"mixed up": float(prevalence(*(row[name] for name in mixed)))})
        if runs:
            rows[label] = {"runs": len(runs), **pd.DataFrame(runs).mean()}
    columns = ["runs", *METRICS, "fraction", "lowest", "highest", "mixed up"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def against_counts(records: Iterable[Record], shares: pd.DataFrame) -> pd.DataFrame:
    """The shares of regions that records of whole volumes imply, beside those counted in the labels.

    Args:
        shares: the table of their cohort (``analysis.cohort_summary.summary``), columns case and NAME_share.

    Returns:
        Columns case, region, fraction (implied; a row for each record, but where :func:`prevalence` is left open) and
        counted.
    """
    table = scores.tidy(records)
    wide = table.set_index(["run", "split", "case", "region", "metric"]).value.unstack("metric").reset_index()
    wide["fraction"] = prevalence(*(wide[name] for name in METRICS)) if len(wide) else []
    counted = shares.melt("case", [c for c in shares if c.endswith("_share")], "region", "counted")
    counted["region"] = counted.region.str.removesuffix("_share")
    return wide[["case", "region", "fraction"]].dropna().merge(counted, on=["case", "region"])
