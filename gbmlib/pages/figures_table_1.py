"""The figure of the chapter that examines table 1 of Adeniji and Liu (2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from gbmlib.analysis import prevalence
from gbmlib.analysis.intervals import Interval
from gbmlib.viewer import colours
from gbmlib.viewer.display import show

#: Okabe and Ito's colours, as everywhere; readings that nobody put forward are grey and told apart by their dashes.
PRINTED, LOGGED, OTHER = colours.RED, colours.BLUE, colours.GREY
BANDS = ("0, 158, 115", "204, 121, 167")
DASHES = ("dot", "dash", "dashdot", "longdash")


def implied_fractions(
    table: pd.DataFrame,
    rounding: float,
    logged: Sequence[str],
    measured: Mapping[str, Interval],
    description: str = "",
) -> Any:
    """The tumour fraction that each row of a table implies under each reading, beside fractions that were counted.

    A line a reading, its bars the rounding of the table; a band for each counted fraction, from its interval's low end
    to its high one (or a line at its mean, where it has none). The axis is logarithmic.

    Args:
        table, rounding: see ``analysis.prevalence.implied``.
        logged: the reading that the log calls for.
        measured: label to counted fraction, two at most.
    """
    figure = go.Figure()
    ends = [table.index.min(), table.index.max()]
    for (label, interval), colour in zip(measured.items(), BANDS, strict=False):
        low, high = (interval.low, interval.high) if interval.low == interval.low else (interval.mean,) * 2
        outline = {"color": f"rgba({colour}, 0.9)", "width": 1}
        around = {"fill": "toself", "fillcolor": f"rgba({colour}, 0.25)", "line": outline, "mode": "lines"}
        hover = f"{label}: {interval.mean:.4f}"
        figure.add_scatter(
            x=[*ends, *ends[::-1]], y=[low, low, high, high], name=label, text=hover, hoverinfo="text", **around
        )
    dashes = iter(DASHES)
    for reading in prevalence.READINGS:
        of = prevalence.implied(table, reading, rounding)
        figure.add_scatter(
            x=of.index,
            y=of.fraction,
            error_y={"array": of.high - of.fraction, "arrayminus": of.fraction - of.low, "thickness": 1},
            name=_named(reading, logged),
            mode="lines+markers",
            line=_line(reading, logged, dashes),
            hovertemplate="epoch %{x}: %{y:.4f}<extra>" + ", ".join(reading) + "</extra>",
        )
    whole = {"name": "all of the image", "mode": "lines", "line": {"color": OTHER, "width": 1}}
    figure.add_scatter(
        x=ends, y=[1, 1], hovertemplate="above this line: more tumour than image<extra></extra>", **whole
    )
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(title_text="implied tumour fraction", type="log", dtick=1)
    figure.update_layout(height=520, margin={"l": 60, "r": 10, "t": 30, "b": 40})
    figure.update_layout(legend={"orientation": "h", "y": -0.2, "title": {"text": "the columns hold "}})
    return show(figure, description or "The tumour fraction that each row of the table implies, for each reading")


def _named(reading: Sequence[str], logged: Sequence[str]) -> str:
    name = ", ".join(reading)
    if tuple(reading) == prevalence.METRICS:
        return f"{name} (as printed)"
    return f"{name} (as logged)" if tuple(reading) == tuple(logged) else name


def _line(reading: Sequence[str], logged: Sequence[str], dashes: Any) -> dict[str, Any]:
    if tuple(reading) == prevalence.METRICS:
        return {"color": PRINTED, "width": 3}
    if tuple(reading) == tuple(logged):
        return {"color": LOGGED, "width": 3}
    return {"color": OTHER, "width": 1, "dash": next(dashes, "solid")}
