"""Inference over trained networks: by hand, against SciPy, and how often its intervals hold the truth."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gbmlib.analysis import networks
from gbmlib.analysis.intervals import difference_interval
from gbmlib.analysis.networks import by_fold, over_networks, sign_flip


def test_the_interval_is_students_over_folds():
    folds = [0.03, 0.01, 0.05, 0.02, 0.04]
    found = over_networks(pd.DataFrame({0: folds}))
    # Standard deviation sqrt(0.001 / 4), standard error sqrt(0.001 / 20); t of 4 degrees of freedom is 2.776.
    assert found.difference.mean == pytest.approx(0.03)
    assert found.difference.high - 0.03 == pytest.approx(2.776445 * (0.001 / 20) ** 0.5, rel=1e-6)
    ends = stats.ttest_1samp(folds, 0).confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((ends.low, ends.high))
    assert (found.folds, found.pairs) == (5, 5)
    assert np.isnan(found.p)  # five pairs are too few to flip


def test_what_could_be_detected_is_found_four_times_out_of_five():
    folds = [0.03, 0.01, 0.05, 0.02, 0.04]
    found = over_networks(pd.DataFrame({0: folds}))
    # t of 4 degrees of freedom at 0.975 and at 0.8.
    assert found.detectable == pytest.approx((2.776445 + 0.940965) * (0.001 / 20) ** 0.5, rel=1e-5)


def test_seeds_are_averaged_within_a_fold():
    values = pd.DataFrame({0: [0.0, 0.1, 0.2, 0.3, 0.4], 1: [0.2, 0.3, np.nan, 0.5, 0.6]})
    found = over_networks(values)
    assert found.difference.mean == pytest.approx(np.mean([0.1, 0.2, 0.2, 0.4, 0.5]))
    assert found.pairs == 9
    assert np.isnan(found.p)


def test_few_folds_have_no_interval_and_equal_ones_no_width():
    few = over_networks(pd.DataFrame({0: [0.1, 0.2, 0.3, 0.4]}))
    assert few.difference.mean == pytest.approx(0.25)
    assert np.isnan([few.difference.low, few.difference.high, few.detectable]).all()
    same = over_networks(pd.DataFrame({0: [0.1] * 5}))
    assert (same.difference.low, same.difference.high, same.detectable) == (0.1, 0.1, 0.0)
    with pytest.raises(ValueError, match="finite difference for each fold"):
        over_networks(pd.DataFrame({0: [0.1, np.nan]}))
    with pytest.raises(ValueError, match="finite difference for each fold"):
        over_networks(pd.DataFrame())


def test_a_fold_is_the_mean_of_its_cases():
    base = pd.DataFrame({0: [0.5, 0.6, 0.7], 1: [0.4, 0.6, 0.8]}, list("abc"))
    folds = {"a": 0, "b": 0, "c": 1}
    found = by_fold(base, base + np.array([[0.1, 0.0], [0.3, 0.2], [0.0, 0.4]]), folds)
    assert found.to_numpy() == pytest.approx(np.array([[0.2, 0.1], [0.0, 0.4]]))
    # Other seeds: each side by its own mean.
    [other] = by_fold(base, base[[0]] + 0.1, folds).to_numpy().T
    assert other == pytest.approx([np.mean([0.6 - 0.45, 0.7 - 0.6]), 0.8 - 0.75])


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
    if len(values) <= networks.EXACT_PAIRS:
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
    """The same as ``analysis.networks.by_fold`` takes it, against nothing at all."""
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
        found = networks.over_folds(values.mean((1, 2)), 5 * seeds).difference
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
    found = over_networks(by_fold(*tables(values)))
    expected = networks.over_folds(values.mean((1, 2)), 10)
    assert found.difference.low == pytest.approx(expected.difference.low)
    assert found.pairs == expected.pairs == 10
    assert 0 < found.p <= 1
