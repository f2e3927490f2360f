"""What the plots of the chapters share, and the plots of comparisons; a figure function ends with :func:`finish`."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.analysis import family, intervals, scores
from gbmlib.analysis.intervals import Interval
from gbmlib.analysis.leaderboard import Choice
from gbmlib.analysis.scores import Groups
from gbmlib.pages import text
from gbmlib.viewer import colours
from gbmlib.viewer.display import show

#: The colour of what a comparison decides.
DECIDED = {
    intervals.HIGHER: colours.GREEN,
    intervals.LOWER: colours.RED,
    intervals.NONE: colours.BLUE,
    intervals.UNDECIDED: colours.GREY,
    intervals.NOT_YET: colours.PALE,
}
AXIS = "#808080"

# --------------------------------------------------------------------------------------------------- what figures share


def finish(
    figure: go.Figure,
    description: str,
    height: int,
    legend: float | None = -0.2,
    legend_title: str | None = None,
    **margin: int,
) -> Any:
    """The last call of a figure: its height, margins and legend, and the form that its page can draw.

    Args:
        description: for readers who cannot see it.
        legend: where it begins below the plot, as a share of the plot's height; 0 for the lower edge of the figure,
            None for no legend.
        margin: in pixels, where it is not l=50, r=10, t=20 or b=40.
    """
    below = {"yref": "container", "y": 0, "yanchor": "bottom"} if legend == 0 else {"y": legend}
    figure.update_layout(height=height, margin={"l": 50, "r": 10, "t": 20, "b": 40} | margin)
    if legend is None:
        figure.update_layout(showlegend=False)
    else:
        figure.update_layout(legend={"orientation": "h", "title": {"text": legend_title, "side": "top"}} | below)
    return show(figure, description)


def panels(traces: Mapping[str, Sequence[go.Scatter]], rows: int = 1, **layout: Any) -> go.Figure:
    """A panel for each title: beside one another, or below one another where there are several ``rows``.

    Traces of one name are one entry of the legend; those without a name have none.
    """
    columns = max(1, len(traces)) if rows == 1 else 1
    figure, known = make_subplots(rows, columns, subplot_titles=list(traces), **layout), {None}
    for number, each in enumerate(traces.values(), 1):
        for trace in each:
            trace.update(legendgroup=trace.name, showlegend=trace.name not in known)
            known.add(trace.name)
            figure.add_trace(trace, number if rows > 1 else 1, number if rows == 1 else 1)
    return figure


def region_colours(regions: Iterable[str]) -> dict[str, str]:
    """A colour for each region: its own, or one of the spare ones in order."""
    spare = iter(colours.SPARE * 20)
    return {name: colours.REGIONS.get(name) or next(spare) for name in regions}


def series(number: int) -> str:
    """The colour of the nth of several things."""
    return colours.SERIES[number % len(colours.SERIES)]


def means(at: Sequence[Any], values: Sequence[Interval], across: str = "y", **style: Any) -> go.Scatter:
    """A trace of means, with error bars from each interval's low end to its high one, which are named on hover.

    Args:
        at: where on the other axis.
        across: the axis of the means, ``"x"`` or ``"y"``.
        style: of the trace; ``bar_colour`` and ``thickness`` are those of the bars.
    """
    level = [interval.mean for interval in values]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [interval.high - interval.mean for interval in values],
        "arrayminus": [interval.mean - interval.low for interval in values],
        "thickness": style.pop("thickness", 2),
        "color": style.pop("bar_colour", None),
    }
    place = {"x": level, "y": at, "error_x": bars} if across == "x" else {"x": at, "y": level, "error_y": bars}
    named = {"text": [str(interval) for interval in values], "hovertemplate": "%{text}<extra></extra>"}
    return go.Scatter(**place, **{"mode": "markers"} | named | style)


def shade_margin(figure: go.Figure, margin: float, across: str = "x", **panel: int) -> None:
    """Shade the differences that do not matter, those within ``margin`` of 0, and draw a line at 0."""
    shade = {"fillcolor": "rgba(128, 128, 128, 0.2)", "line_width": 0, "layer": "below"}
    (figure.add_vrect if across == "x" else figure.add_hrect)(-margin, margin, **shade, **panel)
    (figure.add_vline if across == "x" else figure.add_hline)(0, line={"color": AXIS, "width": 1}, **panel)


def wrapped(label: str) -> str:
    """A label of a row, in lines that leave a phone room for the plot."""
    return "<br>".join(textwrap.wrap(label, 16, break_on_hyphens=False))


# ---------------------------------------------------------------------------------------------------------- comparisons


def forest(table: pd.DataFrame, description: str = "") -> Any:
    """Differences in mean Dice with their intervals (``analysis.family.contrasts``), a row a comparison.

    The margin is shaded; the colour is what the comparison decides. The axis is that of networks which learned: where a
    channel collapsed, the row's name says so, and its point may lie off the scale.
    """
    collapsed = table.unsound.str.contains("collapsed").tolist()
    labels = [f"{label} (collapsed)" if dead else label for label, dead in zip(table.index, collapsed, strict=True)]
    names, learned = [wrapped(label) for label in labels], table.difference[[not dead for dead in collapsed]]
    figure = go.Figure()
    shade_margin(figure, table.margin.max())
    for word, colour in DECIDED.items():
        chosen = (table.decided == word).to_numpy()
        if chosen.any():
            rows, at = table[chosen], [name for name, here in zip(names, chosen, strict=True) if here]
            marker = {"color": colour, "size": 10}
            if word == intervals.NOT_YET:  # hollow, and dark enough to be read
                colour, marker = colours.GREY, {"color": colours.GREY, "size": 10, "symbol": "circle-open"}
            style = {"marker": marker, "bar_colour": colour, "name": word, "showlegend": True}
            style["text"] = [f"{text.evidence(row)}, against {row.against}" for _, row in rows.iterrows()]
            figure.add_trace(means(at, rows.difference, "x", **style))
    figure.update_xaxes(title_text="difference in mean Dice")
    if 0 < len(learned) < len(table):
        ends = pd.Series([0, *(end for one in learned for end in (one.mean, one.low, one.high))], dtype=float)
        figure.update_xaxes(range=[ends.min() - table.margin.max(), ends.max() + table.margin.max()])
    figure.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    description = description or f"Differences in mean Dice with their intervals. {text.findings(table)}"
    return finish(figure, description, 140 + 44 * len(table), 0, l=10)


def waterfall(groups: Groups, description: str = "") -> Any:
    """Held-out mean Dice of every rung of a ladder with its interval, and as a bar the step from the rung before.

    A step is paired by case, and its colour what it decides; where the two measured other regions or folds there is
    none, and no bar.
    """
    levels, table = scores.levels(groups), family.contrasts(groups, against="previous")
    table = table[table.cases > 0]
    steps = table.difference
    # The size of a step stands below its name: text within a plot would not follow the page into the dark.
    names = {label: wrapped(label) for label in groups}
    names |= {label: f"{names[label]}<br>{step.mean:+.3f}" for label, step in steps.items()}
    figure = go.Figure()
    figure.add_bar(
        base=[levels[label].mean - step.mean for label, step in steps.items()],
        x=[step.mean for step in steps],
        y=[names[label] for label in steps.index],
        orientation="h",
        marker={"color": [DECIDED[word] for word in table.decided], "opacity": 0.45},
        customdata=[f"{row.decided}: {text.evidence(row)}" for _, row in table.iterrows()],
        hovertemplate="step %{customdata}<extra></extra>",
        name="step",
    )
    rungs, marker = list(names.values()), {"color": colours.BLUE, "size": 9}
    hover = {"text": None, "customdata": list(map(str, levels)), "hovertemplate": "%{customdata}<extra></extra>"}
    figure.add_trace(means(rungs, levels, "x", bar_colour=AXIS, marker=marker, name="mean Dice", **hover))
    figure.update_xaxes(title_text="mean Dice of held-out cases")
    figure.update_yaxes(categoryorder="array", categoryarray=rungs[::-1])
    description = description or f"Held-out Dice, step by step: {', '.join(groups)}"
    return finish(figure, description, 120 + 48 * len(names), None, l=10, r=20)


def standings(choice: Choice, description: str = "") -> Any:
    """Mean Dice of every row of a leaderboard, the chosen one (a star) first, and below how far the others are behind.

    Bars are intervals over cases; hollow points are no candidates; the margin within which a difference does not matter
    is shaded. Differences are paired by case, so their intervals are the ones to decide by; their colour says what is
    decided.
    """
    others = choice.others
    dices = {choice.label: choice.level} | dict(others["Dice"])
    symbols = ["circle" if candidate else "circle-open" for candidate in others.candidate]
    hover = {"hovertemplate": "%{y}: %{text}<extra></extra>", "bar_colour": colours.GREY}  # one trace, one colour
    marker = {"color": colours.BLUE, "size": [15, *[10] * len(others)], "symbol": ["star", *symbols]}
    levels = means(list(dices), list(dices.values()), "x", marker=marker, **hover)
    marker = {"color": [DECIDED[word] for word in others.decided], "size": 10, "symbol": symbols}
    hover["text"] = [f"{row.decided}: {text.evidence(row)}" for _, row in others.iterrows()]
    behind = means(list(others.index), list(others.difference), "x", marker=marker, **hover)
    heights = [len(dices), max(1, len(others))]
    titles = {"mean Dice over classes": [levels], f"{choice.label} minus the others": [behind]}
    figure = panels(titles, 2, row_heights=heights, vertical_spacing=0.2)
    shade_margin(figure, others.margin.max() if len(others) else 0, row=2, col=1)
    figure.update_yaxes(autorange="reversed", tickson="boundaries")
    listed = "; ".join(f"{label}: {dice}" for label, dice in dices.items())
    description = description or f"Mean Dice over classes, the chosen network first. {listed}"
    return finish(figure, description, 170 + 26 * sum(heights), None, l=20, t=40, b=30)


def dumbbells(
    dice: pd.DataFrame, marks: Mapping[str, tuple[str, str]], description: str, opening: Collection[str] = ()
) -> Any:
    """Dice of every case (rows, the first on top) in several series (columns), joined by a line.

    Args:
        marks: colour and symbol of each series.
        opening: cases that a click opens; they are highlighted.
    """
    figure = go.Figure()

    def add_spans(cases: pd.DataFrame, **style: Any) -> None:
        """Lines from the lowest to the highest value of cases."""
        ends = zip(cases.min(axis=1), cases.max(axis=1), strict=True)
        x = [value for low, high in ends for value in (low, high, None)]
        y = [name for case in cases.index for name in (case, case, None)]
        figure.add_scatter(x=x, y=y, hoverinfo="skip", **style)

    add_spans(dice, mode="lines", line={"color": AXIS, "width": 2}, showlegend=False)
    if len(opening):
        pill = {"line": {"color": colours.YELLOW, "width": 18}, "marker": {"color": colours.YELLOW, "size": 18}}
        add_spans(dice.loc[opening], mode="lines+markers", opacity=0.6, name="opens when clicked", **pill)
    for name, (colour, symbol) in marks.items():
        marker, hover = {"color": colour, "size": 9, "symbol": symbol}, "%{x:.3f}<extra>" + name + "</extra>"
        figure.add_scatter(x=dice[name], y=dice.index, name=name, mode="markers", marker=marker, hovertemplate=hover)
    figure.update_xaxes(title_text="Dice", range=[-0.02, 1.02])
    figure.update_yaxes(autorange="reversed", tickfont={"size": 10})
    figure.update_layout(hovermode="y unified", dragmode=False)
    return finish(figure, description, 190 + 18 * len(dice), 0, l=20, t=30)


def case_by_case(ours: Mapping[str, pd.DataFrame], theirs: pd.DataFrame, mark: str, description: str) -> Any:
    """Dice of every case, ours over a mark's, a panel a class and a colour a network; on the line both agree.

    Args:
        ours: by network, cases (rows) and classes (columns).
        theirs: the same of the mark; classes and cases that ``ours`` has and others.
        mark: what it is called.
    """
    least = min(min(table[list(theirs)].min().min(), theirs.loc[table.index].min().min()) for table in ours.values())
    ends, traces = [max(0.0, least - 0.03), 1.0], {}
    for label in theirs:
        traces[label] = [go.Scatter(x=ends, y=ends, mode="lines", line={"color": AXIS, "width": 1}, hoverinfo="skip")]
        for number, (name, table) in enumerate(ours.items()):
            marker = {"color": series(number), "size": 7, "symbol": "circle" if number else "diamond-open"}
            hover = "%{text}: ours %{y:.3f}, " + mark + " %{x:.3f}<extra>" + name + "</extra>"
            points = {"x": theirs.loc[table.index, label], "y": table[label], "text": table.index, "mode": "markers"}
            traces[label].append(go.Scatter(**points, name=name, marker=marker, hovertemplate=hover))
    figure = panels(traces, horizontal_spacing=0.12)
    figure.update_xaxes(range=ends, title_text=mark)
    figure.update_yaxes(range=ends)
    figure.update_yaxes(title_text="ours", col=1)
    return finish(figure, description, 400, t=40)


def on_a_log_axis(lines: Mapping[str, pd.Series], quantity: str, description: str) -> Any:
    """Positive quantities through the depth of a network on a logarithmic axis, a line each."""
    figure = go.Figure()
    for number, (label, values) in enumerate(lines.items()):
        style = {"mode": "lines+markers", "line": {"color": series(number), "width": 2.5}, "showlegend": True}
        figure.add_scatter(x=values.index, y=values, name=label, **style)
    figure.update_xaxes(tickangle=-45)
    figure.update_yaxes(type="log", title_text=quantity, exponentformat="power")
    return finish(figure, description, 440, 0)
