"""The identity behind the examination of table 1, the readings of its columns, and what runs and counts say."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from grouped_records import configured
from hypothesis import assume, given
from hypothesis import strategies as st

from gbmlib.analysis import prevalence, published
from gbmlib.evaluation import metrics

LOGGED = ("recall", "accuracy", "precision")


def test_by_hand():
    # 100 voxels, 10 of them tumour: 6 found, 4 missed, 2 marked wrongly.
    assert prevalence.prevalence(6 / 8, 6 / 10, 94 / 100) == pytest.approx(0.1)
    assert prevalence.pooled_dice(6 / 8, 6 / 10) == pytest.approx(12 / 18)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**9))
def test_the_identity_is_exact_for_any_counts(tp, fp, fn, tn):
    assume(fp + fn > 0)
    counts = metrics.Counts(tp, fp, fn, tn)
    found = prevalence.prevalence(counts.precision(), counts.recall(), counts.accuracy())
    assert found == pytest.approx((tp + fn) / (tp + fp + fn + tn), rel=1e-6)
    assert prevalence.pooled_dice(counts.precision(), counts.recall()) == pytest.approx(counts.dice())


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_prediction_does_not_matter(seed, tumour, marked):
    rng = np.random.default_rng(seed)
    truth, prediction = rng.random((2, 3, 5, 6, 7)) < np.array([tumour, marked]).reshape(2, 1, 1, 1, 1)
    assume((truth & prediction).any() and (truth != prediction).any())
    of = metrics.overlap(prediction, truth)
    assert prevalence.prevalence(of["precision"], of["recall"], of["accuracy"]) == pytest.approx(truth.mean())


def test_what_the_metrics_leave_open_is_not_a_number():
    nothing_right, all_right = (0, 0, 0.9), (1, 1, 1)
    assert np.isnan(prevalence.prevalence(*nothing_right))
    assert np.isnan(prevalence.prevalence(*all_right))
    assert np.isnan(prevalence.pooled_dice(0, 0))


def test_table_1_is_as_the_paper_prints_it():
    assert list(published.TABLE_1.columns) == ["loss", "dice", "precision", "recall", "accuracy"]
    assert list(published.TABLE_1.loc[40]) == [1.124, 0.620, 0.666, 0.994, 0.691]
    assert list(published.TABLE_1.index) == [0, 10, 20, 30, 40]
    assert published.TABLE_1.equals(published.TABLE_1.round(3))


def test_the_log_calls_for_the_one_reading_whose_rows_agree():
    assert prevalence.logged(published.LOG_HEADER, published.LOG_VALUES) == LOGGED
    readings = prevalence.examined(published.TABLE_1, published.TABLE_1_ROUNDING)
    assert len(readings) == 6
    assert list(readings.index[readings.agree]) == [LOGGED]
    np.testing.assert_allclose(readings.loc[LOGGED, [0, 10, 20, 30, 40]].astype(float).round(4), LEVEL)
    np.testing.assert_allclose(readings.loc[prevalence.METRICS, [0, 10, 20, 30, 40]].astype(float).round(2), STEEP)
    assert not readings.loc[prevalence.METRICS, "possible"]


#: Worked out from the table apart from the library.
LEVEL, STEEP = [0.0095, 0.0101, 0.0099, 0.0103, 0.0095], [1.24, 0.86, 0.72, 0.67, 0.61]


def test_a_table_in_order_is_found_to_be_in_order():
    """Six predictions of one truth, their metrics rounded: taken at its headings' word, the table agrees."""
    counts = [metrics.Counts(tp, fp, 400 - tp, 40000 - 400 - fp) for tp, fp in product((100, 200, 300), (50, 900))]
    table = pd.DataFrame([{name: getattr(of, name)() for name in prevalence.METRICS} for of in counts]).round(3)
    row = prevalence.examined(table, 0.0005).loc[prevalence.METRICS]
    assert row.possible
    assert row.agree
    assert row.low <= 0.01 <= row.high


@given(*[st.floats(0.1, 0.9)] * 3, *[st.floats(-1, 1)] * 3)
def test_rounding_never_leaves_the_bounds(p, r, a, dp, dr, da):
    table = pd.DataFrame([{"precision": p, "recall": r, "accuracy": a}])
    of = prevalence.implied(table, prevalence.METRICS, 0.01).iloc[0]
    within = prevalence.prevalence(p + 0.01 * dp, r + 0.01 * dr, a + 0.01 * da)
    assert of.low - 1e-9 <= within <= of.high + 1e-9
    assert of.low <= of.fraction <= of.high


def test_columns_are_read_under_the_names_of_a_reading():
    read = prevalence.read(published.TABLE_1, LOGGED)
    assert list(read.columns) == list(prevalence.METRICS)
    assert tuple(read.loc[0]) == (0.057, 0.576, 0.905)
    with pytest.raises(ValueError, match="name each of"):
        prevalence.read(published.TABLE_1, ("recall", "recall", "precision"))


def test_a_log_that_names_other_columns_is_refused():
    assert prevalence.logged(prevalence.METRICS, prevalence.METRICS) == prevalence.METRICS
    with pytest.raises(ValueError, match="must name the same columns"):
        prevalence.logged(("precision", "recall", "accuracy"), ("precision", "recall", "dice"))
    with pytest.raises(ValueError, match="must name the same columns"):
        prevalence.logged(("precision", "dice"), ("dice", "precision"))


# ----------------------------------------------------------------------------------------------------------------- runs


def record(counts, cases=None):
    """A record whose crops gave these counts, an epoch each."""
    rows = [
        {"epoch": epoch} | {f"crops_{name}": getattr(of, name)(eps=1) for name in prevalence.METRICS}
        for epoch, of in enumerate(counts)
    ]
    return SimpleNamespace(id="run", history=pd.DataFrame(rows), cases=cases, experiment=configured(0, 0))


#: Three epochs of one run: a hundredth of two million voxels is tumour.
LEARNING = [
    metrics.Counts(*c)
    for c in ((10**4, 9 * 10**5, 10**4, 1080000), (12000, 500, 8000, 1979500), (16000, 5000, 4000, 1975000))
]


def test_a_runs_crops_hold_one_share_whatever_it_learns():
    np.testing.assert_allclose(prevalence.of_history(record(LEARNING).history), [0.01] * 3, rtol=1e-3)


def test_runs_without_crops_or_without_a_hit_say_nothing():
    old = pd.DataFrame({"epoch": [0], "val_dice": [0.5]})
    assert prevalence.of_history(old) is None
    assert prevalence.of_history(record([metrics.Counts(0, 0, 5, 95)]).history).empty
    groups = {"old": [SimpleNamespace(history=old)], "empty": [record([metrics.Counts(0, 0, 5, 95)])]}
    assert prevalence.side_by_side(groups, LOGGED).empty


def test_groups_side_by_side_are_means_of_their_last_epochs():
    other = [metrics.Counts(18000, 2000, 2000, 478000)]
    table = prevalence.side_by_side({"two": [record(LEARNING), record(other)], "none": []}, LOGGED)
    assert list(table.index) == ["two"]
    row = table.loc["two"]
    assert row.runs == 2
    assert row.recall == pytest.approx((0.8 + 0.9) / 2, abs=1e-4)
    assert row.fraction == pytest.approx((0.01 + 0.04) / 2, rel=1e-3)
    assert row.lowest <= row.fraction <= row.highest
    assert row.highest == pytest.approx(row.lowest, rel=1e-3)
    # Mixed up, recall, accuracy and precision stand under precision, recall and accuracy.
    each = [(16 / 20, 1991 / 2000, 16 / 21), (9 / 10, 496 / 500, 9 / 10)]
    assert row["mixed up"] == pytest.approx(np.mean([prevalence.prevalence(*of) for of in each]), rel=1e-3)


def test_shares_of_regions_are_those_that_were_counted():
    rng = np.random.default_rng(0)
    rows, shares = [], []
    for case in ("a", "b"):
        shares.append({"case": case, "WT_ml": 1.0})
        for region, size in (("WT", 0.3), ("ET", 0.1)):
            truth, prediction = rng.random((2, 4000)) < size
            shares[-1][f"{region}_share"] = truth.mean()
            values = metrics.overlap(prediction, truth)
            rows += [
                {"case": case, "split": "held out", "region": region, "metric": m, "value": v}
                for m, v in values.items()
            ]
    found = prevalence.against_counts([record(LEARNING, pd.DataFrame(rows))], pd.DataFrame(shares))
    assert len(found) == 4
    np.testing.assert_allclose(found.fraction, found.counted, rtol=1e-9)
    assert prevalence.against_counts([], pd.DataFrame(shares)).empty
