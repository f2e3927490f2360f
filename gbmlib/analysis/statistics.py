"""Paired comparisons in numbers: intervals over cases and seeds, tests, effect size, families of comparisons.

Everything is computed from tables of values, cases in rows and seeds in columns, and knows nothing of runs
(``analysis.compare.paired`` makes the tables from records). A case is compared with itself, and counts once, with its
mean over seeds.

*Interval.* With one seed a bootstrap over cases (``analysis.intervals``). With several, cases and seeds are drawn
independently of each other (Owen 2007, "The pigeonhole bootstrap"): a seed's luck is the same for all cases that it
holds out, and may be the same in all folds, as it draws the same first weights in each. A few seeds drawn with
replacement vary too little, by (n - 1) / n in variance; so their deviations are stretched by its inverse root (Rao and
Wu 1988). The percentiles of what is drawn are the interval. Two seeds still say little of their luck: simulated with 19
cases and luck as large as the spread of the cases, 80 % of the intervals hold the truth with two seeds, 85 % with three
and 92 % with five, where intervals over cases alone do so in 47, 55 and 64 %.

*Tests.* Wilcoxon's signed ranks (SciPy), exact for few cases. It asks less of differences than a t-test, whose normal
distribution a patient with a missed tumour breaks. With n cases no two-sided p is below 2 to the power of 1 - n.

*Effect size.* The matched-pairs rank-biserial correlation: the share of ranks that speak for the one, less the share
that speaks for the other. It is the effect that Wilcoxon's test tests, lies between -1 and 1, and says how regular a
difference is, which the mean difference in Dice, shown beside it, does not. Cohen's d would divide by a standard
deviation that one outlier of eight patients makes.

*Networks.* Cases of one fold share a network, so a second interval is over networks (``analysis.networks``).

*Words.* One rule for the whole study (:func:`decide`). *Higher*, *lower*: both intervals leave out zero, p of
Wilcoxon's test is at most 0.05 after Holm's correction over the family, the comparisons that answer one question, and
so is p of flipping the signs of networks, where there are enough of them. *No difference*: both intervals lie within
the cohort's margin (``analysis.intervals.margin``). *Undecided*: all else. *Not decided yet*: the runs are not sound
(``analysis.soundness``), whatever the numbers say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy import stats

from gbmlib.analysis.intervals import MARGIN, NOTHING, ROUNDING, STORAGE, Difference, difference_interval
from gbmlib.analysis.networks import OverNetworks

RESAMPLES = 9999

#: A p above this, corrected for its family, decides no difference.
LEVEL = 0.05

#: What a comparison may decide.
HIGHER, LOWER, NONE, UNDECIDED, NOT_YET = "higher", "lower", "no difference", "undecided", "not decided yet"

Key = TypeVar("Key")


class UnpairedError(ValueError):
    """Two sets of values are not of the same cases (or folds, or regions), so no case can be compared with itself."""


@dataclass(frozen=True)
class Paired:
    """One thing minus another, case by case.

    Attributes:
        difference: mean and 95 % interval, over cases, and over seeds where there are several.
        p: of Wilcoxon's signed-rank test, two-sided: how often chance alone would give as much.
        adjusted: p after Holm's correction for the family (:func:`family`); of a comparison by itself p.
        family: how many comparisons were corrected together.
        p_equivalence: of two one-sided such tests (TOST): small where the difference lies within the margin.
        effect: rank-biserial correlation, positive where the other is higher.
        seeds: of the base and of the other.
        by_seed: the mean difference of each seed that both have.
        margin: what counts as no difference.
        networks: the same difference over trained networks; None where it is not known which networks are behind it.
        unsound: why nothing may be decided yet, a sentence each; empty where the runs are sound.
        cautions: what differs between the two sides by design, a sentence each.
    """

    difference: Difference
    p: float
    p_equivalence: float
    effect: float
    seeds: tuple[int, int]
    by_seed: Mapping[int, float]
    adjusted: float
    family: int = 1
    margin: float = MARGIN
    networks: OverNetworks | None = None
    unsound: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def cases(self) -> int:
        """How many were compared."""
        return self.difference.cases

    @property
    def decided(self) -> str:
        """ "higher", "lower", "no difference", "undecided" (:func:`decide`), or "not decided yet" of unsound runs."""
        return NOT_YET if self.unsound else decide(self.difference, self.adjusted, self.margin, self.networks)


def paired(
    base: pd.DataFrame, other: pd.DataFrame, margin: float = MARGIN, networks: OverNetworks | None = None
) -> Paired:
    """Other minus base, case by case.

    Args:
        base, other: values, a row a case, a column a seed; NaN where a seed has not got a case. Seeds that both have
            are drawn together for the interval, as they share the order of the data and, where networks agree, the
            first weights.
        margin: differences of less do not matter.
        networks: the same difference over networks.

    Raises:
        UnpairedError: the cases are not the same, one occurs twice, or one has no value; all are named.
    """
    _require_pairs(base, other)
    # In one order, as the draws go by the position of a case: the same runs listed otherwise have the same interval.
    base, other = (of.astype(float).sort_index() for of in (base, other))
    change = _clean(other.mean(axis=1) - base.mean(axis=1))
    shared = [seed for seed in base if seed in other]
    resolved = np.where(np.abs(change) <= STORAGE, 0.0, change)  # ranks must not come from how numbers are stored
    p = wilcoxon(resolved)
    return Paired(
        difference=_interval(base, other, change),
        p=p,
        adjusted=p,
        p_equivalence=max(wilcoxon(change + margin, "greater"), wilcoxon(change - margin, "less")),
        effect=rank_biserial(resolved),
        seeds=(base.shape[1], other.shape[1]),
        by_seed={seed: float((other[seed] - base[seed]).mean()) for seed in shared},
        margin=margin,
        networks=networks,
    )


def decide(difference: Difference, p: float, margin: float, networks: OverNetworks | None) -> str:
    """``"higher"``, ``"lower"``, ``"no difference"`` or ``"undecided"``: the rule that words every comparison.

    Args:
        difference: with its 95 % interval over cases; without one nothing is decided.
        p: corrected for the family; NaN where there is no test of cases.
        networks: the same over networks; without their interval nothing is decided.
    """
    if networks is None:
        return UNDECIDED
    word = outcome([difference, networks.difference], margin)
    unconfirmed = word in (HIGHER, LOWER) and (p > LEVEL or networks.p > LEVEL)
    return outcome([difference, networks.difference], margin, reliable=False) if unconfirmed else word


def outcome(intervals: Sequence[Difference], margin: float, reliable: bool = True) -> str:
    """What intervals of one difference decide if all of them agree.

    Args:
        reliable: whether leaving out zero suffices for "higher" and "lower".
    """
    if any(math.isnan(one.low) for one in intervals):
        return UNDECIDED
    if reliable and all(one.low > 0 for one in intervals):
        return HIGHER
    if reliable and all(one.high < 0 for one in intervals):
        return LOWER
    return NONE if all(within(one, margin) for one in intervals) else UNDECIDED


def within(difference: Difference, margin: float) -> bool:
    """Whether an interval lies inside the margin on both sides of zero."""
    return -margin <= difference.low and difference.high <= margin


def family(found: Mapping[Key, Paired | None]) -> dict[Key, Paired | None]:
    """The same comparisons, their p corrected together (:func:`holm`); one that was not made is None, and counts."""
    adjusted = holm({key: math.nan if of is None else of.p for key, of in found.items()})
    return {key: of and replace(of, adjusted=adjusted[key], family=len(found)) for key, of in found.items()}


def table(found: Mapping[Key, Paired | None]) -> pd.DataFrame:
    """A :func:`family` of comparisons, a row each.

    Returns:
        Columns ``difference`` (``analysis.intervals.NOTHING`` where none was made), ``p`` (corrected),
        ``rank_biserial``, ``decided``, ``cases``, ``seeds`` (the fewer of the two sides), ``family`` (its size),
        ``networks`` (the difference over networks), ``detectable`` (what they could have found), ``margin``,
        ``unsound`` and ``caution`` (sentences; empty where there is nothing to say).
    """
    rows = {}
    for key, of in family(found).items():
        nothing = (NOTHING, math.nan, math.nan, UNDECIDED, 0, 0, len(found), NOTHING, math.nan, MARGIN, "", "")
        rows[key] = nothing if of is None else _row(of)
    columns = ["difference", "p", "rank_biserial", "decided", "cases", "seeds", "family"]
    columns += ["networks", "detectable", "margin", "unsound", "caution"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def probability(p: float) -> str:
    """p as it is printed."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def wilcoxon(differences: Sequence[float], alternative: str = "two-sided") -> float:
    """p of Wilcoxon's signed-rank test that differences are symmetric about zero; 1 where all are zero.

    Cases that do not differ are ranked, and their ranks dropped (Pratt 1959): they speak for no difference.
    """
    values = _clean(differences)
    if not values.size or not values.any():
        return 1.0
    return float(stats.wilcoxon(values, zero_method="pratt", alternative=alternative).pvalue)


def rank_biserial(differences: Sequence[float]) -> float:
    """Ranks of positive less ranks of negative differences, over all ranks; between -1 and 1, 0 where all are zero."""
    values = _clean(differences)
    ranks = stats.rankdata(np.abs(values))
    return float((ranks * np.sign(values)).sum() / ranks.sum()) if values.size else 0.0


def holm(p: Mapping[Key, float]) -> dict[Key, float]:
    """p of a family of comparisons, adjusted so that the chance of any false positive stays what it is for one (Holm).

    The family is what is listed: a comparison that was not made yet (NaN) stays NaN but counts, so that making it later
    favours none of the others.
    """
    values = pd.Series(dict(p), dtype=float)
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"p lies between 0 and 1, unlike {values[(values < 0) | (values > 1)].to_dict()}")
    ordered = values.dropna().sort_values(kind="stable")
    steps = len(values) - np.arange(len(ordered))
    adjusted = np.minimum(np.maximum.accumulate(ordered * steps), 1.0)
    return {key: float(adjusted.get(key, np.nan)) for key in values.index}


def _row(of: Paired) -> tuple:
    networks = (of.networks.difference, of.networks.detectable) if of.networks else (NOTHING, math.nan)
    words = ("; ".join(of.unsound), "; ".join(of.cautions))
    counts = (of.cases, min(of.seeds), of.family)
    return (of.difference, of.adjusted, of.effect, of.decided, *counts, *networks, of.margin, *words)


def _interval(base: pd.DataFrame, other: pd.DataFrame, change: np.ndarray) -> Difference:
    plain = difference_interval(change)
    if max(base.shape[1], other.shape[1]) == 1 or np.isnan(plain.low):
        return plain
    rng = np.random.default_rng(0)
    cases = len(change)
    drawn = rng.multinomial(cases, np.full(cases, 1 / cases), RESAMPLES) / cases
    together = list(base) == list(other)
    of_base = _draws(base, rng)
    of_other = _draws(other, rng, of_base if together else None)
    means = np.zeros(RESAMPLES)
    for table, weights, sign in ((base, of_base, -1), (other, of_other, 1)):
        means += sign * np.einsum("rc,rc->r", drawn, _by_case(table, weights))
    if np.ptp(means) < ROUNDING:
        return Difference(plain.mean, plain.mean, plain.mean, cases)
    low, high = np.quantile(means, (0.025, 0.975))
    return Difference(plain.mean, float(low), float(high), cases)


def _draws(table: pd.DataFrame, rng: np.random.Generator, same: np.ndarray | None = None) -> np.ndarray:
    """How often each seed is drawn, (resample, seed)."""
    seeds = table.shape[1]
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) if same is None else same


def _by_case(table: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """The value of each case under drawn seeds, (resample, case); a case that none of them has keeps its mean."""
    values, there = table.to_numpy(), table.notna().to_numpy()
    own = there.sum(1, keepdims=True)
    mean = np.nansum(values, 1, keepdims=True) / own
    stretch = np.sqrt(own / np.maximum(own - 1, 1))
    deviations = np.where(there, stretch * (values - mean), 0.0)
    counted = weights @ there.T
    return mean.T + np.divide(weights @ deviations.T, counted, out=np.zeros(counted.shape), where=counted > 0)


def _clean(differences: Sequence[float]) -> np.ndarray:
    """Differences without the noise of rounding, which would give ranks to zeros."""
    values = np.asarray(differences, float)
    return np.where(np.abs(values) < ROUNDING, 0.0, values)


def _require_pairs(base: pd.DataFrame, other: pd.DataFrame) -> None:
    problems = []
    for name, table, reference in (("the base", base, other), ("the other", other, base)):
        if lacking := sorted(map(str, set(reference.index) - set(table.index))):
            problems.append(f"{name} has not: {', '.join(lacking)}")
        if twice := sorted(map(str, table.index[table.index.duplicated()].unique())):
            problems.append(f"{name} has twice: {', '.join(twice)}")
        if empty := sorted(map(str, table.index[table.isna().all(axis=1)])):
            problems.append(f"{name} has no value for: {', '.join(empty)}")
        if endless := sorted(map(str, table.index[np.isinf(table).any(axis=1)])):
            problems.append(f"{name} is not finite for: {', '.join(endless)}")
    if not problems and base.empty:
        problems.append("neither has a case")
    if problems:
        raise UnpairedError(f"the cases cannot be paired ({'; '.join(problems)})")
