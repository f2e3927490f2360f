"""Which network, or average of networks, does best: the leaderboard of a cross-validation, and the choice it leads to.

Isensee et al. (2018, section 2.6) train three models (2D, 3D, cascade), average all pairs of them, and submit the one
of the highest mean foreground Dice over the held-out cases; their table 2 lists them. The first network of the cascade
has a row there, but is no candidate here. (The public code takes it for one. Table 2 does not tell the two readings
apart: that row is the best of no task.) What lacks a fold keeps its row, which says so, and is never chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from gbmlib.analysis import family, paired, scores
from gbmlib.analysis.intervals import RESAMPLES, Interval, mean_interval
from gbmlib.analysis.scores import Groups
from gbmlib.cohorts import regions
from gbmlib.study.cross_validation import LOW_RESOLUTION, PLUS
from gbmlib.study.records import HELD_OUT, Record

#: Means of Dice that differ by less are the same number, added up in another order.
TIE = 1e-9


class SelectionError(ValueError):
    """There is nothing to choose from; the message says what is wrong with each candidate."""


@dataclass(frozen=True)
class Row:
    """The scores of one network, or of one average of networks.

    Attributes:
        dices: of every held-out case (rows) in each class (columns), mean over seeds, folds pooled; empty where there
            are problems.
        fold_of: the fold that holds out each case.
        networks: how many are averaged.
        seeds: how many.
        folds: how many of the ``needed`` ones have a record.
        problems: why the row cannot be compared; empty where it can.
    """

    dices: pd.DataFrame
    fold_of: Mapping[str, int]
    networks: int
    seeds: int
    folds: int
    needed: int
    problems: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()

    @cached_property
    def merit(self) -> pd.Series:
        """Mean Dice of each case over the classes: what the choice is made by."""
        return self.dices.mean(axis=1, skipna=False)


Leaderboard = Mapping[str, Row]


@dataclass(frozen=True)
class Choice:
    """The candidate of the best mean foreground Dice, and how it stands against every other row.

    Attributes:
        label: the chosen one.
        level: its mean Dice over classes.
        others: a row for each other comparable row of the leaderboard, best first: ``Dice``, the chosen minus it (the
            columns of ``analysis.family.table``; all others are one family) and ``candidate``.
        shares: how often each candidate would be chosen if the cases were drawn again (bootstrap), largest first.
        tied: candidates of the same mean, which are less simple or come later.
        left_out: candidates that cannot be compared, with what is wrong.
        elsewhere: mean Dice where the choice for each fold is made on the other folds; None where there is one fold.
    """

    label: str
    level: Interval
    others: pd.DataFrame
    shares: pd.Series
    tied: tuple[str, ...]
    left_out: Mapping[str, tuple[str, ...]]
    elsewhere: Interval | None


def read(groups: Groups, classes: Sequence[str] | None = None, folds: Iterable[int] | None = None) -> dict[str, Row]:
    """Read groups of records (label -> records, possibly none) into comparable rows.

    A row is comparable if it has every fold that is needed, under each of its seeds.

    Args:
        classes: regions whose mean decides; by default what the networks were trained on (exclusive labels, though
            those of gliomas are measured on the nested regions too).
        folds: the folds that are needed, and that alone are looked at; by default all of the cross-validation.

    Raises:
        SelectionError: no group has a record, the cross-validation has no such fold, or rows that are complete do not
            hold out the same cases in the same folds.
    """
    all_records = [record for records in groups.values() for record in records]
    if not all_records:
        raise SelectionError(f"no record of {', '.join(groups) or 'anything'}; run them first")
    there = all_records[0].experiment.folds
    needed = sorted(set(range(there) if folds is None else folds))
    if not needed or needed[-1] >= there or needed[0] < 0:
        raise SelectionError(f"folds {needed} of {there}; they are counted from 0 to {there - 1}")
    classes = list(classes) if classes is not None else classes_of(all_records[0])
    rows = {label: _row(records, needed, classes) for label, records in groups.items()}
    complete = {label: row.fold_of for label, row in rows.items() if not row.problems}
    if any(fold_of != next(iter(complete.values())) for fold_of in complete.values()):
        raise SelectionError(f"{', '.join(complete)} do not hold out the same cases in the same folds")
    return rows


def classes_of(record: Record) -> list[str]:
    """The regions that a run was trained on, in order, without those that it was measured on besides."""
    names = list(record.cases.region.unique())
    return names if record.experiment.regions == "brats" else [name for name in names if name not in regions.BRATS]


def table(board: Leaderboard) -> pd.DataFrame:
    """A leaderboard as table 2 of the paper: a row a network or average, a column a class, one for their mean.

    Cells are ``analysis.intervals.Interval`` over cases, empty for what cannot be compared.
    """
    rows = {}
    for label, row in board.items():
        cells: dict[str, Any] = {}
        if not row.problems:
            cells = {name: mean_interval(values) for name, values in row.dices.items()}
            cells["mean"] = mean_interval(row.merit)
        counts = {"networks": row.networks or "", "cases": len(row.dices), "folds": f"{row.folds} of {row.needed}"}
        rows[label] = cells | counts | {"seeds": row.seeds}
    names = [*next(iter(board.values())).dices, "mean", "networks", "cases", "folds", "seeds"]
    return pd.DataFrame([{name: row.get(name, "") for name in names} for row in rows.values()], list(rows))


def choose(board: Leaderboard) -> Choice:
    """The candidate (:func:`candidates_of`) of the highest mean foreground Dice (section 2.6); ties go to the one that
    averages fewer networks, then to the one that comes first.

    Raises:
        SelectionError: no candidate can be compared; says why.
    """
    eligible = candidates_of(board)
    left_out = {label: board[label].problems for label in eligible if board[label].problems}
    fit = sorted((label for label in eligible if label not in left_out), key=lambda label: board[label].networks)
    if not fit:
        reasons = "; ".join(f"{label}: {', '.join(problems)}" for label, problems in left_out.items())
        raise SelectionError(f"no candidate can be compared ({reasons or 'there is none'})")
    merits = pd.DataFrame({label: board[label].merit for label in fit})
    best, means = _best(merits), merits.mean()
    return Choice(
        label=best,
        level=mean_interval(merits[best]),
        others=_others(board, best, fit),
        shares=_shares(merits),
        tied=tuple(label for label in fit if label != best and means[label] >= means[best] - TIE),
        left_out=left_out,
        elsewhere=_elsewhere(merits, board[best].fold_of),
    )


def chosen_elsewhere(groups: Groups) -> list[Record]:
    """For each fold the records of the candidate that does best on the other folds: the choice, on unseen cases.

    Raises:
        SelectionError: no candidate can be compared, or there is one fold.
    """
    board = {label: row for label, row in read(groups).items() if not row.problems}
    merits = pd.DataFrame({label: row.merit for label, row in board.items()})
    choices = _chosen_elsewhere(merits, next(iter(board.values())).fold_of) if board else {}
    if not choices:
        raise SelectionError(f"none of {', '.join(groups)} has records of several folds that can be compared")
    return [one for fold, label in choices.items() for one in board[label].records if one.experiment.fold == fold]


def candidates_of(labels: Iterable[str]) -> list[str]:
    """The labels of a cross-validation between which it chooses: not the cascade's first network and its pairs, nor a
    label such as ``3D, once``, which switches a step of inference."""
    return [label for label in labels if LOW_RESOLUTION not in label.split(PLUS) and "," not in label]


def _row(records: Sequence[Record], needed: Sequence[int], classes: Sequence[str]) -> Row:
    records = [record for record in records if record.experiment.fold in needed]
    runs = {(record.experiment.seed, record.experiment.fold) for record in records}
    seeds, folds = ({run[index] for run in runs} for index in (0, 1))
    networks = max((len(getattr(record.experiment, "members", (record,))) for record in records), default=0)
    row = Row(pd.DataFrame(columns=list(classes)), {}, networks, len(seeds), len(folds), len(needed))
    if not records:
        return replace(row, problems=("has no record",))
    problems = tuple(
        f"has no record of fold {', '.join(missing)} with seed {seed}"
        for seed in sorted(seeds)
        if (missing := [str(fold) for fold in needed if (seed, fold) not in runs])
    )
    if problems:
        return replace(row, problems=problems)
    held = scores.tidy(records)
    held = held[(held.split == HELD_OUT) & (held.metric == "dice") & held.region.isin(list(classes))]
    dices = scores.by_case(records, regions=classes)
    return replace(row, dices=dices, fold_of=dict(zip(held.case, held.fold, strict=True)), records=tuple(records))


def _others(board: Leaderboard, best: str, candidates: Sequence[str]) -> pd.DataFrame:
    rest = {label: row for label, row in board.items() if label != best and not row.problems}
    levels = {label: mean_interval(row.merit) for label, row in rest.items()}
    chosen, classes = board[best].records, list(next(iter(board.values())).dices)
    changes = {label: paired.compare(row.records, chosen, regions=classes) for label, row in rest.items()}
    rows = pd.Series(levels, name="Dice", dtype=object).to_frame().join(family.table(changes))
    rows["candidate"] = [label in candidates for label in rows.index]
    return rows.loc[sorted(levels, key=lambda label: -levels[label].mean)]


def _best(merits: pd.DataFrame) -> str:
    """The column of the highest mean; of equal ones the first."""
    means = merits.mean()
    return str(means.index[np.argmax(means >= means.max() - TIE)])


def _shares(merits: pd.DataFrame) -> pd.Series:
    """How often each column is the best in bootstrap resamples of the cases."""
    cases = len(merits)
    drawn = np.random.default_rng(0).multinomial(cases, np.full(cases, 1 / cases), RESAMPLES)
    means = drawn @ merits.to_numpy() / cases
    winners = (means >= means.max(1, keepdims=True) - TIE).argmax(1)
    shares = np.bincount(winners, minlength=merits.shape[1]) / RESAMPLES
    return pd.Series(shares, merits.columns).sort_values(ascending=False, kind="stable")


def _elsewhere(merits: pd.DataFrame, fold_of: Mapping[str, int]) -> Interval | None:
    """The mean where each fold's network is chosen on the other folds, so that picking the best does not flatter it."""
    choices = _chosen_elsewhere(merits, fold_of)
    if not choices:
        return None
    folds = merits.index.map(fold_of)
    return mean_interval(pd.concat([merits.loc[folds == fold, label] for fold, label in choices.items()]))


def _chosen_elsewhere(merits: pd.DataFrame, fold_of: Mapping[str, int]) -> dict[int, str]:
    """For each fold the candidate that does best on the others; empty where there is one fold."""
    folds = merits.index.map(fold_of)
    return {fold: _best(merits[folds != fold]) for fold in folds.unique()} if folds.nunique() > 1 else {}
