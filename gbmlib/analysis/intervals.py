"""Bootstrap intervals over cases, Student's intervals over trained networks, and what both together decide.

Over networks the question is whether another training of both sides would give the same difference. The luck of a
network is shared by all cases that it measures: in the simulations of ``tests/analysis/test_intervals.py`` an interval
over cases alone holds the truth in 74 to 93 of 100 trials. The seeds of a fold share its cases, so folds are the unit
that is taken as independent; Student's interval over them holds the truth in 94 to 96 of 100. More seeds narrow it too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from gbmlib.files import counted

#: Differences of mean Dice below this one do not matter, in cohorts whose name begins so; in any other, :data:`MARGIN`.
#: 19 gliomas cannot show equality within 0.01. Both margins were fixed before the runs that they judge were made.
MARGINS = {"brats": 0.03}
MARGIN = 0.01

#: Values that differ by less are the same number, computed in another order.
ROUNDING = 1e-12

#: A case's scores that differ by no more can be one prediction: probabilities are stored in half precision.
STORAGE = 1e-3

CONFIDENCE, RESAMPLES = 0.95, 9999

#: A p above this, corrected for its family, decides no difference.
LEVEL = 0.05

#: What a comparison may decide; the last where its runs are not sound (``analysis.soundness``).
HIGHER, LOWER, NONE, UNDECIDED, NOT_YET = "higher", "lower", "no difference", "undecided", "not decided yet"

#: Fewer folds give no interval over networks; fewer pairs of networks no test by flipping signs.
LEAST_FOLDS, LEAST_PAIRS = 5, 10

#: All flips of so many pairs are gone through; of more, as many as there are resamples are drawn.
EXACT_PAIRS = 12

#: The chance with which a detectable difference would be found.
POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """A mean over cases with its 95 % interval; the ends are NaN where there are too few cases for one."""

    mean: float
    low: float
    high: float
    cases: int

    def __str__(self) -> str:
        return self._text("z.3f")  # z: what rounds to zero has no sign

    def _text(self, form: str) -> str:
        if np.isnan(self.low):
            return f"{self.mean:{form}} ({counted(self.cases, 'case')})"
        return f"{self.mean:{form}} ({self.low:{form}} to {self.high:{form}})"


@dataclass(frozen=True)
class Difference(Interval):
    """An interval of a difference, printed with its sign. ``mean`` is NaN where there was nothing to compare."""

    def __str__(self) -> str:
        return self._text("+z.3f") if self.cases else "not comparable"

    def __neg__(self) -> Difference:
        return Difference(-self.mean, -self.high, -self.low, self.cases)


NOTHING = Difference(np.nan, np.nan, np.nan, 0)


def margin(cohort: str) -> float:
    """The difference in mean Dice below which two methods count as equal on a cohort, given by its name."""
    return next((value for start, value in MARGINS.items() if cohort.startswith(start)), MARGIN)


# ----------------------------------------------------------------------------------------------------------- over cases


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and :func:`bootstrap` interval of one value a case.

    Raises:
        ValueError: no values, or values that are not finite: a missing case must not drop out of a mean unseen.
    """
    values = np.asarray(values, float)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"need one or more finite values for a mean, not {values}")
    return bootstrap(values)


def difference_interval(values: Sequence[float]) -> Difference:
    """:func:`mean_interval` of differences, one a case."""
    return Difference(**vars(mean_interval(values)))


def bootstrap(values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray] = lambda means: means) -> Interval:
    """A statistic of the means over cases, and its bootstrap interval (SciPy's BCa; 9,999 resamples, seeded).

    Fewer than three cases give no interval; cases that are equal but for rounding give one of no width. A drawn case
    brings all its values, so what is paired stays paired.

    Args:
        values: (case, …).
        statistic: from means (…), or many of them (resample, …), to a number each.
    """
    cases = len(values)
    value = float(statistic(values.mean(0)))
    if cases < 3:
        return Interval(value, np.nan, np.nan, cases)
    if np.ptp(values, axis=0).max() < ROUNDING:
        return Interval(value, value, value, cases)

    def of_drawn(numbers: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(values[numbers].mean(numbers.ndim - 1))

    def ends(method: str) -> tuple[float, float]:
        rng = np.random.default_rng(0)
        drawn = stats.bootstrap(
            (np.arange(cases),), of_drawn, vectorized=True, batch=1000, n_resamples=RESAMPLES, method=method, rng=rng
        )
        return tuple(map(float, drawn.confidence_interval))

    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        low, high = ends("BCa")
    if np.isnan([low, high]).any():  # at the edge of what a statistic can be, no drawn value lies beyond the whole
        low, high = ends("percentile")
    return Interval(value, low, high, cases)


# -------------------------------------------------------------------------------------------------------- over networks


@dataclass(frozen=True)
class OverNetworks:
    """A difference over trained networks.

    Attributes:
        difference: mean over folds and its 95 % interval (Student's t); the ends are NaN below :data:`LEAST_FOLDS`.
            Its ``cases`` counts folds.
        pairs: how many networks of each side were compared, over folds and seeds.
        p: of :func:`sign_flip`, two-sided; NaN below :data:`LEAST_PAIRS`.
        detectable: the smallest difference that would be found in 80 of 100 studies like this; NaN without an interval.
    """

    difference: Difference
    pairs: int
    p: float
    detectable: float


def over_networks(base: pd.DataFrame, other: pd.DataFrame, fold_of: Mapping[Any, Any]) -> OverNetworks:
    """Other minus base over networks. A fold counts with its mean over the cases that it holds out and over its seeds.

    Args:
        base, other: values, a row a case, a column a seed; NaN where a seed has not run a fold. Where the two have
            other seeds, each is averaged over its own first.
        fold_of: the fold that holds out each case.

    Raises:
        ValueError: a fold without any value, or no fold.
    """
    alike = list(base) == list(other)
    change = other - base if alike else (other.mean(axis=1) - base.mean(axis=1)).to_frame("mean")
    by_fold = change.groupby(change.index.map(fold_of)).mean()
    folds = by_fold.mean(axis=1).to_numpy(float)
    if not folds.size or not np.isfinite(folds).all():
        raise ValueError(f"need a finite difference for each fold, not {folds}")
    pairs = by_fold.to_numpy(float)
    pairs = pairs[np.isfinite(pairs)]
    return over_folds(folds, pairs.size, sign_flip(pairs) if pairs.size >= LEAST_PAIRS else math.nan)


def over_folds(folds: Sequence[float], pairs: int, p: float = math.nan) -> OverNetworks:
    """Student's interval of a mean over folds (one value each), and the difference that it could have detected."""
    folds = np.asarray(folds, float)
    mean, count = float(folds.mean()), len(folds)
    if count < LEAST_FOLDS:
        return OverNetworks(Difference(mean, math.nan, math.nan, count), pairs, p, math.nan)
    error = 0.0 if np.ptp(folds) < ROUNDING else float(folds.std(ddof=1)) / math.sqrt(count)
    reach, power = stats.t.ppf([(1 + CONFIDENCE) / 2, POWER], count - 1)
    half = float(reach) * error
    return OverNetworks(Difference(mean, mean - half, mean + half, count), pairs, p, float(reach + power) * error)


def jackknife(
    table: pd.DataFrame, statistic: Callable[[pd.DataFrame], float], fold_of: Mapping[Any, Any]
) -> OverNetworks:
    """A statistic of a table, a row a case, and its interval over folds: each fold is left out once (Tukey 1958)."""
    folds = table.index.map(fold_of)
    names = folds.unique()
    count, value = len(names), float(statistic(table))
    if count < 2:
        return over_folds([value], count)
    without = np.array([statistic(table[folds != name]) for name in names])
    over = over_folds(count * value - (count - 1) * without, count)
    shift = value - over.difference.mean  # the interval lies around the statistic itself; NaN stays NaN
    low, high = over.difference.low + shift, over.difference.high + shift
    return replace(over, difference=Difference(value, low, high, count))


def sign_flip(values: Sequence[float]) -> float:
    """Two-sided p that differences are symmetric about zero: how often random signs give as large a mean.

    Exact up to :data:`EXACT_PAIRS` values; of more, :data:`RESAMPLES` flips are drawn, seeded, and the one that was
    seen counts as one more.
    """
    values = np.asarray(values, float)
    seen = abs(values.sum()) - ROUNDING
    if len(values) <= EXACT_PAIRS:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(values))))
        return float(np.mean(np.abs(signs @ values) >= seen))
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (RESAMPLES, len(values)))
    return float((1 + np.sum(np.abs(signs @ values) >= seen)) / (1 + RESAMPLES))


# ----------------------------------------------------------------------------------------------------- what they decide


def decide(
    difference: Difference, p: float, margin: float, networks: OverNetworks | None, carried_by: Sequence[str] = ()
) -> str:
    """The decision on a comparison in a word, by one rule for the whole study.

    *Higher*, *lower*: the intervals over cases and over networks leave out zero, p of Wilcoxon's test is at most 0.05
    after Holm's correction over the family (``analysis.family``), and so is p of flipping the signs of networks, where
    there are enough of them. *No difference*: both intervals lie within the margin. *Undecided*: all else.

    Args:
        difference: with its 95 % interval over cases; without one nothing is decided.
        p: corrected for the family; NaN where there is no test of cases.
        networks: the same over networks; without their interval nothing is decided.
        carried_by: the cases without any one of which the interval over cases no longer leaves out zero; where there is
            no test of cases, there must be none.
    """
    if networks is None:
        return UNDECIDED
    both = [difference, networks.difference]
    word = outcome(both, margin)
    if carried_by and word in (HIGHER, LOWER):
        return UNDECIDED
    unconfirmed = word in (HIGHER, LOWER) and (p > LEVEL or networks.p > LEVEL)
    return outcome(both, margin, reliable=False) if unconfirmed else word


def outcome(several: Sequence[Difference], margin: float, reliable: bool = True) -> str:
    """The decision on which several intervals of one difference agree; undecided where they do not.

    Args:
        reliable: whether leaving out zero suffices for "higher" and "lower".
    """
    if any(math.isnan(one.low) for one in several):
        return UNDECIDED
    if reliable and all(one.low > 0 for one in several):
        return HIGHER
    if reliable and all(one.high < 0 for one in several):
        return LOWER
    return NONE if all(within(one, margin) for one in several) else UNDECIDED


def within(difference: Difference, margin: float) -> bool:
    """Whether an interval lies inside the margin on both sides of zero."""
    return -margin <= difference.low and difference.high <= margin
