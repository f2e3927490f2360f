"""Figures of the chapter on maps: the curves of the sanity check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.pages import plots


def sanity(tables: Mapping[str, pd.DataFrame], description: str = "") -> Any:
    """Rank correlation with the trained network's map as weights are lost, a panel a network and a colour a map.

    Args:
        tables: network -> ``pages.saliency_pages.sanity``: a row a layer, columns (where, map). The first place
            is solid, others are dotted.
    """
    panels = max(1, len(tables))
    figure = make_subplots(panels, 1, subplot_titles=list(tables), vertical_spacing=0.16 if panels > 1 else 0)
    for row, table in enumerate(tables.values(), 1):
        colour = {name: plots.series(n) for n, name in enumerate(dict.fromkeys(table.columns.droplevel(0)))}
        first = table.columns[0][0]
        for place, name in table.columns:
            figure.add_trace(
                go.Scatter(
                    x=_steps(table.index),
                    y=table[place, name],
                    name=f"{name}, {place}",
                    legendgroup=f"{name}, {place}",
                    showlegend=row == 1,
                    mode="lines+markers",
                    line={"color": colour[name], "width": 2.5, "dash": "solid" if place == first else "dot"},
                    hovertemplate=f"{name}, {place}: %{{y:.2f}}<extra></extra>",
                ),
                row,
                1,
            )
    figure.update_yaxes(title_text="rank correlation", range=[-1.05, 1.05])
    figure.update_xaxes(tickangle=-45)
    said = "; ".join(
        f"{network}: "
        + ", ".join(
            f"{name} {table.iloc[-1][place, name]:.2f}" for place, name in table.columns if place == table.columns[0][0]
        )
        for network, table in tables.items()
    )
    description = description or f"Rank correlation of maps as weights are lost. At the end, {said}"
    return plots.finish(figure, description, 120 + 330 * panels, 0, t=30)


def _steps(index: Sequence[str]) -> list[str]:
    """``encoder 2`` of ``encoder.2``, in the order in which they are lost."""
    return [name.replace(".", " ") for name in index]
