"""Dice, precision, recall and accuracy against values worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from gbmlib.evaluation import metrics

PREDICTION = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
TRUTH = np.array([1, 1, 0, 1, 1, 0, 0, 0], bool)


def test_by_hand():
    assert metrics.dice(PREDICTION, TRUTH) == 4 / 7
    assert metrics.precision(PREDICTION, TRUTH) == 2 / 3
    assert metrics.recall(PREDICTION, TRUTH) == 2 / 4
    assert metrics.accuracy(PREDICTION, TRUTH) == 5 / 8


def test_the_papers_smoothing_by_hand():
    assert metrics.dice(PREDICTION, TRUTH, eps=1) == 5 / 8
    assert metrics.precision(PREDICTION, TRUTH, eps=1) == 2 / 4
    assert metrics.recall(PREDICTION, TRUTH, eps=1) == 2 / 5


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        ([0, 0], [0, 0], (1, 1, 1, 1)),
        ([1, 0], [0, 0], (0, 0, 0, 0.5)),
        ([0, 0], [1, 0], (0, 0, 0, 0.5)),
    ],
)
def test_empty_masks_as_documented(prediction, truth, expected):
    found = metrics.overlap(np.array(prediction, bool), np.array(truth, bool))
    assert tuple(found.values()) == expected


def test_empty_masks_with_the_papers_smoothing():
    empty = np.zeros(4, bool)
    assert metrics.overlap(empty, empty, eps=1) == {"dice": 1, "precision": 0, "recall": 0, "accuracy": 1}


@given(st.data())
def test_agrees_with_scikit_learn(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
    prediction, truth = (data.draw(hnp.arrays(bool, shape)) for _ in range(2))
    p, t = prediction.ravel(), truth.ravel()
    assert metrics.accuracy(prediction, truth) == pytest.approx(accuracy_score(t, p))
    if p.any() and t.any():
        assert metrics.dice(prediction, truth) == pytest.approx(f1_score(t, p))
        assert metrics.precision(prediction, truth) == pytest.approx(precision_score(t, p))
        assert metrics.recall(prediction, truth) == pytest.approx(recall_score(t, p))
    assert metrics.dice(prediction, truth) == metrics.dice(truth, prediction)


@given(hnp.arrays(bool, (2, 3, 4)), hnp.arrays(bool, (2, 3, 4)))
def test_counts_are_sums(prediction, truth):
    """As they were first made, which published records hold."""
    for p, t in ((prediction, truth), (torch.from_numpy(prediction), torch.from_numpy(truth))):
        expected = [int(mask.sum()) for mask in (p & t, p & ~t, ~p & t, ~p & ~t)]
        counts = metrics.count(p, t)
        assert [counts.tp, counts.fp, counts.fn, counts.tn] == expected
        assert all(type(number) is int for number in (counts.tp, counts.fp, counts.fn, counts.tn))


def test_torch_and_numpy_agree():
    assert metrics.overlap(torch.from_numpy(PREDICTION), torch.from_numpy(TRUTH)) == metrics.overlap(PREDICTION, TRUTH)


def test_refuses_what_would_be_counted_wrongly():
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.dice(np.zeros(3, bool), np.zeros(4, bool))
    with pytest.raises(ValueError, match="prediction is float64, not boolean"):
        metrics.dice(np.zeros(3), np.zeros(3, bool))
    with pytest.raises(ValueError, match="truth is uint8"):
        metrics.dice(np.zeros(3, bool), np.zeros(3, np.uint8))


def test_the_names_of_the_records_stay():
    assert metrics.NAMES == ("dice", "precision", "recall", "accuracy")
    assert list(metrics.overlap(PREDICTION, TRUTH)) == list(metrics.NAMES)


def test_distances_of_a_pair_by_hand():
    """Two rows of five voxels of 0.5 x 2 x 3 mm, one voxel along x (3 mm) apart."""
    prediction, truth = np.zeros((2, 4, 4, 8), bool)
    prediction[1, 1, 1:6] = truth[1, 1, 2:7] = True
    found = metrics.distances(prediction, truth, (0.5, 2, 3), tolerance=2.9)
    # Distances 0, 0, 0, 0, 3 each way: rank 0.95 x 4 = 3.8.
    expected = {"hausdorff95": 0.8 * 3, "surface_dice": 8 / 10, "mean_surface_distance": 6 / 10}
    assert tuple(found) == metrics.DISTANCES == tuple(expected)
    assert found == pytest.approx(expected)
    assert metrics.hausdorff95(prediction, truth, (0.5, 2, 3)) == found["hausdorff95"]
    assert metrics.surface_dice(prediction, truth, (0.5, 2, 3), 2.9) == found["surface_dice"]


def test_a_missed_region_is_the_worst_of_everything():
    empty, mask = np.zeros((2, 3, 4, 12), bool)
    mask[0, 0, 0] = True
    assert set(metrics.overlap(empty, mask).values()) == {0, 143 / 144}
    found = metrics.distances(empty, mask, (1, 1, 1))
    assert found == {"hausdorff95": 13, "surface_dice": 0, "mean_surface_distance": 13}  # of 3 x 4 x 12
