"""Figures of the chapters on nnU-Net's U-Nets: learning rates, case by case against a reference, slice thickness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.analysis.intervals import Interval
from gbmlib.analysis.scores import Groups
from gbmlib.pages import plots
from gbmlib.viewer import colours

#: The first two of the series, so that a network has the same colour in every figure of a page.
NETWORKS = {"2D": colours.BLUE, "3D": colours.ORANGE}


def rates(groups: Groups, description: str = "") -> Any:
    """The learning rate of each epoch, a line a group; runs of a group share theirs."""
    figure = go.Figure()
    for number, (label, records) in enumerate(groups.items()):
        history = records[0].history
        # The second line is dashed, so that one shows below it where both have the same course.
        line = {"color": _colour(label, number), "width": 3 - number % 2, "dash": "dash" if number % 2 else "solid"}
        figure.add_scatter(
            x=history.epoch, y=history.learning_rate, name=label, mode="lines+markers", line=line, showlegend=True
        )
    figure.update_xaxes(title_text="epoch", dtick=1 if history.epoch.max() < 12 else None)
    figure.update_yaxes(title_text="learning rate", exponentformat="power", rangemode="tozero")
    return plots.finish(figure, description or f"Learning rate over epochs: {', '.join(groups)}", 260, -0.35, l=60)


def case_by_case(ours: Mapping[str, pd.DataFrame], theirs: pd.DataFrame, description: str = "") -> Any:
    """Dice of every case, ours over a reference's, a panel a region and a colour a network; on the line both agree.

    Args:
        ours: by network, cases (rows) and regions (columns).
        theirs: the same of the reference; regions and cases that ``ours`` has and others.
    """
    labels = list(theirs)
    figure = make_subplots(1, len(labels), subplot_titles=labels, horizontal_spacing=0.12)
    least = min(min(table[labels].min().min(), theirs.loc[table.index].min().min()) for table in ours.values())
    ends = [max(0.0, least - 0.03), 1.0]
    for column, region in enumerate(labels, 1):
        line = {"color": "#808080", "width": 1}
        figure.add_scatter(
            x=ends, y=ends, mode="lines", line=line, hoverinfo="skip", showlegend=False, row=1, col=column
        )
        for number, (name, table) in enumerate(ours.items()):
            figure.add_scatter(
                x=theirs.loc[table.index, region],
                y=table[region],
                text=table.index,
                name=name,
                legendgroup=name,
                showlegend=column == 1,
                mode="markers",
                marker={"color": _colour(name, number), "size": 7, "symbol": "circle" if number else "diamond-open"},
                hovertemplate="%{text}: ours %{y:.3f}, nnU-Net v2 %{x:.3f}<extra>" + name + "</extra>",
                row=1,
                col=column,
            )
    figure.update_xaxes(range=ends, title_text="nnU-Net v2")
    figure.update_yaxes(range=ends)
    figure.update_yaxes(title_text="ours", col=1)
    return plots.finish(figure, description or "Dice of every held-out case, ours over nnU-Net v2's", 400, t=40)


def thickness(table: pd.DataFrame, description: str = "") -> Any:
    """Dice over slice thickness (``pages.thickness_pages.sweep``): both networks above, 2D minus 3D below.

    Bars are intervals; the margin within which a difference does not matter is shaded.
    """
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.07)
    gap = (max(table.index) - min(table.index)) / 100
    for name, shift in zip(NETWORKS, (-gap, gap), strict=True):
        known = {at: of for at, of in table[name].items() if isinstance(of, Interval)}
        figure.add_trace(_points([at + shift for at in known], list(known.values()), name, NETWORKS[name]), 1, 1)
    known = {at: of for at, of in table["2D minus 3D"].items() if of.cases}
    figure.add_trace(_points(list(known), list(known.values()), "2D minus 3D", colours.GREEN), 2, 1)
    margin = table.margin.max()
    plots.shade_margin(figure, margin, "y", row=2, col=1)
    figure.update_xaxes(tickvals=list(table.index))
    figure.update_xaxes(title_text="slice thickness (mm)", row=2)
    figure.update_yaxes(title_text="Dice", row=1)
    figure.update_yaxes(title_text="2D minus 3D", row=2)
    said = "; ".join(f"{at:g} mm: {row['2D minus 3D']}" for at, row in table.iterrows())
    description = description or f"Held-out Dice over slice thickness of both networks. 2D minus 3D, {said}"
    return plots.finish(figure, description, 560, -0.12)


def _points(x: list[float], intervals: list[Interval], name: str, colour: str) -> go.Scatter:
    style = {"mode": "lines+markers", "line": {"color": colour, "width": 2.5}, "marker": {"size": 8}, "name": name}
    hover = "%{text}<extra>" + name + "</extra>"
    return plots.means(x, intervals, hovertemplate=hover, showlegend=True, **style)


def _colour(label: str, number: int) -> str:
    return NETWORKS.get(label) or plots.series(number)
