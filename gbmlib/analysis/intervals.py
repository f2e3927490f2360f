"""Means over cases and their bootstrap intervals, as values that print themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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


@dataclass(frozen=True)
class Interval:
    """A mean over cases with its bootstrap interval; the ends are NaN where there are too few cases for one."""

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
        """The same, the other way round."""
        return Difference(-self.mean, -self.high, -self.low, self.cases)


NOTHING = Difference(np.nan, np.nan, np.nan, 0)


def margin(cohort: str) -> float:
    """The difference in mean Dice below which two methods count as equal on a cohort, given by its name."""
    return next((value for start, value in MARGINS.items() if cohort.startswith(start)), MARGIN)


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Mean and bias-corrected, accelerated bootstrap interval over cases (SciPy; 9,999 resamples, seeded).

    Fewer than three values give no interval; values that are equal but for rounding give one of no width.

    Raises:
        ValueError: no values, or values that are not finite: a missing case must not drop out of a mean unseen.
    """
    values = np.asarray(values, float)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"need one or more finite values for a mean, not {values}")
    mean, cases = float(values.mean()), len(values)
    if cases < 3:
        return Interval(mean, np.nan, np.nan, cases)
    if np.ptp(values) < ROUNDING:
        return Interval(mean, mean, mean, cases)
    ends = stats.bootstrap((values,), np.mean, confidence_level=confidence, rng=np.random.default_rng(seed))
    return Interval(mean, float(ends.confidence_interval.low), float(ends.confidence_interval.high), cases)


def difference_interval(values: Sequence[float]) -> Difference:
    """:func:`mean_interval` of differences, one a case."""
    return Difference(**vars(mean_interval(values)))
