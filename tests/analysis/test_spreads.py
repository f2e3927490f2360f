"""How far networks and pipelines lie apart: worked out by hand, parts that add up, and intervals that others compute
alike."""

import numpy as np
import pandas as pd
import pytest
from crossed_cells import HARDNESS, crossed, table_of
from hypothesis import given, settings
from hypothesis import strategies as st

from gbmlib.analysis import factorial, intervals, spreads
from gbmlib.analysis.intervals import bootstrap, difference_interval, jackknife, over_folds


@pytest.fixture
def cells():
    return crossed()


def test_spreads_worked_out_by_hand():
    # Networks 0.1 apart and pipelines 0.04, nothing together; the cases differ, the effects do not.
    means = 0.5 + np.array([-0.1, 0, 0.1])[:, None] + np.array([-0.02, 0.02])
    table = table_of([means - hardness for hardness in HARDNESS.values()])
    found = spreads.spreads(table)
    assert found.spread["network"].mean == pytest.approx(np.sqrt(0.02 / 3))
    assert found.spread["pipeline"].mean == pytest.approx(0.02)
    assert found.spread["interaction"].mean == pytest.approx(0, abs=1e-12)
    assert sum(of.mean for of in found.share) == pytest.approx(1)
    change = spreads.networks_minus_pipelines(table)
    assert change.mean == pytest.approx(np.sqrt(0.02 / 3) - 0.02)
    assert (change.low, change.high) == pytest.approx((change.mean, change.mean))
    assert intervals.outcome([change], 0.01) == "higher"


def test_one_case_can_carry_the_difference_of_spreads():
    """Every case must be let go; with an outlier whose pipelines lie far apart, one cannot be."""
    quiet = 0.5 + np.random.default_rng(0).normal(0, 0.01, (12, 3, 2))
    assert spreads.carried_by(table_of(quiet)) == ()  # nothing is decided
    assert spreads.carried_by(table_of(quiet + np.array([-0.1, 0.1]))) == ()  # and here all cases agree
    borderline = quiet + np.array([-0.003, 0.003])
    borderline[7] += np.array([-0.05, 0.05])
    assert spreads.networks_minus_pipelines(table_of(borderline)).high < 0
    assert 7 in spreads.carried_by(table_of(borderline))


def test_one_network_can_carry_the_spread():
    # The first lies 0.15 below two that are equal; pipelines are 0.04 apart.
    means = 0.5 + np.array([-0.1, 0.05, 0.05])[:, None] + np.array([-0.02, 0.02])
    table = table_of([means - hardness for hardness in HARDNESS.values()])
    found = spreads.leaving_out(table)
    assert list(found.index) == [None, "one", "two", "three"]
    assert [of.mean for of in found.network] == pytest.approx([np.sqrt(0.015 / 3), 0, 0.075, 0.075])
    assert [of.mean for of in found.pipeline] == pytest.approx([0.02] * 4)
    assert [intervals.outcome([of], 0.01) for of in found.difference] == ["higher", "lower", "higher", "higher"]
    otherwise = spreads.otherwise_without(found, 0.01)
    assert list(otherwise) == ["one"]
    assert otherwise["one"].mean == pytest.approx(-0.02)
    assert list(spreads.leaving_out(table.drop(columns="three", level="network")).index) == [None]


def test_few_folds_give_a_spread_without_an_interval(cells):
    """With two folds there is a value and no interval."""
    table = factorial.by_case(cells)
    over = spreads.apart(table, cells).networks
    assert over.difference.mean == pytest.approx(spreads.networks_minus_pipelines(table).mean)
    assert np.isnan(over.difference.low)
    assert over.difference.cases == 2


def test_the_jackknife_of_a_mean_is_students_interval():
    values = pd.DataFrame({"x": [0.3, 0.1, 0.5, 0.2, 0.4]}, list("abcde"))
    found = jackknife(values, lambda rows: float(rows.x.mean()), dict(zip("abcde", range(5), strict=True)))
    expected = over_folds(values.x, 5).difference
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high))


@given(st.lists(st.integers(0, 1000), min_size=6, max_size=6))
@settings(deadline=None)
def test_the_parts_are_those_of_a_linear_model_and_add_up(thousandths):
    means = np.reshape(thousandths, (3, 2)) / 1000
    parts = spreads._mean_squares(means)
    assert sum(parts) == pytest.approx(np.mean((means - means.mean()) ** 2), abs=1e-12)
    # Least squares with a dummy variable for each level; what each factor explains beyond the mean.
    rows, columns = np.indices(means.shape)
    y = means.ravel()
    for part, levels in zip(parts, (rows.ravel(), columns.ravel()), strict=False):
        dummies = (levels[:, None] == np.unique(levels)).astype(float)
        fitted = dummies @ np.linalg.lstsq(dummies, y, rcond=None)[0]
        assert part == pytest.approx(np.mean((fitted - y.mean()) ** 2), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_a_difference_is_that_of_the_differences(seed):
    """Drawing whole cases and taking the difference of means is the same as drawing differences."""
    cube = np.random.default_rng(seed).uniform(size=(19, 3, 2))
    found = bootstrap(cube, lambda means: means[..., 2, 1] - means[..., 0, 1])
    plain = difference_interval(cube[:, 2, 1] - cube[:, 0, 1])
    assert vars(found) == pytest.approx(vars(plain), abs=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Cases drawn from a known population: 95 % intervals of the share miss it now and then, not often."""
    rng = np.random.default_rng(1)
    means = 0.5 + np.array([-0.06, 0, 0.06])[:, None] + np.array([-0.04, 0.04])
    true = spreads._shares(means)[0]
    held = 0
    for _ in range(20):
        cube = means + 0.05 * rng.standard_normal((19, 3, 2)) + 0.2 * rng.standard_normal((19, 1, 1))
        share = bootstrap(cube, lambda of: spreads._shares(of)[0])
        held += share.low <= true <= share.high
    assert held >= 16


def test_few_cases_have_no_interval_and_no_differences_no_width(cells):
    two = {cell: records[:1] for cell, records in cells.items()}
    assert np.isnan(spreads.spreads(factorial.by_case(two)).spread["network"].low)
    same = spreads.spreads(table_of(np.full((5, 3, 2), 0.5)))
    assert [(of.mean, of.low, of.high) for of in same.share] == [(0, 0, 0)] * 3
