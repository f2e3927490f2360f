"""Dice, precision, recall and accuracy against values worked out by hand, and against scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from gbmlib import metrics

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
    found = metrics.every(np.array(prediction, bool), np.array(truth, bool))
    assert tuple(found.values()) == expected


def test_empty_masks_with_the_papers_smoothing():
    empty = np.zeros(4, bool)
    assert metrics.every(empty, empty, eps=1) == {"dice": 1, "precision": 0, "recall": 0, "accuracy": 1}


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


def test_torch_and_numpy_agree():
    assert metrics.every(torch.from_numpy(PREDICTION), torch.from_numpy(TRUTH)) == metrics.every(PREDICTION, TRUTH)


def test_refuses_what_would_be_counted_wrongly():
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.dice(np.zeros(3, bool), np.zeros(4, bool))
    with pytest.raises(ValueError, match="prediction is float64, not boolean"):
        metrics.dice(np.zeros(3), np.zeros(3, bool))
    with pytest.raises(ValueError, match="truth is uint8"):
        metrics.dice(np.zeros(3, bool), np.zeros(3, np.uint8))
