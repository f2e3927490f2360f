"""Intervals: of a known sample, of few values, printed."""

import numpy as np
import pytest

from gbmlib.analysis.intervals import NOTHING, Difference, difference_interval, mean_interval


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
