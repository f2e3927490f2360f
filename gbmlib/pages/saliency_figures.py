"""Figures of the chapter on maps: maps over slices of a case, and the curves of the sanity check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.cohorts import Case
from gbmlib.viewer.colours import SERIES
from gbmlib.viewer.display import show


def slices(
    case: Case,
    rows: Mapping[str, Mapping[str, np.ndarray]],
    mask: np.ndarray,
    modality: int = 0,
    position: int | None = None,
) -> plt.Figure:
    """Maps over an axial slice of a case, a row a network and a column a map; the gold standard is outlined.

    Args:
        rows: network -> map -> volume (z, y, x) in native space.
        mask: bool (z, y, x), what is outlined.
        modality: which of the case's images lies below.
        position: z of the slice; by default that with most of the mask.
    """
    z = int(mask.sum((1, 2)).argmax()) if position is None else position
    image, outline = case.images()[modality], mask[z, :, ::-1]
    inside = image[image != 0]
    low, high = np.percentile(inside, [0.5, 99.5])
    rows = rows or {"no network finds this region": {}}
    columns = list(dict.fromkeys(name for maps in rows.values() for name in maps)) or [""]
    size = (2.4 * len(columns), 2.9 * len(rows))
    figure, axes = plt.subplots(len(rows), len(columns), figsize=size, layout="constrained", squeeze=False)
    box = _box(image[z] != 0)
    aspect = case.spacing[1] / case.spacing[2]
    for line, (network, maps) in zip(axes, rows.items(), strict=True):
        for axis, name in zip(line, columns, strict=True):
            axis.imshow(image[z, :, ::-1], cmap="gray", vmin=low, vmax=high, origin="lower", aspect=aspect)
            if name in maps:
                heat = maps[name][z, :, ::-1]
                heat = heat / heat.max() if heat.max() > 0 else heat
                # The stronger, the less of the image shines through.
                axis.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * heat**0.5, origin="lower", aspect=aspect)
            if outline.any():
                axis.contour(outline, [0.5], colors="#56B4E9", linewidths=1)
            axis.set(xlim=(image.shape[2] - box[3], image.shape[2] - 1 - box[2]), ylim=(box[0], box[1] - 1))
            axis.set_title(f"{network}\n{name}", fontsize=8)
            axis.set_axis_off()
    return figure


def sanity(tables: Mapping[str, pd.DataFrame], description: str = "") -> Any:
    """Rank correlation with the trained network's map as weights are lost, a panel a network and a colour a map.

    Args:
        tables: network -> ``pages.saliency_pages.sanity``: a row a layer, columns (where, map). The first place
            is solid, others are dotted.
    """
    panels = max(1, len(tables))
    figure = make_subplots(panels, 1, subplot_titles=list(tables), vertical_spacing=0.16 if panels > 1 else 0)
    for row, table in enumerate(tables.values(), 1):
        colour = {name: SERIES[n % len(SERIES)] for n, name in enumerate(dict.fromkeys(table.columns.droplevel(0)))}
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
    figure.update_layout(
        height=120 + 330 * panels,
        margin={"l": 50, "r": 10, "t": 30, "b": 40},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
    )
    said = "; ".join(
        f"{network}: "
        + ", ".join(
            f"{name} {table.iloc[-1][place, name]:.2f}" for place, name in table.columns if place == table.columns[0][0]
        )
        for network, table in tables.items()
    )
    return show(figure, description or f"Rank correlation of maps as weights are lost. At the end, {said}")


def _steps(index: Sequence[str]) -> list[str]:
    """``encoder 2`` of ``encoder.2``, in the order in which they are lost."""
    return [name.replace(".", " ") for name in index]


def _box(filled: np.ndarray) -> tuple[int, int, int, int]:
    """First and behind the last row, then column, with anything in them."""
    ends = [np.flatnonzero(filled.any(axis)) for axis in (1, 0)]
    return tuple(int(end) for of in ends for end in ((of[0], of[-1] + 1) if of.size else (0, 1)))
