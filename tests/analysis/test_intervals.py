"""Intervals over cases and over networks, by hand, against SciPy and by simulation, and what they decide together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gbmlib.analysis import intervals
from gbmlib.analysis.intervals import (
    NOTHING,
    Difference,
    OverNetworks,
    decide,
    difference_interval,
    mean_interval,
    over_folds,
    over_networks,
    sign_flip,
)


def sure(difference, p=np.nan):
    """Networks that say what the cases say."""
    return OverNetworks(difference, 10, p, 0.01)


def of_folds(values):
    """Over networks, of differences that are given for each fold (row) and seed (column)."""
    return over_networks(values * 0, values, {fold: fold for fold in values.index})


def test_interval_of_a_known_sample():
    values = np.random.default_rng(0).normal(0.8, 0.1, 200)
    interval = mean_interval(values)
    assert interval.mean == pytest.approx(values.mean())
    # The normal theory's interval is close for 200 values.
    half = 1.96 * values.std(ddof=1) / 200**0.5
    assert interval.low == pytest.approx(values.mean() - half, abs=0.003)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.003)
    assert mean_interval(values) == interval


def test_few_equal_and_missing_values():
    assert str(mean_interval([0.5])) == "0.500 (1 case)"
    assert str(mean_interval([0.5, 0.7])) == "0.600 (2 cases)"
    assert str(mean_interval([0.5, 0.5, 0.5])) == "0.500 (0.500 to 0.500)"
    for bad in ([], [0.5, np.nan]):
        with pytest.raises(ValueError, match="finite"):
            mean_interval(bad)


def test_differences_are_printed_with_their_sign():
    assert str(Difference(0.02, -0.01, 0.05, 19)) == "+0.020 (-0.010 to +0.050)"
    assert str(difference_interval([0.1])) == "+0.100 (1 case)"
    assert str(NOTHING) == "not comparable"


def test_values_that_are_equal_but_for_rounding_have_an_interval_of_no_width():
    values = [0.1 + 0.2 - 0.3 + 0.02, 0.02, 0.02 + 1e-16, 0.05 - 0.03]
    assert len(set(values)) > 1
    of = difference_interval(values)
    assert of.low == of.high == of.mean


def test_an_end_that_the_bootstrap_leaves_open_is_taken_from_the_percentiles():
    """All drawn values of a largest value lie at or below it: the bias correction has no number for that."""
    values = np.array([0.1, 0.2, 0.3, 0.9])
    found = intervals.bootstrap(values, lambda means: np.minimum(means, 0.375))
    assert 0.1 <= found.low <= found.high == 0.375


def test_the_interval_is_students_over_folds():
    folds = [0.03, 0.01, 0.05, 0.02, 0.04]
    found = of_folds(pd.DataFrame({0: folds}))
    # Standard deviation sqrt(0.001 / 4), standard error sqrt(0.001 / 20); t of 4 degrees of freedom is 2.776.
    assert found.difference.mean == pytest.approx(0.03)
    assert found.difference.high - 0.03 == pytest.approx(2.776445 * (0.001 / 20) ** 0.5, rel=1e-6)
    ends = stats.ttest_1samp(folds, 0).confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((ends.low, ends.high))
    assert (found.difference.cases, found.pairs) == (5, 5)
    assert np.isnan(found.p)  # five pairs are too few to flip


def test_what_could_be_detected_is_found_four_times_out_of_five():
    folds = [0.03, 0.01, 0.05, 0.02, 0.04]
    found = of_folds(pd.DataFrame({0: folds}))
    # t of 4 degrees of freedom at 0.975 and at 0.8.
    assert found.detectable == pytest.approx((2.776445 + 0.940965) * (0.001 / 20) ** 0.5, rel=1e-5)


def test_seeds_are_averaged_within_a_fold():
    values = pd.DataFrame({0: [0.0, 0.1, 0.2, 0.3, 0.4], 1: [0.2, 0.3, np.nan, 0.5, 0.6]})
    found = of_folds(values)
    assert found.difference.mean == pytest.approx(np.mean([0.1, 0.2, 0.2, 0.4, 0.5]))
    assert found.pairs == 9
    assert np.isnan(found.p)


def test_few_folds_have_no_interval_and_equal_ones_no_width():
    few = of_folds(pd.DataFrame({0: [0.1, 0.2, 0.3, 0.4]}))
    assert few.difference.mean == pytest.approx(0.25)
    assert np.isnan([few.difference.low, few.difference.high, few.detectable]).all()
    same = of_folds(pd.DataFrame({0: [0.1] * 5}))
    assert (same.difference.low, same.difference.high, same.detectable) == (0.1, 0.1, 0.0)
    with pytest.raises(ValueError, match="finite difference for each fold"):
        of_folds(pd.DataFrame({0: [0.1, np.nan]}))
    with pytest.raises(ValueError, match="finite difference for each fold"):
        of_folds(pd.DataFrame())


def test_a_fold_is_the_mean_of_its_cases():
    base = pd.DataFrame({0: [0.5, 0.6, 0.7], 1: [0.4, 0.6, 0.8]}, list("abc"))
    folds = {"a": 0, "b": 0, "c": 1}
    both = over_networks(base, base + np.array([[0.1, 0.0], [0.3, 0.2], [0.0, 0.4]]), folds)
    # Of the folds (0.2, 0.1) and (0.0, 0.4) under the two seeds.
    assert (both.difference.mean, both.difference.cases, both.pairs) == (pytest.approx((0.15 + 0.2) / 2), 2, 4)
    # Other seeds: each side by its own mean.
    apart = over_networks(base, base[[0]] + 0.1, folds)
    assert apart.pairs == 2
    assert apart.difference.mean == pytest.approx(np.mean([np.mean([0.6 - 0.45, 0.7 - 0.6]), 0.8 - 0.75]))


def test_signs_by_enumeration():
    # Of 8 signings of 1, 2, 4 the mean is as large as that of +1, +2, +4 in two: all plus and all minus.
    assert sign_flip([1, 2, 4]) == pytest.approx(2 / 8)
    # -1 + 2 + 4 = 5: as large are all plus, that one, and both turned round.
    assert sign_flip([-1, 2, 4]) == pytest.approx(4 / 8)
    assert sign_flip([0.0] * 10) == 1.0
    assert sign_flip([0.1] * 10) == pytest.approx(2 / 2**10)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=14))
def test_signs_as_scipy_flips_them(whole):
    values = np.array(whole) / 100
    p = sign_flip(values)
    assert 0 < p <= 1
    assert sign_flip(-values) == pytest.approx(p, abs=0.02)
    if len(values) <= intervals.EXACT_PAIRS:
        test = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
        assert p == pytest.approx(min(1, test.pvalue))


def simulated(rng, cases, folds, seeds, of_case, of_network, shared, of_fold):
    """Differences (fold, seed, case): of cases, of each network in each case, of each network in all its cases, and of
    the folds, whose networks share their training cases."""
    each = cases // folds
    shape = (folds, seeds, each)
    return (
        rng.normal(0, of_case, (folds, 1, each))
        + rng.normal(0, of_network, shape)
        + rng.normal(0, shared, (folds, seeds, 1))
        + rng.normal(0, of_fold, (folds, 1, 1))
    )


def tables(values):
    """The same as ``analysis.intervals.over_networks`` takes it, against nothing at all."""
    folds, seeds, each = values.shape
    change = pd.DataFrame(values.transpose(0, 2, 1).reshape(-1, seeds))
    return change * 0, change, {case: case // each for case in range(folds * each)}


#: Cases and seeds; standard deviations of cases, of a network in a case, of a network and of a fold in all cases.
STUDIES = [
    (20, 1, 0.008, 0.043, 0.02, 0.01),
    (20, 2, 0.008, 0.043, 0.02, 0.01),
    (20, 2, 0.008, 0.043, 0.0, 0.0),
    (260, 1, 0.008, 0.025, 0.003, 0.002),
    (260, 2, 0.008, 0.025, 0.003, 0.002),
    (260, 5, 0.008, 0.025, 0.003, 0.002),
]


@pytest.mark.parametrize(("cases", "seeds", "of_case", "of_network", "shared", "of_fold"), STUDIES)
def test_intervals_over_networks_hold_the_truth(cases, seeds, of_case, of_network, shared, of_fold):
    rng, rounds, truth = np.random.default_rng(4), 1500, 0.02
    held = 0
    for _ in range(rounds):
        values = truth + simulated(rng, cases, 5, seeds, of_case, of_network, shared, of_fold)
        found = over_folds(values.mean((1, 2)), 5 * seeds).difference
        held += found.low <= truth <= found.high
    assert 0.93 <= held / rounds <= 0.97


def test_intervals_over_cases_alone_do_not():
    rng, rounds, truth, held = np.random.default_rng(4), 200, 0.02, 0
    for _ in range(rounds):
        values = truth + simulated(rng, 260, 5, 1, 0.008, 0.025, 0.003, 0.002)
        found = difference_interval(values.mean(1).ravel())
        held += found.low <= truth <= found.high
    assert held / rounds < 0.83


def test_the_simulation_goes_through_the_tables():
    values = simulated(np.random.default_rng(0), 20, 5, 2, 0.01, 0.04, 0.02, 0.01)
    found = over_networks(*tables(values))
    expected = over_folds(values.mean((1, 2)), 10)
    assert found.difference.low == pytest.approx(expected.difference.low)
    assert found.pairs == expected.pairs == 10
    assert 0 < found.p <= 1


# ------------------------------------------------------------------------------------------------- what they decide


@pytest.mark.parametrize(
    ("low", "high", "p", "word"),
    [
        (0.02, 0.05, 0.01, "higher"),
        (0.02, 0.05, 0.05, "higher"),
        (0.02, 0.05, 0.051, "undecided"),  # the test does not confirm the interval
        (-0.05, -0.02, 0.01, "lower"),
        (-0.005, 0.005, 0.9, "no difference"),
        (0.002, 0.008, 0.01, "higher"),  # real, though it does not matter
        (0.002, 0.008, 0.06, "no difference"),
        (0.002, 0.05, 0.01, "higher"),
        (-0.005, 0.02, 0.01, "undecided"),
        (0.0, 0.02, 0.01, "undecided"),
        (0.02, 0.05, np.nan, "higher"),  # where there is no test, the intervals decide
        (np.nan, np.nan, 0.01, "undecided"),
    ],
)
def test_the_rule(low, high, p, word):
    difference = Difference(0.003, low, high, 19)
    assert decide(difference, p, 0.01, sure(difference)) == word
    assert decide(difference, p, 0.01, None) == "undecided"  # cases alone do not suffice


@pytest.mark.parametrize(
    ("low", "high", "flipped", "word"),
    [
        (0.01, 0.06, 0.01, "higher"),
        (0.01, 0.06, np.nan, "higher"),  # too few networks to flip
        (0.01, 0.06, 0.06, "undecided"),
        (-0.01, 0.06, 0.01, "undecided"),
        (-0.06, -0.01, 0.01, "undecided"),
        (np.nan, np.nan, 0.01, "undecided"),
    ],
)
def test_networks_must_agree_with_cases(low, high, flipped, word):
    over = OverNetworks(Difference(0.03, low, high, 5), 10, flipped, 0.01)
    assert decide(Difference(0.03, 0.02, 0.05, 19), 0.01, 0.01, over) == word


def test_nothing_decides_nothing():
    assert decide(NOTHING, np.nan, 0.01, sure(NOTHING)) == "undecided"


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_turned_round_it_decides_the_opposite(mean, below, above, p):
    opposite = {"higher": "lower", "lower": "higher", "undecided": "undecided", "no difference": "no difference"}
    one = Difference(mean, mean - below, mean + above, 9)
    assert decide(-one, p, 0.01, sure(-one)) == opposite[decide(one, p, 0.01, sure(one))]
