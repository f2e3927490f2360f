"""Figures of a leaderboard: where the candidates stand, and each case beside a published mark."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.analysis.intervals import Interval
from gbmlib.analysis.leaderboard import Choice
from gbmlib.pages import wording
from gbmlib.pages.ablation_figures import DECIDED
from gbmlib.viewer import colours
from gbmlib.viewer.display import show

ROW_HEIGHT = 26  # pixels


def standings(choice: Choice, description: str = "") -> Any:
    """Mean Dice of every row, the chosen one (a star) first, and below how far the others are behind it.

    Bars are intervals over cases; hollow points are no candidates; the margin within which a difference does not matter
    is shaded. Differences are paired by case, so their intervals are the ones to decide by; their colour says what is
    decided.
    """
    others = choice.others
    dices = {choice.label: choice.level} | dict(others["Dice"])
    filled = {label: bool(of) for label, of in others.candidate.items()}
    symbols = ["star"] + ["circle" if of else "circle-open" for of in filled.values()]
    heights = [len(dices), max(1, len(others))]
    figure = make_subplots(
        2,
        1,
        row_heights=heights,
        vertical_spacing=0.2,
        subplot_titles=("mean Dice over classes", f"{choice.label} minus the others"),
    )
    figure.add_trace(_points(dices, symbols, [colours.BLUE] * len(dices)), 1, 1)
    behind = _points(dict(others["difference"]), symbols[1:], [DECIDED[word] for word in others.decided])
    behind.text = [f"{row.decided}: {wording.evidence(row)}" for _, row in others.iterrows()]
    figure.add_trace(behind, 2, 1)
    margin = others.margin.max() if len(others) else 0
    figure.add_vrect(-margin, margin, fillcolor="rgba(128, 128, 128, 0.2)", line_width=0, layer="below", row=2, col=1)
    figure.add_vline(0, line={"color": "#808080", "width": 1}, row=2, col=1)
    figure.update_yaxes(autorange="reversed", tickson="boundaries")
    height = 170 + ROW_HEIGHT * sum(heights)
    figure.update_layout(height=height, margin={"l": 20, "r": 10, "t": 40, "b": 30}, showlegend=False)
    said = "; ".join(f"{label}: {of}" for label, of in dices.items())
    return show(figure, description or f"Mean Dice over classes, the chosen network first. {said}")


def dumbbells(ours: pd.Series, theirs: pd.Series, name: str, mark: str = "nnU-Net v2", description: str = "") -> Any:
    """Dice of every case, ours and a mark's joined by a line; the case in which we are furthest behind on top.

    Args:
        ours, theirs: by case; cases that ``theirs`` has besides are not shown.
        name, mark: what they are called.
    """
    gap = (ours - theirs.loc[ours.index]).sort_values()
    cases = list(gap.index)
    pairs = [(theirs[case], ours[case], None) for case in cases]
    figure = go.Figure()
    figure.add_scatter(
        x=[value for pair in pairs for value in pair],
        y=[name for case in cases for name in (case, case, None)],
        mode="lines",
        line={"color": "#808080", "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    for values, called, colour, symbol in (
        (theirs, mark, colours.GREY, "circle"),
        (ours, f"{name}, ours", colours.BLUE, "diamond"),
    ):
        figure.add_scatter(
            x=values.loc[cases],
            y=cases,
            name=called,
            mode="markers",
            marker={"color": colour, "size": 9, "symbol": symbol},
            hovertemplate="%{y}: %{x:.3f}<extra>" + called + "</extra>",
        )
    figure.update_xaxes(title_text="Dice", range=[-0.02, 1.02])
    figure.update_yaxes(autorange="reversed", tickfont={"size": 10})
    figure.update_layout(
        height=150 + 18 * len(cases),
        margin={"l": 20, "r": 10, "t": 10, "b": 40},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    said = f"Dice of {len(cases)} cases, {name} of this study beside {mark}: ahead in {int((gap > 0).sum())}"
    return show(figure, description or said)


def _points(intervals: dict[str, Interval], symbols: list[str], colour: list[str]) -> go.Scatter:
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [of.high - of.mean for of in intervals.values()],
        "arrayminus": [of.mean - of.low for of in intervals.values()],
        "thickness": 2,
        "color": colours.GREY,  # bars of one trace have one colour
    }
    sizes = [15 if symbol == "star" else 10 for symbol in symbols]
    return go.Scatter(
        x=[of.mean for of in intervals.values()],
        y=list(intervals),
        error_x=bars,
        mode="markers",
        marker={"color": colour, "size": sizes, "symbol": symbols},
        text=[str(of) for of in intervals.values()],
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
