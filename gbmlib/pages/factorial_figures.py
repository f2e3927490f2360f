"""The figure of two crossed factors (``analysis.factorial``)."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from gbmlib.analysis.factorial import FACTORS
from gbmlib.analysis.intervals import mean_interval
from gbmlib.pages import plots


def interaction(table: pd.DataFrame, description: str = "") -> Any:
    """Mean Dice of every cell (``analysis.factorial.by_case``) over the pipelines, a line a network.

    Lines that run in parallel do not interact. Bars are intervals over cases. Cases differ by more than cells do, so
    bars that overlap say nothing of a difference: that is what the paired ones are for.
    """
    figure = go.Figure()
    networks, pipelines = (list(table.columns.unique(level)) for level in FACTORS)
    for number, network in enumerate(networks):
        known = {p: mean_interval(table[network, p]) for p in pipelines if (network, p) in table}
        places = [pipelines.index(p) + (number - (len(networks) - 1) / 2) * 0.04 for p in known]
        style = {"mode": "lines+markers", "line": {"color": plots.series(number), "width": 2.5}, "marker": {"size": 9}}
        style |= {"name": network, "hovertemplate": "%{text}<extra>" + network + "</extra>", "showlegend": True}
        figure.add_trace(plots.means(places, list(known.values()), thickness=1.5, **style))
    figure.update_xaxes(
        tickvals=list(range(len(pipelines))),
        ticktext=[f"pipeline {p}" for p in pipelines],
        range=[-0.4, len(pipelines) - 0.6],
    )
    figure.update_yaxes(title_text="mean Dice of held-out cases")
    said = "; ".join(f"{' under pipeline '.join(cell)}: {table[cell].mean():.3f}" for cell in table)
    return plots.finish(figure, description or f"Mean Dice of every cell. {said}", 420, -0.15)
