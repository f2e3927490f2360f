"""What training looked like: metrics over epochs, and every case at the end; and maps as what was learnt is lost.

Groups are label -> records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.analysis import prevalence, scores
from gbmlib.analysis.intervals import Interval
from gbmlib.analysis.scores import Groups
from gbmlib.pages import plots
from gbmlib.study.records import HELD_OUT, TRAIN, Record
from gbmlib.viewer import colours

#: Of counted fractions: green and pink, as everywhere.
BANDS = ("0, 158, 115", "204, 121, 167")


def of_runs(records: Sequence[Record], description: str) -> Any:
    """Dice and loss over epochs, training against validation: figures 3 and 4 of Adeniji and Liu (2019).

    A thin line a run; where there are several, a thick one for their mean.
    """
    figure = make_subplots(1, 2, subplot_titles=("Dice", "Loss"), horizontal_spacing=0.1)
    for column, metric in enumerate(("dice", "loss"), 1):
        for split, name, colour in (("train", "training", colours.GREY), ("val", "validation", colours.BLUE)):
            runs = _over_epochs(records, f"{split}_{metric}")
            for (seed, fold), run in runs.items() if len(records) > 1 else ():
                run, label = run.dropna(), f"{name}, fold {fold}, seed {seed}"
                style = {"name": label, "line": {"color": colour, "width": 1}, "opacity": 0.35, "showlegend": False}
                figure.add_scatter(x=run.index, y=run, **style, row=1, col=column)
            mean = runs.dropna().mean(axis=1)
            style = {"name": name, "line": {"color": colour, "width": 3}, "opacity": 1, "showlegend": column == 1}
            figure.add_scatter(x=mean.index, y=mean, **style, row=1, col=column)
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(range=[0, 1], col=1)
    return plots.finish(figure, description, 380, l=40, t=40)


def compared(groups: Groups, description: str = "") -> Any:
    """Dice and loss over epochs, validation solid and training dotted: figures 3 and 4 of Adeniji and Liu (2019).

    A line is the mean over folds and seeds. The band is the range over seeds, each a mean over its folds; where there
    is one seed, or seeds ran on different folds, it is the range over folds. The legend says which.
    """
    # One above the other: side by side, a phone's width is too little for both.
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.06)
    for number, (label, records) in enumerate(groups.items()):
        colour = plots.series(number)
        for row, metric in enumerate(("dice", "loss"), 1):
            for split, dash, opacity in (("train", "dot", 0.6), ("val", "solid", 1.0)):
                mean, low, high, band = _spread(records, f"{split}_{metric}")
                if band:
                    fill = f"rgba({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))}, {0.15 * opacity})"
                    edge = {"legendgroup": label, "hoverinfo": "skip", "showlegend": False, "mode": "lines"}
                    edge |= {"line": {"width": 0}, "row": row, "col": 1}
                    figure.add_scatter(x=high.index, y=high, **edge)
                    figure.add_scatter(x=low.index, y=low, fill="tonexty", fillcolor=fill, **edge)
                kind = "training" if split == "train" else "validation"
                figure.add_scatter(
                    x=mean.index,
                    y=mean,
                    name=f"{label} (band: {band})" if band else label,
                    mode="lines",
                    legendgroup=label,
                    showlegend=row == 1 and split != "train",
                    line={"color": colour, "width": 2.5, "dash": dash},
                    opacity=opacity,
                    hovertemplate=f"{label}, {kind}: %{{y:.3f}}<extra></extra>",
                    row=row,
                    col=1,
                )
    figure.update_xaxes(title_text="epoch", row=2)
    figure.update_yaxes(title_text="Dice", range=[0, 1], row=1)
    figure.update_yaxes(title_text="loss", row=2)
    description = description or f"Dice and loss over epochs: {', '.join(groups)}"
    return plots.finish(figure, description, 640, -0.1, "solid: validation, dotted: training", l=40)


def per_case(records: Sequence[Record], description: str) -> Any:
    """Dice of every case in every region, training and held out: a point a case, named on hover."""
    cases = scores.tidy(records)
    cases = cases[cases.metric == "dice"]
    cases = cases.groupby(["split", "region", "case"], sort=False).value.mean().reset_index()
    figure = go.Figure()
    for region, colour in plots.region_colours(cases.region.unique()).items():
        for split, symbol in ((TRAIN, "circle-open"), (HELD_OUT, "circle")):
            points = cases[(cases.region == region) & (cases.split == split)]
            figure.add_box(
                x=[f"{region}<br>{split}"] * len(points),
                y=points.value,
                text=points.case,
                name=f"{region}, {split}",
                boxpoints="all",
                pointpos=0,
                jitter=0.5,
                fillcolor="rgba(0,0,0,0)",
                line={"color": colour, "width": 1},
                marker={"color": colour, "symbol": symbol, "size": 7},
                hovertemplate="%{text}: %{y:.3f}<extra></extra>",
                showlegend=False,
            )
    figure.update_yaxes(range=[-0.02, 1.02], title_text="Dice")
    return plots.finish(figure, description, 380)


def implied_fractions(
    table: pd.DataFrame, rounding: float, logged: Sequence[str], measured: Mapping[str, Interval], description: str
) -> Any:
    """The tumour fraction that each row of a table implies under each reading, beside fractions that were counted.

    A line a reading, its bars the rounding of the table; those that nobody put forward are grey and told apart by their
    dashes. A band for each counted fraction, from its interval's low end to its high one (or a line at its mean, where
    it has none). The axis is logarithmic.

    Args:
        table, rounding: see ``analysis.prevalence.implied``.
        logged: the reading that the log calls for.
        measured: label to counted fraction, two at most.
    """
    figure = go.Figure()
    first, last = table.index.min(), table.index.max()
    for (label, interval), colour in zip(measured.items(), BANDS, strict=False):
        low, high = (interval.low, interval.high) if interval.low == interval.low else (interval.mean,) * 2
        band = {"x": [first, last, last, first], "y": [low, low, high, high], "name": label, "mode": "lines"}
        band |= {"fill": "toself", "fillcolor": f"rgba({colour}, 0.25)"}
        band["line"] = {"color": f"rgba({colour}, 0.9)", "width": 1}
        figure.add_scatter(**band, text=f"{label}: {interval.mean:.4f}", hoverinfo="text")
    dashes = iter(("dot", "dash", "dashdot", "longdash"))
    known = {prevalence.METRICS: ("as printed", colours.RED), tuple(logged): ("as logged", colours.BLUE)}
    for reading in prevalence.READINGS:
        columns, fractions = ", ".join(reading), prevalence.implied(table, reading, rounding)
        who, colour = known.get(tuple(reading), ("", colours.GREY))
        line = {"width": 3} if who else {"width": 1, "dash": next(dashes, "solid")}
        above, below = fractions.high - fractions.fraction, fractions.fraction - fractions.low
        figure.add_scatter(
            x=fractions.index,
            y=fractions.fraction,
            error_y={"array": above, "arrayminus": below, "thickness": 1},
            name=f"{columns} ({who})" if who else columns,
            mode="lines+markers",
            line=line | {"color": colour},
            hovertemplate="epoch %{x}: %{y:.4f}<extra>" + columns + "</extra>",
        )
    whole = {"name": "all of the image", "mode": "lines", "line": {"color": colours.GREY, "width": 1}}
    hover = "above this line: more tumour than image<extra></extra>"
    figure.add_scatter(x=[first, last], y=[1, 1], hovertemplate=hover, **whole)
    figure.update_xaxes(title_text="epoch")
    figure.update_yaxes(title_text="implied tumour fraction", type="log", dtick=1)
    return plots.finish(figure, description, 520, legend_title="the columns hold", l=60, t=30)


def as_weights_are_lost(tables: Mapping[str, pd.DataFrame]) -> Any:
    """Rank correlation with the trained network's map as weights are lost, a panel a network and a colour a map.

    Args:
        tables: network -> ``analysis.saliency_checks.sanity``: a row a layer, columns (where, map). The first place is
            solid, others are dotted.
    """
    panels, sentences = {}, []
    for network, table in tables.items():
        first, order = table.columns[0][0], list(dict.fromkeys(table.columns.get_level_values("map")))
        sentences.append(f"{network}: " + ", ".join(f"{name} {table.iloc[-1][first, name]:.2f}" for name in order))
        panels[network], layers = [], [layer.replace(".", " ") for layer in table.index]
        for place, name in table.columns:
            line = {"color": plots.series(order.index(name)), "width": 2.5}
            line["dash"] = "solid" if place == first else "dot"
            style = {"name": f"{name}, {place}", "mode": "lines+markers", "line": line}
            style["hovertemplate"] = f"{name}, {place}: %{{y:.2f}}<extra></extra>"
            panels[network].append(go.Scatter(x=layers, y=table[place, name], **style))
    rows = max(1, len(panels))
    figure = plots.panels(panels, rows, vertical_spacing=0.16 if rows > 1 else 0)
    figure.update_yaxes(title_text="rank correlation", range=[-1.05, 1.05])
    figure.update_xaxes(tickangle=-45)
    description = f"Rank correlation of maps as weights are lost. At the end, {'; '.join(sentences)}"
    return plots.finish(figure, description, 120 + 330 * rows, 0, t=30)


def _over_epochs(records: Sequence[Record], column: str) -> pd.DataFrame:
    """A column of the histories, a column a run (seed, fold), by epoch; NaN where a run had stopped.

    Where folds stopped early, a mean ends with the shortest: a mean over fewer would jump.
    """
    runs = {(record.experiment.seed, record.experiment.fold): record for record in records}
    columns = {run: record.history.set_index("epoch")[column] for run, record in runs.items()}
    return pd.concat(columns, axis=1, names=["seed", "fold"])


def _spread(records: Sequence[Record], column: str) -> tuple[pd.Series, pd.Series, pd.Series, str]:
    """Mean over runs, lowest and highest line of the band, and what the band is (empty for a single run)."""
    table = _over_epochs(records, column).dropna()
    folds = [frozenset(fold for seed, fold in table if seed == one) for one in {seed for seed, _ in table}]
    over = "seed" if len(folds) > 1 and len(set(folds)) == 1 else "fold"
    lines = table.T.groupby(level=over).mean().T
    words = f"range over {lines.shape[1]} {over}s" if lines.shape[1] > 1 else ""
    return table.mean(axis=1), lines.min(axis=1), lines.max(axis=1), words
