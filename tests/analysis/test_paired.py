"""Paired comparisons of tables: by hand, against SciPy, by simulation, and what is refused."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gbmlib.analysis import family, intervals, paired
from gbmlib.analysis.intervals import MARGIN, NOTHING, difference_interval
from gbmlib.analysis.paired import rank_biserial, wilcoxon
from gbmlib.analysis.scores import UnpairedError

CASES = [f"case {number}" for number in range(8)]


def table(*seeds):
    return pd.DataFrame({number: list(values) for number, values in enumerate(seeds)}, CASES[: len(seeds[0])])


def compared(base, other, margin=MARGIN):
    """As ``analysis.paired.compare_tables``, of cases that are dealt to five folds."""
    folds = {case: number % 5 for number, case in enumerate(base.index)}
    return paired.compare_tables(base, other, margin, intervals.over_networks(base, other, folds))


def test_by_hand():
    base, other = table([0.5, 0.6, 0.7, 0.8]), table([0.53, 0.58, 0.71, 0.84])
    found = compared(base, other)
    # Differences 0.03, -0.02, 0.01, 0.04 have the ranks 3, 2, 1, 4: 8 for, 2 against.
    assert found.effect == pytest.approx((8 - 2) / 10)
    # Of the 16 ways to sign four ranks, 3 have a negative sum of at most 2 (0; 1; 2): two-sided 6 / 16.
    assert found.p == pytest.approx(6 / 16)
    assert found.difference.mean == pytest.approx(0.015)
    assert (found.cases, found.seeds) == (4, (1, 1))


def test_all_signs_by_enumeration():
    values = np.array([0.3, -0.1, 0.25, 0.7, -0.05, 0.4])
    ranks = stats.rankdata(np.abs(values))
    sums = [sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign) for signs in product((0, 1), repeat=6)]
    seen = ranks[values < 0].sum()
    assert wilcoxon(values) == pytest.approx(2 * np.mean([total <= seen for total in sums]))


def test_with_one_seed_the_interval_is_that_over_cases():
    rng = np.random.default_rng(3)
    base, other = table(rng.uniform(size=8)), table(rng.uniform(size=8))
    assert compared(base, other).difference == difference_interval((other - base)[0])


def test_seeds_are_averaged_within_a_case():
    base, other = table([0.2, 0.4, 0.6], [0.4, 0.6, 0.8]), table([0.5, 0.5, 0.9])
    found = compared(base, other)
    assert found.difference.mean == pytest.approx(np.mean([0.2, 0.0, 0.2]))
    assert found.seeds == (2, 1)
    # The two cases that differ speak for the other; one that does not takes its rank away.
    assert found.effect == pytest.approx((2.5 + 2.5) / 6)


def test_the_luck_of_seeds_widens_the_interval_as_much_as_it_should():
    """Cases all alike: what is left is the seeds' luck, whose variance is that of the mean of n, unbiased."""
    values = np.array([0.70, 0.74, 0.81])
    other = table(*(np.full(8, value) for value in values))
    base = table(*(np.full(8, 0.5) for _ in values))
    weights = np.random.default_rng(0).multinomial(3, np.full(3, 1 / 3), 100_000)
    drawn = paired._by_case(other, weights)[:, 0]
    assert drawn.var() == pytest.approx(values.var(ddof=1) / 3, rel=0.02)
    found = compared(base, other).difference
    assert found.low < values.mean() - 0.5 < found.high
    assert found.high - found.low > 2 * values.std(ddof=1) / 3**0.5


def test_seeds_that_both_have_are_drawn_together():
    """What a seed does to both alike is no difference; of unlike seeds it is."""
    luck = np.array([0.0, 0.1])
    base = table(*(np.linspace(0.4, 0.6, 8) + of for of in luck))
    same = compared(base, base + 0.05).difference
    assert same.high - same.low < 1e-9
    renamed = (base + 0.05).rename(columns={0: 7, 1: 8})
    apart = compared(base, renamed).difference
    assert apart.high - apart.low > 0.1


@pytest.mark.slow
def test_intervals_over_cases_and_seeds_cover():
    rng, hits, narrow, rounds = np.random.default_rng(1), 0, 0, 100
    for _ in range(rounds):
        truth = rng.normal(0, 0.03, (8, 1)) + rng.normal(0, 0.03, (1, 3)) + rng.normal(0, 0.01, (8, 3))
        base, other = table(*np.zeros((3, 8))), table(*(truth + 0.02).T)
        found, plain = compared(base, other).difference, difference_interval((other - base).mean(axis=1))
        hits += found.low <= 0.02 <= found.high
        narrow += plain.low <= 0.02 <= plain.high
    # Three seeds are few; intervals over cases alone know nothing of their luck.
    assert hits / rounds > 0.75
    assert hits > narrow + 0.15 * rounds


def test_a_seed_that_lacks_some_folds_counts_where_it_is():
    base = table([0.5] * 6, [0.5] * 3 + [np.nan] * 3)
    other = table([0.6] * 6, [0.8] * 3 + [np.nan] * 3)
    found = compared(base, other)
    assert found.difference.mean == pytest.approx(np.mean([0.2] * 3 + [0.1] * 3))
    assert found.difference.low < found.difference.mean < found.difference.high


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=9))
@settings(deadline=None, max_examples=12)
def test_turned_round_everything_turns(values):
    # Coarse values: what is computed backwards must not fall on the other side of a tie.
    values = np.round(values, 2)
    names = [f"c{number}" for number in range(len(values))]
    zero, other = (pd.DataFrame({0: of}, names) for of in (np.zeros(len(values)), values))
    there, back = compared(zero, other), compared(other, zero)
    assert there.difference.mean == pytest.approx(-back.difference.mean)
    assert there.p == pytest.approx(back.p)
    assert there.effect == pytest.approx(-back.effect)
    assert -1 <= there.effect <= 1
    assert 0 <= there.p <= 1


@given(st.lists(st.integers(-40, 40), min_size=4, max_size=12, unique_by=abs))
@settings(deadline=None, max_examples=40)
def test_signed_ranks_as_scipy_has_them(whole):
    values = np.array([value for value in whole if value]) / 50
    expected = stats.wilcoxon(values)
    assert wilcoxon(values) == pytest.approx(expected.pvalue)
    total = len(values) * (len(values) + 1) / 2
    assert abs(rank_biserial(values)) == pytest.approx((total - 2 * expected.statistic) / total)


def test_no_difference_anywhere():
    base = table([0.5, 0.6, 0.7])
    found = compared(base, base + 1e-16)
    assert (found.p, found.effect) == (1.0, 0.0)
    base = table(np.linspace(0.5, 0.7, 8))
    assert compared(base, base + 1e-16).decided == "no difference"


def test_what_half_precision_can_change_has_no_rank():
    base = table(np.linspace(0.5, 0.7, 8))
    found = compared(base, base + 0.0005)
    assert (found.p, found.effect, found.decided) == (1.0, 0.0, "no difference")
    assert found.difference.mean == pytest.approx(0.0005)


def test_equivalence_needs_the_interval_inside_the_margin():
    base = table(np.linspace(0.5, 0.7, 8))
    small = compared(base, base + 0.002)
    assert small.decided == "higher"  # though it does not matter
    assert intervals.within(small.difference, small.margin)
    assert small.p == pytest.approx(2 / 256)  # all eight are above 0
    large = compared(base, base + 0.02)
    assert large.decided == "higher"
    either = base + np.array([[0.02, -0.02] * 4]).T
    assert (compared(base, either).decided, compared(base, either, 0.05).decided) == ("undecided", "no difference")
    noisy = base + np.array([[0.1, -0.1] * 4]).T
    # A large p is no proof of equality.
    assert compared(base, noisy).p > 0.5
    assert compared(base, noisy).decided == "undecided"


def test_too_few_cases_decide_nothing():
    found = compared(table([0.5, 0.6]), table([0.9, 0.9]))
    assert np.isnan(found.difference.low)
    assert found.decided == "undecided"


def test_what_is_not_paired_is_refused_with_every_name():
    base, other = table([0.5, 0.6, 0.7]), table([0.5, 0.6, 0.7]).rename(index={"case 2": "case 9"})
    with pytest.raises(UnpairedError, match=r"the base has not: case 9; the other has not: case 2"):
        paired.compare_tables(base, other)
    with pytest.raises(UnpairedError, match=r"the other has no value for: case 1"):
        paired.compare_tables(base, base.where(base.index.to_series() != "case 1", axis=0))
    with pytest.raises(UnpairedError, match=r"the base has twice: case 0"):
        paired.compare_tables(base.iloc[[0, 0, 1, 2]], base)
    with pytest.raises(UnpairedError, match="the other is not finite for: case 2"):
        paired.compare_tables(base, base.replace(0.7, np.inf))
    with pytest.raises(UnpairedError, match="neither has a case"):
        paired.compare_tables(base[:0], base[:0])


def test_a_family_is_corrected_together_and_its_words_follow():
    base = table(np.linspace(0.5, 0.7, 8))
    alone = compared(base, base + 0.02)
    assert (alone.adjusted, alone.family, alone.decided) == (alone.p, 1, "higher")
    found = family.corrected(dict.fromkeys(range(7), alone) | {"not made": None})
    assert found["not made"] is None
    assert found[0].adjusted == pytest.approx(8 * 2 / 2**8)
    assert (found[0].p, found[0].family, found[0].decided) == (alone.p, 8, "undecided")
    rows = family.table({"made": alone, "not made": None})
    assert rows.decided.tolist() == ["higher", "undecided"]
    assert rows.difference["not made"] == NOTHING
    assert rows.p["made"] == 2 * alone.p


def test_runs_that_are_not_sound_decide_nothing_yet():
    base = table(np.linspace(0.5, 0.7, 8))
    found = replace(compared(base, base + 0.02), unsound=("collapsed: a channel",), cautions=("unequal: steps",))
    assert found.decided == "not decided yet"
    row = family.table({"one": found}).loc["one"]
    assert (row.decided, row.unsound, row.caution) == ("not decided yet", "collapsed: a channel", "unequal: steps")
    assert row.networks.mean == pytest.approx(0.02)
