"""Figures of a leaderboard: where the candidates stand, and each case beside a published mark."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.analysis.intervals import Interval
from gbmlib.analysis.leaderboard import Choice
from gbmlib.pages import plots
from gbmlib.pages import text as words
from gbmlib.pages.plots import DECIDED
from gbmlib.viewer import colours

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
    behind.text = [f"{row.decided}: {words.evidence(row)}" for _, row in others.iterrows()]
    figure.add_trace(behind, 2, 1)
    margin = others.margin.max() if len(others) else 0
    plots.shade_margin(figure, margin, row=2, col=1)
    figure.update_yaxes(autorange="reversed", tickson="boundaries")
    said = "; ".join(f"{label}: {of}" for label, of in dices.items())
    description = description or f"Mean Dice over classes, the chosen network first. {said}"
    return plots.finish(figure, description, 170 + ROW_HEIGHT * sum(heights), None, l=20, t=40, b=30)


def _points(intervals: dict[str, Interval], symbols: list[str], colour: list[str]) -> go.Scatter:
    sizes = [15 if symbol == "star" else 10 for symbol in symbols]
    marker, hover = {"color": colour, "size": sizes, "symbol": symbols}, "%{y}: %{text}<extra></extra>"
    # Bars of one trace have one colour.
    style = {"bar_colour": colours.GREY, "marker": marker, "hovertemplate": hover}
    return plots.means(list(intervals), list(intervals.values()), "x", **style)
