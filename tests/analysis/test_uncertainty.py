"""Uncertainty by hand, by exact properties, and against scikit-learn and SciPy."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score

from gbmlib.analysis import uncertainty
from gbmlib.analysis.uncertainty import band, calibration_error, correlation, curve, entropy, maps, measure, reliability

UNIT = st.floats(0, 1, width=32)


def members_of(*rows):
    return [np.array(row, np.float32).reshape(1, 1, -1) for row in rows]


# ----------------------------------------------------------------------------------------------------------------- maps


def test_entropy_by_hand():
    assert entropy(np.array([0, 0.5, 1])).tolist() == [0, 1, 0]
    assert entropy(np.array([0.25]))[0] == pytest.approx(2 - 0.75 * np.log2(3))
    assert entropy(np.array([0.2], np.float32)).dtype == np.float32


def test_disagreement_by_hand():
    # Both sure and alike; both unsure and alike; sure of opposites; one sure and one unsure.
    of = maps(members_of([1, 0.5, 0, 1], [1, 0.5, 1, 0.5]))
    np.testing.assert_allclose(of.mean.ravel(), [1, 0.5, 0.5, 0.75])
    np.testing.assert_allclose(of.entropy.ravel(), [0, 1, 1, 2 - 0.75 * np.log2(3)], atol=1e-6)
    np.testing.assert_allclose(of.mutual_information.ravel(), [0, 0, 1, 1.5 - 0.75 * np.log2(3)], atol=1e-6)


@settings(deadline=None)
@given(arrays.arrays(np.float32, st.tuples(st.integers(2, 5), st.integers(1, 6)), elements=UNIT))
def test_information_lies_between_nothing_and_all(values):
    of = maps(list(values))
    assert (of.mutual_information >= 0).all()
    assert (of.mutual_information <= of.entropy + 1e-6).all()
    assert (of.entropy <= 1 + 1e-6).all()
    shuffled = maps(list(values[::-1]))
    np.testing.assert_allclose(of.mutual_information, shuffled.mutual_information, atol=1e-6)
    alike = maps([values[0]] * 3)
    assert alike.mutual_information.max() < 1e-6


def test_all_that_is_wrong_with_members():
    with pytest.raises(ValueError, match="disagreement takes two or more"):
        maps(members_of([0.5]))
    with pytest.raises(ValueError, match="no disagreement") as raised:
        maps([np.zeros((1, 2)), np.zeros((2, 1)), np.full((1, 2), 1.5), np.full((1, 2), np.nan)])
    assert "member 1 has shape (2, 1), member 0 (1, 2)" in str(raised.value)
    assert "member 2 has values from 1.5 to 1.5" in str(raised.value)
    assert "member 3 has values from nan" in str(raised.value)


def test_a_band_by_hand():
    truth = np.zeros((1, 1, 12), bool)
    truth[0, 0, 3:9] = True
    assert np.flatnonzero(band(truth, (1, 1, 1), 1)).tolist() == [2, 3, 8, 9]
    assert np.flatnonzero(band(truth, (1, 1, 1), 2)).tolist() == [1, 2, 3, 4, 7, 8, 9, 10]
    assert np.flatnonzero(band(truth, (1, 1, 3), 3)).tolist() == [2, 3, 8, 9]
    assert not band(np.zeros((2, 3, 4), bool), (1, 1, 1)).any()
    assert not band(np.ones((2, 3, 4), bool), (1, 1, 1)).any()  # a mask that fills the image has no boundary in it


@settings(deadline=None, max_examples=40)
@given(arrays.arrays(bool, (5, 6, 7)), st.sampled_from([1.0, 2.5, 4.0]))
def test_a_band_is_what_every_distance_says(truth, width):
    spacing = (3, 1, 1.5)
    places = np.argwhere(np.ones(truth.shape)) * spacing
    flat = truth.ravel()
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    near = np.where(flat[:, None] != flat[None], distances, np.inf).min(1) <= width
    np.testing.assert_array_equal(band(truth, spacing, width).ravel(), near)


# ---------------------------------------------------------------------------------------------------------- calibration


def test_reliability_by_hand(monkeypatch):
    monkeypatch.setattr(uncertainty, "BINS", 2)
    counts = reliability(np.array([0, 0.5, 0.5, 0.6, 1]), np.array([0, 1, 0, 1, 1], bool))
    assert counts.to_dict("list") == {"voxels": [3, 2], "predicted": [1.0, 1.6], "observed": [1, 2]}
    assert calibration_error(counts) == pytest.approx((abs(1 - 1) + abs(1.6 - 2)) / 5)
    assert curve(counts).predicted.tolist() == pytest.approx([1 / 3, 0.8])


@settings(deadline=None, max_examples=30)
@given(arrays.arrays(np.float64, 60, elements=UNIT), arrays.arrays(bool, 60))
def test_reliability_as_scikit_learn_has_it(probability, truth):
    truth[:2] = True, False
    ours = curve(reliability(probability, truth))
    observed, predicted = calibration_curve(truth, probability, n_bins=uncertainty.BINS, strategy="uniform")
    np.testing.assert_allclose(ours.observed, observed)
    np.testing.assert_allclose(ours.predicted, predicted, atol=1e-12)


def test_the_error_of_probabilities_that_are_right_is_small():
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=200_000)
    truth = rng.uniform(size=200_000) < probability
    assert calibration_error(reliability(probability, truth)) < 0.005
    assert calibration_error(reliability(np.sqrt(probability), truth)) == pytest.approx(1 / 6, abs=0.005)


def test_tables_of_cases_add_up():
    rng = np.random.default_rng(1)
    probability, truth = rng.uniform(size=(3, 50)), rng.uniform(size=(3, 50)) < 0.5
    each = [reliability(p, t) for p, t in zip(probability, truth, strict=True)]
    together = reliability(probability, truth)
    pd.testing.assert_frame_equal(uncertainty.pooled(each), together)
    interval = uncertainty.calibration_interval(each)
    assert interval.mean == pytest.approx(calibration_error(together))
    assert interval.low <= interval.mean <= interval.high
    assert np.isnan(uncertainty.calibration_interval(each[:2]).low)
    with pytest.raises(ValueError, match="no case has voxels"):
        uncertainty.calibration_interval([reliability(np.zeros(0), np.zeros(0, bool))])


# --------------------------------------------------------------------------------------------------------------- errors


def test_finding_errors_by_hand():
    doubt = np.array([0.1, 0.2, 0.2, 0.9])
    assert uncertainty.finds_errors(doubt, np.array([0, 0, 0, 1], bool)) == 1
    assert uncertainty.finds_errors(doubt, np.array([1, 0, 0, 0], bool)) == 0
    assert uncertainty.finds_errors(doubt, np.array([0, 1, 0, 0], bool)) == pytest.approx((1 + 0.5 + 0) / 3)
    assert np.isnan(uncertainty.finds_errors(doubt, np.zeros(4, bool)))


@settings(deadline=None, max_examples=30)
@given(arrays.arrays(np.int8, 40, elements=st.integers(0, 9)), arrays.arrays(bool, 40))
def test_finding_errors_as_a_rank_test_has_it(doubt, wrong):
    wrong[:2] = True, False
    u = stats.mannwhitneyu(doubt[wrong], doubt[~wrong]).statistic
    assert uncertainty.finds_errors(doubt, wrong) == pytest.approx(u / (wrong.sum() * (~wrong).sum()))


def test_the_share_of_errors_found_by_hand():
    doubt = np.arange(100.0)
    wrong = np.zeros(100, bool)
    wrong[[98, 99, 0, 50]] = True
    assert uncertainty.share_found(doubt, wrong, 0.01) == 0.25
    assert uncertainty.share_found(doubt, wrong, 0.05) == 0.5
    assert uncertainty.share_found(doubt, wrong, 1) == 1
    assert uncertainty.share_found(np.ones(100), wrong, 0.05) == pytest.approx(0.05)  # all alike: chance
    doubt[:] = 0
    doubt[99] = 1
    assert uncertainty.share_found(doubt, wrong, 0.1) == pytest.approx((1 + 9 / 99 * 3) / 4)
    assert np.isnan(uncertainty.share_found(doubt, np.zeros(100, bool), 0.05))
    with pytest.raises(ValueError, match="share is 5"):
        uncertainty.share_found(doubt, wrong, 5)


@settings(deadline=None)
@given(arrays.arrays(np.int8, 30, elements=st.integers(0, 5)), arrays.arrays(bool, 30), st.floats(0.01, 1))
def test_the_share_found_is_the_mean_over_orders_of_ties(doubt, wrong, share):
    wrong[0] = True
    # Each level's voxels spread their errors evenly: integrate the errors' density over the sorted voxels.
    levels = np.sort(np.unique(doubt))[::-1]
    room, found = share * 30, 0.0
    for level in levels:
        here = doubt == level
        taken = min(room, here.sum())
        found += taken * wrong[here].mean()
        room -= taken
    assert uncertainty.share_found(doubt, wrong, share) == pytest.approx(found / wrong.sum())


def test_correlation_as_scipy_has_it():
    rng = np.random.default_rng(0)
    x = rng.normal(size=19)
    y = -x + rng.normal(size=19)
    y[3] = y[4]
    found = correlation(x, y)
    assert found.mean == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.low < found.mean < found.high < 0
    assert found.cases == 19
    perfect = correlation([1, 2, 3, 4, 5], [2, 4, 9, 16, 99])
    assert perfect.mean == pytest.approx(1)
    assert np.isnan(perfect.low)  # five cases say little, however well they agree
    assert str(correlation([1, 1, 1, 1], [1, 2, 3, 4])) == "not comparable"
    with pytest.raises(ValueError, match="pairs of finite values"):
        correlation([1, 2], [1, np.nan])


# --------------------------------------------------------------------------------------------------------------- a case


@pytest.fixture
def region():
    """Two members of a ball that both put it a voxel too far, one of them sure of it, in a brain with a margin."""
    z, y, x = np.ogrid[:16, :18, :20]

    def ball(centre, softness):
        distance = np.sqrt((z - 8) ** 2 + (y - 9) ** 2 + (x - centre) ** 2)
        return (1 / (1 + np.exp((distance - 5) / softness))).astype(np.float32)

    brain = np.zeros((16, 18, 20), bool)
    brain[1:-1, 1:-1, 1:-1] = True
    return [ball(11, 0.5), ball(10, 1.5)], ball(9, 1) >= 0.5, brain


def test_the_measures_of_a_case(region):
    members, truth, brain = region
    table, counts = measure(members, truth, brain, (3, 3, 3))
    values = table.set_index(["place", "detector", "measure"]).value
    mean = (members[0] + members[1]) / 2
    wrong = (mean >= 0.5) != truth
    assert values["", "", "dice"] == pytest.approx(
        2 * (truth & (mean >= 0.5)).sum() / (truth.sum() + (mean >= 0.5).sum())
    )
    doubt = entropy(mean)
    near = brain & band(truth, (3, 3, 3))
    for place, where in (("brain", brain), ("band", near)):
        assert values[place, "entropy of the mean", "auc"] == pytest.approx(roc_auc_score(wrong[where], doubt[where]))
    assert values["brain", "entropy of the mean", "mean"] == pytest.approx(doubt[brain].mean(), rel=1e-5)
    assert values["predicted", "entropy of the mean", "mean"] == pytest.approx(doubt[mean >= 0.5].mean(), rel=1e-5)
    assert set(table.detector) == {"", *uncertainty.DETECTORS}
    assert counts.groupby("place").voxels.sum().to_dict() == {"brain": brain.sum(), "band": near.sum()}
    assert counts.groupby("place")["observed"].sum()["brain"] == truth.sum()
    # The errors lie where the members are unsure, so doubt finds them, and best of all without a restriction.
    assert values["brain", "entropy of the mean", "auc"] > values["band", "entropy of the mean", "auc"] > 0.5


def test_a_region_that_is_not_there(region):
    members, truth, brain = region
    table, counts = measure([0.1 * of for of in members], np.zeros_like(truth), brain, (1, 1, 1))
    values = table.set_index(["place", "detector", "measure"]).value
    assert values["", "", "dice"] == 1
    assert np.isnan(values["brain", "entropy of the mean", "auc"])
    assert np.isnan(values["predicted", "entropy of the mean", "mean"])
    assert counts[counts.place == "band"].voxels.sum() == 0


def test_masks_of_another_shape_are_refused(region):
    members, truth, brain = region
    with pytest.raises(ValueError, match="differ in shape"):
        measure(members, truth[1:], brain, (1, 1, 1))
