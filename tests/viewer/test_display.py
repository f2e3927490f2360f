"""Figures: live they stay as they are; in a static page they are HTML that asks for the book's own bundle."""

import re

import plotly.graph_objects as go
import pytest

from gbmlib.viewer.display import PLOTLY, StaticFigure, is_static, show


@pytest.fixture
def figure() -> go.Figure:
    made = go.Figure([go.Scatter(y=[1, 2], name="training"), go.Scatter(y=[2, 3], name="validation")])
    return made.update_layout(width=900, height=300, paper_bgcolor="white")


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False), (None, False)])
def test_static_is_what_the_environment_says(monkeypatch, value, expected):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    if value is not None:
        monkeypatch.setenv("GBM_STATIC", value)
    assert is_static() is expected


def test_live_is_the_figure_itself(monkeypatch, figure):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    assert show(figure, "two curves") is figure


def test_static_html(monkeypatch, figure):
    monkeypatch.setenv("GBM_STATIC", "1")
    before = figure.to_json()
    html = show(figure, 'Dice "over" epochs <3')._repr_html_()
    assert figure.to_json() == before
    assert 'aria-label="Dice &quot;over&quot; epochs &lt;3"' in html
    assert html.count(PLOTLY) == 1
    assert not re.findall(r"<script[^>]*\ssrc=|https?://", html.replace("http://www.w3.org", ""))
    assert '"responsive": true' in html
    assert '"displaylogo": false' in html
    assert '"width":900' not in html
    assert "height:300px" in html
    assert '"paper_bgcolor":"rgba(0, 0, 0, 0)"' in html


def test_two_figures_have_two_places(figure):
    places = [re.search(r'id="([^"]+)"', StaticFigure(figure, "")._repr_html_()).group(1) for _ in range(2)]
    assert places[0] != places[1]


def test_a_notebook_gets_html_and_words(monkeypatch, figure):
    monkeypatch.setenv("GBM_STATIC", "1")
    bundle = show(figure)._repr_mimebundle_()
    assert sorted(bundle) == ["text/html", "text/plain"]
    assert bundle["text/plain"] == "Plot of training, validation"
    assert show(figure.update_layout(title="Loss")).description == "Loss"
    assert show(go.Figure()).description == "Plot"
