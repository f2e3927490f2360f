"""Inference over trained networks: would another training of both sides give the same difference?

The trained network is the unit of replication. Its luck is shared by all cases that it measures, so that an interval
over cases alone is too narrow: in the simulations of ``tests/analysis/test_networks.py`` it holds the truth in 74 to 93
of 100 trials. The seeds of a fold share its held-out cases and its training cases, so that networks are not independent
of each other either: Student's interval over all (fold, seed) pairs holds the truth in 86 of 100 where five seeds share
a fold whose own effect is half a network's luck. The folds are taken as independent: the difference of a fold is the
mean over its held-out cases and its seeds, and the interval is Student's over folds. It holds the truth in 94 to 96 of
100. More seeds narrow it too, since they calm the mean of each fold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from gbmlib.analysis.intervals import ROUNDING, Difference

#: Fewer folds give no interval.
LEAST_FOLDS = 5

#: Fewer pairs of networks give no test by flipping signs.
LEAST_PAIRS = 10

#: All flips of so many pairs are gone through; of more, so many thousands are drawn.
EXACT_PAIRS, DRAWN_FLIPS = 12, 9999

CONFIDENCE, POWER = 0.95, 0.8


@dataclass(frozen=True)
class OverNetworks:
    """A difference as the trained networks show it.

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

    @property
    def folds(self) -> int:
        return self.difference.cases


def over_networks(values: pd.DataFrame) -> OverNetworks:
    """What the networks say of a difference.

    Args:
        values: mean difference over held-out cases, a row a fold, a column a seed; NaN where a seed has not run a fold.

    Raises:
        ValueError: a fold without any value, or no fold.
    """
    folds = values.mean(axis=1).to_numpy(float)
    if not folds.size or not np.isfinite(folds).all():
        raise ValueError(f"need a finite difference for each fold, not {folds}")
    pairs = values.to_numpy(float)
    pairs = pairs[np.isfinite(pairs)]
    p = sign_flip(pairs) if pairs.size >= LEAST_PAIRS else math.nan
    return over_folds(folds, pairs.size, p)


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


def by_fold(base: pd.DataFrame, other: pd.DataFrame, fold_of: Mapping[Any, Any]) -> pd.DataFrame:
    """Other minus base of each fold (rows) under each seed (columns), mean over the cases that the fold holds out.

    Args:
        base, other: values, a row a case, a column a seed. Where the two have other seeds, each is averaged over its
            own first, and there is one column.
        fold_of: the fold that holds out each case.
    """
    alike = list(base) == list(other)
    change = other - base if alike else (other.mean(axis=1) - base.mean(axis=1)).to_frame("mean")
    return change.groupby(change.index.map(fold_of)).mean()


def sign_flip(values: Sequence[float]) -> float:
    """Two-sided p that differences are symmetric about zero: how often random signs give as large a mean.

    Exact up to :data:`EXACT_PAIRS` values; of more, :data:`DRAWN_FLIPS` flips are drawn, seeded, and the one that was
    seen counts as one more.
    """
    values = np.asarray(values, float)
    seen = abs(values.sum()) - ROUNDING
    if len(values) <= EXACT_PAIRS:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(values))))
        return float(np.mean(np.abs(signs @ values) >= seen))
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (DRAWN_FLIPS, len(values)))
    return float((1 + np.sum(np.abs(signs @ values) >= seen)) / (1 + DRAWN_FLIPS))
