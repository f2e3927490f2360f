"""Which of two crossed factors matters more: how far the means of the networks and of the pipelines lie apart.

For cell means m with row means r, column means c and grand mean g, the mean of (m - g)^2 over cells is exactly the sum
of three parts: the mean of (r - g)^2, the mean of (c - g)^2, and what is left, the interaction. Their square roots are
the *spreads*, in Dice. No rank test tames an outlier of spreads; in its place no single case may carry what they decide
(:attr:`Apart.carried_by`). Tables are those of ``analysis.factorial.by_case``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gbmlib.analysis import intervals
from gbmlib.analysis.factorial import FACTORS, Cells, folds_of, judged, margin
from gbmlib.analysis.intervals import NOT_YET, UNDECIDED, Difference, OverNetworks


@dataclass(frozen=True)
class Apart:
    """How much further apart the networks lie than the pipelines, and what that decides.

    Attributes:
        change: the spread of the networks minus that of the pipelines, with its interval over cases.
        networks: the same over networks.
        margin: below which it counts as none.
        carried_by: the cases without any one of which the interval over cases no longer leaves out zero.
        unsound: why it decides nothing yet.
    """

    change: Difference
    networks: OverNetworks
    margin: float
    carried_by: tuple[str, ...] = ()
    unsound: tuple[str, ...] = ()

    @property
    def decided(self) -> str:
        """In a word of ``analysis.intervals``: "higher" where the network matters more."""
        if self.unsound:
            return NOT_YET
        return intervals.decide(self.change, math.nan, self.margin, self.networks, self.carried_by)


def apart(table: pd.DataFrame, cells: Cells) -> Apart:
    """How much further apart the networks lie than the pipelines; ``table`` is of all the cells.

    Raises:
        ValueError: a cell is missing.
    """
    change, folds = networks_minus_pipelines(table), folds_of(cells)
    networks = intervals.jackknife(table, lambda rows: _apart(_cube(rows).mean(0)), folds)
    return Apart(change, networks, margin(cells), carried_by(table), judged(cells).unsound)


def spreads(table: pd.DataFrame) -> pd.DataFrame:
    """How far the means of the networks, of the pipelines, and of both together lie apart: the module's text says how.

    A spread is never negative: chance alone makes some, and a little more of it the more levels a factor has.

    Args:
        table: of all cells.

    Returns:
        Index: ``network``, ``pipeline``, ``interaction``; columns ``spread`` (root mean square in Dice), ``share`` (of
        the mean square between cells), both with intervals.

    Raises:
        ValueError: a cell is missing.
    """
    values, rows = _cube(table), {}
    for number, name in enumerate((*FACTORS, "interaction")):
        spread = intervals.bootstrap(values, lambda means, n=number: np.sqrt(_mean_squares(means)[n]))
        share = intervals.bootstrap(values, lambda means, n=number: _shares(means)[n])
        rows[name] = {"spread": spread, "share": share}
    return pd.DataFrame.from_dict(rows, orient="index")


def networks_minus_pipelines(table: pd.DataFrame) -> Difference:
    """The spread of the networks minus that of the pipelines: which of the two matters more; arguments and errors as of
    :func:`spreads`."""
    return Difference(**vars(intervals.bootstrap(_cube(table), _apart)))


def carried_by(table: pd.DataFrame) -> tuple[str, ...]:
    """The cases without any one of which :func:`networks_minus_pipelines` has an interval that no longer excludes 0."""
    word = intervals.outcome([networks_minus_pipelines(table)], 0)
    without = ((case, networks_minus_pipelines(table.drop(index=case))) for case in table.index)
    if word == UNDECIDED:
        return ()
    return tuple(case for case, change in without if intervals.outcome([change], 0) != word)


def leaving_out(table: pd.DataFrame) -> pd.DataFrame:
    """The spreads with all networks and, of three or more, with each left out: whether one carries the answer.

    Returns:
        Index: ``None`` (all networks), then each network that is left out; columns ``network`` and ``pipeline``
        (:func:`spreads`) and ``difference`` (:func:`networks_minus_pipelines`).

    Raises:
        ValueError: a cell is missing.
    """
    rows, networks = {}, table.columns.unique(FACTORS[0])
    for name in (None, *(networks if len(networks) > 2 else ())):
        rest = table if name is None else table.drop(columns=name, level=FACTORS[0])
        rows[name] = {**spreads(rest).spread[list(FACTORS)], "difference": networks_minus_pipelines(rest)}
    return pd.DataFrame(list(rows.values()), index=pd.Index(rows, dtype=object))


def otherwise_without(left_out: pd.DataFrame, margin: float) -> dict[str, Difference]:
    """The networks whose omission changes the decision over cases, with the interval then (:func:`leaving_out`)."""
    (_, with_all), *rest = left_out.difference.items()
    word = intervals.outcome([with_all], margin)
    return {name: change for name, change in rest if intervals.outcome([change], margin) != word}


def _mean_squares(means: np.ndarray) -> np.ndarray:
    """Mean squares of cell means (…, network, pipeline) between networks, pipelines, and of the rest: (3, …)."""
    grand_mean = means.mean((-1, -2), keepdims=True)
    rows, columns = means.mean(-1, keepdims=True), means.mean(-2, keepdims=True)
    effects = (rows - grand_mean, columns - grand_mean, means - rows - columns + grand_mean)
    return np.stack([np.square(effect).mean((-1, -2)) for effect in effects])


def _shares(means: np.ndarray) -> np.ndarray:
    """Each mean square's share of their sum, (3, …); 0 where the sum is 0."""
    parts = _mean_squares(means)
    total = sum(parts)
    return np.divide(parts, total, out=np.zeros_like(parts), where=total > 0)


def _apart(means: np.ndarray) -> np.ndarray:
    """The spread of the networks minus that of the pipelines, of cell means."""
    between_networks, between_pipelines, _ = _mean_squares(means)
    return np.sqrt(between_networks) - np.sqrt(between_pipelines)


def _cube(table: pd.DataFrame) -> np.ndarray:
    """The cells as an array (case, network, pipeline)."""
    networks, pipelines = levels = [list(table.columns.unique(level)) for level in FACTORS]
    lacking = [f"{n} under pipeline {p}" for n in networks for p in pipelines if (n, p) not in table]
    lacking += [f"a second {name}" for name, values in zip(FACTORS, levels, strict=True) if len(values) < 2]
    if lacking:
        raise ValueError(f"all cells are needed; missing: {', '.join(lacking)}")
    return np.moveaxis(np.array([[table[n, p].to_numpy(float) for p in pipelines] for n in networks]), -1, 0)
