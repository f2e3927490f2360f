"""Figures of a chapter each: the readings of table 1, what is left of maps without the weights."""

import numpy as np
import pandas as pd

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


def test_maps_without_weights_have_a_panel_a_network_and_a_colour_a_map(monkeypatch):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    columns = pd.MultiIndex.from_product([["brain", "near"], ["saliency", "deep"]], names=["where", "map"])
    table = pd.DataFrame([[1, 1, 1, 1], [0.5, 0.4, 0.3, 0.2]], ["trained", "encoder.0"], columns)
    figure = curves.as_weights_are_lost({"2D": table, "3D": table[["brain"]]})
    assert [trace.name for trace in figure.data if trace.showlegend] == [f"{b}, {a}" for a, b in columns]
    assert [trace.line.dash for trace in figure.data] == ["solid", "solid", "dot", "dot", "solid", "solid"]
    assert figure.data[0].line.color == figure.data[2].line.color != figure.data[1].line.color
    assert (list(figure.data[3].x), list(figure.data[3].y)) == (["trained", "encoder 0"], [1, 0.2])
    assert figure.data[4].yaxis == "y2"
    assert len(curves.as_weights_are_lost({}).data) == 0
