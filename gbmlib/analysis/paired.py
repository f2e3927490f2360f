"""Paired comparisons, case by case: interval over cases and seeds, tests, effect size.

*Interval.* With one seed a bootstrap over cases. With several, cases and seeds are drawn independently of each other
(Owen 2007, "The pigeonhole bootstrap"): a seed's luck is the same for all cases that it holds out. A few seeds drawn
with replacement vary too little, by (n - 1) / n in variance; so their deviations are stretched by its inverse root (Rao
and Wu 1988). Simulated with 19 cases and luck as large as the spread of the cases, 80 % of the intervals hold the truth
with two seeds, 85 % with three and 92 % with five, where intervals over cases alone do so in 47, 55 and 64 %.

*Tests.* Wilcoxon's signed ranks, exact for few cases: it asks less of differences than a t-test, whose normal
distribution a patient with a missed tumour breaks. With n cases no two-sided p is below 2 to the power of 1 - n.

*Effect size.* The matched-pairs rank-biserial correlation: the share of ranks that speak for the one, less the share
that speaks for the other. Cohen's d would divide by a standard deviation that one outlier of eight patients makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from gbmlib.analysis import intervals, scores, soundness
from gbmlib.analysis.intervals import MARGIN, NOT_YET, RESAMPLES, ROUNDING, STORAGE, Difference, OverNetworks
from gbmlib.analysis.scores import GAP, UnpairedError, fold_of
from gbmlib.study.records import HELD_OUT, TRAIN, Record


@dataclass(frozen=True)
class Paired:
    """A paired comparison, case by case.

    Attributes:
        difference: mean and 95 % interval, over cases, and over seeds where there are several.
        p: of Wilcoxon's signed-rank test, two-sided.
        effect: rank-biserial correlation, positive where the other is higher.
        seeds: of the base and of the other.
        adjusted: p after Holm's correction for the family; of a comparison by itself p.
        family: how many comparisons were corrected together.
        margin: what counts as no difference.
        networks: the same difference over trained networks; None where it is not known which networks are behind it.
        unsound: why nothing may be decided yet, a sentence each; empty where the runs are sound.
        cautions: what differs between the two sides by design, a sentence each.
    """

    difference: Difference
    p: float
    effect: float
    seeds: tuple[int, int]
    adjusted: float
    family: int = 1
    margin: float = MARGIN
    networks: OverNetworks | None = None
    unsound: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def cases(self) -> int:
        return self.difference.cases

    @property
    def decided(self) -> str:
        """One of the words of ``analysis.intervals.decide``; "not decided yet" of unsound runs."""
        return NOT_YET if self.unsound else intervals.decide(self.difference, self.adjusted, self.margin, self.networks)


def compare(
    base: Sequence[Record],
    other: Sequence[Record],
    metric: str = "dice",
    regions: Sequence[str] | None = None,
    split: str = HELD_OUT,
) -> Paired:
    """Other minus base, mean over regions, and the reasons not to decide anything by it (``analysis.soundness``).

    Args:
        metric: ``"dice"`` stands for ``analysis.scores.dice_of`` the records.
        regions: None for all that both measured.
        split: as in ``analysis.scores.by_seed``.

    Raises:
        UnpairedError: the two are not of one cohort, do not hold out the same cases in the same folds, or share no
            region; says what is missing where.
    """
    cohorts = [sorted({record.experiment.cohort for record in records}) for records in (base, other)]
    if cohorts[0] != cohorts[1] or len(cohorts[0]) > 1:
        raise UnpairedError(f"the base is of {', '.join(cohorts[0])}, the other of {', '.join(cohorts[1])}")
    for each in (HELD_OUT, TRAIN) if split == GAP else (split,):
        _require_same_cases(base, other, each)
    ours, theirs = (list(scores.tidy(records).region.unique()) for records in (base, other))
    shared = [region for region in ours if region in theirs and region in (regions or ours)]
    if not shared:
        raise UnpairedError(f"the base measured regions {ours}, the other {theirs}; none is shared")
    if metric == "dice":
        metric = scores.dice_of((*base, *other), shared)
    tables = [scores.by_seed(records, metric, shared, split) for records in (base, other)]
    if split in (HELD_OUT, TRAIN, GAP):
        cohort, folds, sides = cohorts[0][0], scores.folds_of(base), tables
    else:  # every network measures all cases of another cohort; an average stands against each of its members
        cohort, sides = split, [_by_network(records, metric, shared, split) for records in (base, other)]
        index = max(sides, key=len).index
        sides = [side if len(side) > 1 else side.reindex(index, method="nearest") for side in sides]
        folds = {fold: fold for fold in index}
    networks = intervals.over_networks(*sides, folds) if sides[0].index.isin(folds).any() else None
    change = tables[1].mean(axis=1) - tables[0].mean(axis=1)
    comparison = judged(compare_tables(*tables, intervals.margin(cohort), networks), base, other, change)
    sound = split == HELD_OUT and not comparison.unsound
    drifts = soundness.drifting([(base, -1), (other, 1)]) if sound else ()
    return replace(comparison, unsound=(*comparison.unsound, *drifts))


def judged(
    comparison: Paired,
    base: Sequence[Record],
    other: Sequence[Record],
    change: Sequence[float] = (),
    growing: bool = False,
) -> Paired:
    """A comparison with the reasons against it; the arguments are those of ``analysis.soundness.between``."""
    judgement = soundness.between(base, other, change, growing)
    return replace(comparison, unsound=judgement.unsound, cautions=judgement.cautions)


def compare_tables(
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
    base, other = (table.astype(float).sort_index() for table in (base, other))
    change = _clean(other.mean(axis=1) - base.mean(axis=1))
    resolved = np.where(np.abs(change) <= STORAGE, 0.0, change)  # ranks must not come from how numbers are stored
    p = wilcoxon(resolved)
    return Paired(
        difference=_interval(base, other, change),
        p=p,
        adjusted=p,
        effect=rank_biserial(resolved),
        seeds=(base.shape[1], other.shape[1]),
        margin=margin,
        networks=networks,
    )


# --------------------------------------------------------------------------------------------------- tests and interval


def wilcoxon(differences: Sequence[float]) -> float:
    """p of Wilcoxon's signed-rank test, two-sided, that differences are symmetric about zero; 1 where all are zero.

    Cases that do not differ are ranked, and their ranks dropped (Pratt 1959): they speak for no difference.
    """
    values = _clean(differences)
    if not values.any():
        return 1.0
    return float(stats.wilcoxon(values, zero_method="pratt").pvalue)


def rank_biserial(differences: Sequence[float]) -> float:
    """Ranks of positive less ranks of negative differences, over all ranks; between -1 and 1, 0 where all are zero."""
    values = _clean(differences)
    ranks = stats.rankdata(np.abs(values))
    return float((ranks * np.sign(values)).sum() / ranks.sum()) if values.size else 0.0


def _interval(base: pd.DataFrame, other: pd.DataFrame, change: np.ndarray) -> Difference:
    plain = intervals.difference_interval(change)
    if max(base.shape[1], other.shape[1]) == 1 or np.isnan(plain.low):
        return plain
    rng, cases = np.random.default_rng(0), len(change)

    def drawn(count: int) -> np.ndarray:
        """How often each of some cases or seeds is drawn: (resample, count)."""
        return rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)

    case_weights, base_seeds = drawn(cases) / cases, drawn(base.shape[1])
    other_seeds = base_seeds if list(base) == list(other) else drawn(other.shape[1])
    means = np.einsum("rc,rc->r", case_weights, _by_case(other, other_seeds))
    means -= np.einsum("rc,rc->r", case_weights, _by_case(base, base_seeds))
    if np.ptp(means) < ROUNDING:
        return Difference(plain.mean, plain.mean, plain.mean, cases)
    low, high = np.quantile(means, (0.025, 0.975))
    return Difference(plain.mean, float(low), float(high), cases)


def _by_case(table: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """The value of each case under drawn seeds, (resample, case); a case that none of them has keeps its mean."""
    values, present = table.to_numpy(), table.notna().to_numpy()
    seeds = present.sum(1, keepdims=True)
    mean = np.nansum(values, 1, keepdims=True) / seeds
    stretch = np.sqrt(seeds / np.maximum(seeds - 1, 1))
    deviations = np.where(present, stretch * (values - mean), 0.0)
    counted = weights @ present.T
    return mean.T + np.divide(weights @ deviations.T, counted, out=np.zeros(counted.shape), where=counted > 0)


def _by_network(records: Sequence[Record], metric: str, regions: Sequence[str], split: str) -> pd.DataFrame:
    """The mean over cases and regions of the network of each fold (rows) and seed (columns)."""
    table = scores.tidy(records)
    table = table[(table.split == split) & (table.metric == metric) & table.region.isin(regions)]
    return table.groupby(["fold", "seed"]).value.mean().unstack("seed")


def _clean(differences: Sequence[float]) -> np.ndarray:
    """Differences without the noise of rounding, which would give ranks to zeros."""
    values = np.asarray(differences, float)
    return np.where(np.abs(values) < ROUNDING, 0.0, values)


def _require_same_cases(base: Sequence[Record], other: Sequence[Record], split: str) -> None:
    ours, theirs = (
        {
            (f"fold {fold} of {folds}" if split in (HELD_OUT, TRAIN) else split, case)
            for record in records
            for fold, folds in [fold_of(record)]
            for case in record.cases.case[record.cases.split == split].unique()
        }
        for records in (base, other)
    )
    faults = []
    for name, missing in (("the other", ours - theirs), ("the base", theirs - ours)):
        for fold in sorted({fold for fold, _ in missing}):
            lacking = ", ".join(sorted(case for its_fold, case in missing if its_fold == fold))
            faults.append(f"{name} has not, in {fold}: {lacking}")
    if not ours | theirs:
        faults.append(f"neither has {split!r} cases, or they share no fold")
    if faults:
        raise UnpairedError("the runs cannot be paired by case (" + "; ".join(faults) + ")")


def _require_pairs(base: pd.DataFrame, other: pd.DataFrame) -> None:
    problems = []
    for name, table, reference in (("the base", base, other), ("the other", other, base)):
        faults = {
            "has not": set(reference.index) - set(table.index),
            "has twice": table.index[table.index.duplicated()].unique(),
            "has no value for": table.index[table.isna().all(axis=1)],
            "is not finite for": table.index[np.isinf(table).any(axis=1)],
        }
        problems += [
            f"{name} {fault}: {', '.join(sorted(map(str, cases)))}" for fault, cases in faults.items() if len(cases)
        ]
    if not problems and base.empty:
        problems.append("neither has a case")
    if problems:
        raise UnpairedError(f"the cases cannot be paired ({'; '.join(problems)})")
