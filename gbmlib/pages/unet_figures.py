"""Figures of the chapters on nnU-Net's U-Nets: learning rates, case by case against a reference, slice thickness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.analysis.intervals import Interval
from gbmlib.analysis.scores import Groups
from gbmlib.cohorts import Case
from gbmlib.preprocess import pipeline
from gbmlib.viewer import colours
from gbmlib.viewer.display import show

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
    figure.update_layout(
        height=260, margin={"l": 60, "r": 10, "t": 20, "b": 40}, legend={"orientation": "h", "y": -0.35}
    )
    return show(figure, description or f"Learning rate over epochs: {', '.join(groups)}")


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
    figure.update_layout(
        height=400, margin={"l": 50, "r": 10, "t": 40, "b": 40}, legend={"orientation": "h", "y": -0.2}
    )
    return show(figure, description or "Dice of every held-out case, ours over nnU-Net v2's")


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
    figure.add_hrect(-margin, margin, fillcolor="rgba(128, 128, 128, 0.2)", line_width=0, layer="below", row=2, col=1)
    figure.add_hline(0, line={"color": "#808080", "width": 1}, row=2, col=1)
    figure.update_xaxes(tickvals=list(table.index))
    figure.update_xaxes(title_text="slice thickness (mm)", row=2)
    figure.update_yaxes(title_text="Dice", row=1)
    figure.update_yaxes(title_text="2D minus 3D", row=2)
    figure.update_layout(
        height=560, margin={"l": 50, "r": 10, "t": 20, "b": 40}, legend={"orientation": "h", "y": -0.12}
    )
    said = "; ".join(f"{at:g} mm: {row['2D minus 3D']}" for at, row in table.iterrows())
    return show(figure, description or f"Held-out Dice over slice thickness of both networks. 2D minus 3D, {said}")


def slices(case: Case, spacings: Sequence[Sequence[float]], modality: int = 0) -> plt.Figure:
    """A sagittal cut of a case on grids of several spacings (z, y, x) in mm: what a network is given of it.

    The front is on the left. The cut goes through most of the label, if there is one.
    """
    native = pipeline.prepare(case)
    labelled = native.label is not None and native.label.any()
    part = (native.label > 0).sum((0, 1)).argmax() / native.label.shape[2] if labelled else 0.5
    figure, axes = plt.subplots(1, len(spacings), figsize=(3 * len(spacings), 3), layout="constrained", squeeze=False)
    for axis, spacing in zip(axes[0], spacings, strict=True):
        images = pipeline.prepare(case, spacing).images[modality]
        cut = images[:, :, int(part * images.shape[2])]
        low, high = np.percentile(images[images != 0], [0.5, 99.5])
        cut = np.where(cut == 0, low, cut)  # the normalised background lies at the mean of the brain
        axis.imshow(cut[:, ::-1], cmap="gray", vmin=low, vmax=high, origin="lower", aspect=spacing[0] / spacing[1])
        axis.set_title(f"{spacing[0]:g} mm slices", fontsize=10)
        axis.set_axis_off()
    return figure


def _points(x: list[float], intervals: list[Interval], name: str, colour: str) -> go.Scatter:
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [of.high - of.mean for of in intervals],
        "arrayminus": [of.mean - of.low for of in intervals],
        "thickness": 2,
    }
    return go.Scatter(
        x=x,
        y=[of.mean for of in intervals],
        error_y=bars,
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": 2.5},
        marker={"size": 8},
        text=[str(of) for of in intervals],
        hovertemplate="%{text}<extra>" + name + "</extra>",
        showlegend=True,
    )


def _colour(label: str, number: int) -> str:
    return NETWORKS.get(label) or colours.SERIES[number % len(colours.SERIES)]
