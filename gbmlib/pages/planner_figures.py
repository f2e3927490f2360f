"""The figures of the chapter on the planner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.planner import Fingerprint, Network, plan
from gbmlib.planner.words import sizes
from gbmlib.viewer import colours
from gbmlib.viewer.display import show

#: Okabe and Ito's colours; the median case is the grey that shines through in light and dark pages.
CASE, MM, VOXELS = "rgba(128, 128, 128, 0.25)", colours.BLUE, colours.RED
NETWORKS = {"2D": colours.ORANGE, "3D": colours.BLUE, "3D low resolution": colours.RED}
#: The cascade's two networks often have the same patch: a ring around the other's point.
RING = {"mode": "markers", "marker": {"symbol": "circle-open", "size": 13, "line": {"width": 2}}}


def fields_of_view(tasks: Mapping[str, Fingerprint], description: str = "") -> Any:
    """What a 3D patch sees of the median case, in mm: proportions in mm beside proportions in voxels; a panel a task.

    Seen from the side: across is y, up is z.
    """
    titles = []
    panels = make_subplots(1, len(tasks), subplot_titles=list(tasks), horizontal_spacing=0.04)
    for column, (task, of) in enumerate(tasks.items(), 1):
        by = {aspect: plan(of, aspect=aspect).three_d for aspect in ("mm", "voxels")}
        titles.append(f"{task}: {sizes(by['mm'].patch_size)} in mm, {sizes(by['voxels'].patch_size)} in voxels")
        case = [size * step for size, step in zip(of.median_shape, of.spacing, strict=True)]
        first = column == 1
        panels.add_trace(_box(case, "the median case", CASE, first, filled=True), 1, column)
        panels.add_trace(_box(_extent(by["voxels"]), "patch, proportions in voxels", VOXELS, first), 1, column)
        panels.add_trace(_box(_extent(by["mm"]), "patch, proportions in mm", MM, first), 1, column)
    reach = max(
        max(size * step for size, step in zip(of.median_shape, of.spacing, strict=True)) for of in tasks.values()
    )
    plain = {"showgrid": False, "zeroline": False, "constrain": "domain"}
    panels.update_xaxes(range=[-0.55 * reach, 0.55 * reach], title_text="y (mm)", dtick=200, **plain)
    panels.update_yaxes(range=[-0.45 * reach, 0.45 * reach], showticklabels=False, dtick=100, **plain)
    for column in range(1, len(tasks) + 1):
        panels.update_yaxes(scaleanchor=f"x{column if column > 1 else ''}", col=column)
    panels.update_yaxes(title_text="z (mm)", showticklabels=True, col=1)
    panels.update_layout(
        height=320, margin={"l": 50, "r": 10, "t": 40, "b": 40}, legend={"orientation": "h", "y": -0.25}
    )
    return show(panels, description or "What a patch sees of the median case. " + "; ".join(titles))


def budget_lines(table: pd.DataFrame, description: str = "") -> Any:
    """Estimated memory of a training step over the budget of a patch, a line a network (``pages.budgets``)."""
    figure = go.Figure()
    for name, of in table.groupby("network", sort=False):
        figure.add_scatter(
            x=of.edge,
            y=of.gb,
            name=name,
            line={"color": NETWORKS[name], "width": 2},
            text=[f"{patch}, batch {batch}" for patch, batch in zip(of.patch, of.batch, strict=True)],
            hovertemplate="%{text}: %{y:.2f} GB<extra>" + name + "</extra>",
            **(RING if name == "3D low resolution" else {"mode": "lines+markers"}),
        )
    ticks = sorted(table.edge.unique())
    figure.update_xaxes(
        type="log", tickvals=ticks, ticktext=[f"{edge}³" for edge in ticks], title_text="voxels of a patch"
    )
    figure.update_yaxes(type="log", title_text="GB to train", tickvals=[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50])
    figure.update_layout(
        height=380, margin={"l": 50, "r": 10, "t": 20, "b": 40}, legend={"orientation": "h", "y": -0.25}
    )
    return show(figure, description or "Estimated memory of a training step over the budget of a patch")


def _extent(of: Network) -> list[float]:
    return [size * step for size, step in zip(of.patch_size, of.spacing, strict=True)]


def _box(extent: list[float], name: str, colour: str, legend: bool, filled: bool = False) -> go.Scatter:
    """A rectangle around 0 of an extent (z, y, x) in mm, seen along x."""
    z, y = extent[0] / 2, extent[1] / 2
    style = (
        {"fill": "toself", "fillcolor": colour, "line": {"width": 0}}
        if filled
        else {"line": {"color": colour, "width": 3}}
    )
    return go.Scatter(
        x=[-y, y, y, -y, -y],
        y=[-z, -z, z, z, -z],
        mode="lines",
        name=name,
        legendgroup=name,
        showlegend=legend,
        text=f"{name}: {2 * z:.0f} x {2 * y:.0f} mm (z, y)",
        hoverinfo="text",
        **style,
    )
