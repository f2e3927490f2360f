"""Plots of several groups of runs side by side (``analysis.scores.Groups``), one colour a group."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gbmlib.analysis import family, intervals, scores
from gbmlib.analysis.scores import Groups
from gbmlib.pages import wording
from gbmlib.study.records import Record
from gbmlib.viewer import colours
from gbmlib.viewer.colours import SERIES
from gbmlib.viewer.display import show

#: The colour of what a comparison decides.
DECIDED = {
    intervals.HIGHER: colours.GREEN,
    intervals.LOWER: colours.RED,
    intervals.NONE: colours.BLUE,
    intervals.UNDECIDED: colours.GREY,
    intervals.NOT_YET: colours.PALE,
}
TERMS = {
    "loss": "segmentation",
    "reconstruction": "reconstruction",
    "kl": "Kullback-Leibler divergence",
    "l2": "penalty on the kernels",
}


def compare_curves(groups: Groups, description: str = "", on: str = "val") -> Any:
    """Dice and loss over epochs, validation solid and training dotted: figures 3 and 4 of Adeniji and Liu (2019).

    A line is the mean over folds and seeds. The band is the range over seeds, each a mean over its folds; where there
    is one seed, or seeds ran on different folds, it is the range over folds. The legend says which.

    Args:
        on: validation on whole volumes, ``"val"``, or on the paper's fixed crops, ``"crops"``.

    Raises:
        ValueError: a run did not log this.
    """
    from plotly.subplots import make_subplots

    # One above the other: side by side, a phone's width is too little for both.
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.06)
    for number, (label, records) in enumerate(groups.items()):
        colour = SERIES[number % len(SERIES)]
        for row, metric in enumerate(("dice", "loss"), 1):
            for part, dash, opacity in (("train", "dot", 0.6), (on, "solid", 1.0)):
                mean, low, high, band = _spread(records, f"{part}_{metric}")
                group = {"legendgroup": label, "hoverinfo": "skip", "showlegend": False, "mode": "lines"}
                group["line"] = {"width": 0}
                if band:
                    fill = f"rgba({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))}, {0.15 * opacity})"
                    figure.add_trace(go.Scatter(x=high.index, y=high, **group), row, 1)
                    figure.add_trace(go.Scatter(x=low.index, y=low, fill="tonexty", fillcolor=fill, **group), row, 1)
                kind = "training" if part == "train" else "validation"
                figure.add_trace(
                    go.Scatter(
                        x=mean.index,
                        y=mean,
                        name=f"{label} (band: {band})" if band else label,
                        mode="lines",
                        legendgroup=label,
                        showlegend=row == 1 and part != "train",
                        line={"color": colour, "width": 2.5, "dash": dash},
                        opacity=opacity,
                        hovertemplate=f"{label}, {kind}: %{{y:.3f}}<extra></extra>",
                    ),
                    row,
                    1,
                )
    figure.update_xaxes(title_text="epoch", row=2)
    figure.update_yaxes(title_text="Dice", range=[0, 1], row=1)
    figure.update_yaxes(title_text="loss", row=2)
    figure.update_layout(
        height=640,
        margin={"l": 40, "r": 10, "t": 20, "b": 40},
        legend={"orientation": "h", "y": -0.1, "title": {"text": "solid: validation, dotted: training", "side": "top"}},
    )
    return show(figure, description or f"Dice and loss over epochs: {', '.join(groups)}")


def terms(records: Sequence[Record], description: str = "") -> Any:
    """Each term of the training loss over epochs as it enters the sum, on a logarithmic axis; mean over runs."""
    figure = go.Figure()
    for colour, (name, words) in zip(SERIES, TERMS.items(), strict=False):
        if all(f"train_{name}" in record.history for record in records):
            mean = _spread(records, f"train_{name}")[0]
            line = {"color": colour, "width": 2.5}
            figure.add_trace(go.Scatter(x=mean.index, y=mean, mode="lines", name=words, line=line, showlegend=True))
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(type="log", title_text="weighted term", exponentformat="power")
    figure.update_layout(
        height=380, margin={"l": 50, "r": 10, "t": 20, "b": 40}, legend={"orientation": "h", "y": -0.2}
    )
    return show(figure, description or "Terms of the training loss over epochs")


def forest(table: pd.DataFrame, description: str = "") -> Any:
    """Differences in mean Dice with their intervals (``analysis.family.contrasts``), a row a comparison.

    The margin within which a difference does not matter is shaded; the colour is what the comparison decides.
    """
    names = [_wrapped(label) for label in table.index]
    figure, margin = go.Figure(), table.margin.max()
    figure.add_vrect(-margin, margin, fillcolor="rgba(128, 128, 128, 0.2)", line_width=0, layer="below")
    figure.add_vline(0, line={"color": "#808080", "width": 1})
    for word, colour in DECIDED.items():
        chosen = [number for number, of in enumerate(table.decided) if of == word]
        if chosen:
            rows = table.iloc[chosen]
            figure.add_trace(
                go.Scatter(
                    x=[of.mean for of in rows.difference],
                    y=[names[number] for number in chosen],
                    error_x=_bars(rows.difference, colour),
                    mode="markers",
                    marker={"color": colour, "size": 10},
                    name=word,
                    text=[f"{wording.evidence(row)}, against {row.against}" for _, row in rows.iterrows()],
                    hovertemplate="%{text}<extra></extra>",
                    showlegend=True,
                )
            )
    figure.update_xaxes(title_text="difference in mean Dice")
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    figure.update_layout(
        height=140 + 44 * len(table),
        margin={"l": 10, "r": 10, "t": 20, "b": 40},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
    )
    said = f"Differences in mean Dice with their intervals. {wording.findings(table)}"
    return show(figure, description or said)


def waterfall(groups: Groups, description: str = "") -> Any:
    """Held-out mean Dice of every rung of a ladder with its interval, and as a bar the step from the rung before.

    A step is paired by case, and its colour what it decides; where the two measured other regions or folds there is
    none, and no bar.
    """
    levels, table = scores.levels(groups), family.contrasts(groups, against="previous")
    table = table[table.cases > 0]
    steps = table.difference
    # The size of a step stands below its name: text within a plot would not follow the page into the dark.
    names = {label: _wrapped(label) for label in groups}
    names |= {label: f"{names[label]}<br>{step.mean:+.3f}" for label, step in steps.items()}
    figure = go.Figure()
    figure.add_trace(
        go.Bar(
            base=[levels[label].mean - step.mean for label, step in steps.items()],
            x=[step.mean for step in steps],
            y=[names[label] for label in steps.index],
            orientation="h",
            marker={"color": [DECIDED[word] for word in table.decided], "opacity": 0.45},
            customdata=[f"{row.decided}: {wording.evidence(row)}" for _, row in table.iterrows()],
            hovertemplate="step %{customdata}<extra></extra>",
            name="step",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[level.mean for level in levels],
            y=list(names.values()),
            error_x=_bars(levels, "#808080"),
            mode="markers",
            marker={"color": colours.BLUE, "size": 9},
            customdata=[str(level) for level in levels],
            hovertemplate="%{customdata}<extra></extra>",
            name="mean Dice",
        )
    )
    figure.update_xaxes(title_text="mean Dice of held-out cases")
    figure.update_yaxes(categoryorder="array", categoryarray=list(names.values())[::-1])
    figure.update_layout(height=120 + 48 * len(names), margin={"l": 10, "r": 20, "t": 20, "b": 40}, showlegend=False)
    return show(figure, description or f"Held-out Dice, step by step: {', '.join(groups)}")


def through_depth(lines: dict[str, pd.Series], quantity: str, description: str = "") -> Any:
    """A positive quantity on a logarithmic axis through the depth of a network.

    Args:
        lines: label -> a value a stage, in the order of the forward pass.
    """
    figure = go.Figure()
    for number, (label, values) in enumerate(lines.items()):
        line = {"color": SERIES[number % len(SERIES)], "width": 2.5}
        figure.add_trace(go.Scatter(x=values.index, y=values, name=label, mode="lines+markers", line=line))
    figure.update_xaxes(tickangle=-45)
    figure.update_yaxes(type="log", title_text=quantity, exponentformat="power")
    figure.update_layout(
        height=440,
        margin={"l": 50, "r": 10, "t": 20, "b": 40},
        showlegend=True,
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
    )
    return show(figure, description or f"Through the depth of the network: {quantity}")


def reconstruction(images: np.ndarray, reconstructed: np.ndarray, modalities: Sequence[str]) -> plt.Figure:
    """The image beside what the VAE makes of it: the middle axial slice, a row a modality.

    Args:
        images, reconstructed: (channel, z, y, x), normalised, of the same patch.
    """
    middle = images.shape[1] // 2
    figure, axes = plt.subplots(len(images), 2, figsize=(6, 3.1 * len(images)), layout="constrained", squeeze=False)
    for row, image, again, name in zip(axes, images, reconstructed, modalities, strict=True):
        low, high = np.percentile(image, [0.5, 99.5])
        for axis, volume, words in zip(row, (image, again), ("image", "reconstruction"), strict=True):
            # Rows run upwards, and the patient's left is on the right, as in every picture of the study.
            axis.imshow(volume[middle, :, ::-1], cmap="gray", vmin=low, vmax=high, origin="lower")
            axis.set_title(f"{name}, {words}", fontsize=10)
            axis.set_axis_off()
    return figure


def _spread(records: Sequence[Record], column: str) -> tuple[pd.Series, pd.Series, pd.Series, str]:
    """Mean over runs, lowest and highest line of the band, and what the band is (empty for a single run)."""
    lacking = [record.id for record in records if column not in record.history]
    if lacking:
        raise ValueError(f"no column {column} in the history of {', '.join(lacking)}; run them again")
    runs = {
        (record.experiment.seed, record.experiment.fold): record.history.set_index("epoch")[column]
        for record in records
    }
    # Where folds stopped early, the mean ends with the shortest: a mean over fewer would jump.
    table = pd.concat(runs, axis=1, names=["seed", "fold"]).dropna()
    folds_of = [frozenset(fold for seed, fold in runs if seed == of) for of in {seed for seed, _ in runs}]
    over = "seed" if len(folds_of) > 1 and len(set(folds_of)) == 1 else "fold"
    lines = table.T.groupby(level=over).mean().T
    words = f"range over {lines.shape[1]} {over}s" if lines.shape[1] > 1 else ""
    return table.mean(axis=1), lines.min(axis=1), lines.max(axis=1), words


def _bars(several: Sequence, colour: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [of.high - of.mean for of in several],
        "arrayminus": [of.mean - of.low for of in several],
        "color": colour,
        "thickness": 2,
    }


def _wrapped(label: str) -> str:
    """A label of a row, in lines that leave a phone room for the plot."""
    return "<br>".join(textwrap.wrap(label, 16, break_on_hyphens=False))
