"""The figure of table 1: a line for each reading of its columns, a band for each fraction that was counted."""

import numpy as np

from gbmlib.analysis import published
from gbmlib.analysis.intervals import Interval
from gbmlib.pages import curves

LOGGED = ("recall", "accuracy", "precision")
LEVEL = [0.0095, 0.0101, 0.0099, 0.0103, 0.0095]


def test_the_figure_has_a_line_for_each_reading_and_a_band_for_each_count(monkeypatch):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    counted = {"labels": Interval(0.0103, 0.0077, 0.0136, 19), "one case": Interval(0.02, np.nan, np.nan, 1)}
    figure = curves.implied_fractions(published.TABLE_1, published.TABLE_1_ROUNDING, LOGGED, counted, "words")
    traces = {trace.name: trace for trace in figure.data}
    assert len([name for name in traces if ", " in name]) == 6
    assert list(traces["labels"].y) == [0.0077, 0.0077, 0.0136, 0.0136]
    assert set(traces["one case"].y) == {0.02}
    np.testing.assert_allclose(np.round(traces["recall, accuracy, precision (as logged)"].y, 4), LEVEL)
    assert traces["precision, recall, accuracy (as printed)"].y[0] > 1
    assert figure.layout.yaxis.type == "log"
