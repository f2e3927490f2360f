"""What the chapter on uncertainty shows: tables with intervals over cases, and reliability curves.

Tables are those of ``analysis.uncertainty_members.tables``, live or published. A notebook displays what a function
here returns; words and figures are of the first source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from gbmlib.analysis import uncertainty
from gbmlib.analysis.intervals import difference_interval, mean_interval
from gbmlib.analysis.uncertainty import DETECTORS
from gbmlib.pages import plots
from gbmlib.pages.text import Prose

#: Places in words; the width is what the tables were made with.
WHERE = {"brain": "in the brain", "band": f"within {uncertainty.BAND:g} mm of the boundary"}

#: Which of the measures of a detector the tables show, and how they are headed.
MEASURES = {"auc": "AUC", "found 1%": "errors in the top 1 %", "found 5%": "errors in the top 5 %"}


def averaged(cases: pd.DataFrame) -> pd.DataFrame:
    """Dice of the average of the members and of the first one alone, paired by case: a row a source and region."""
    rows = {}
    for (source, region), group in cases.groupby(["source", "region"], sort=False):
        both = _by_case(group, "", "dice"), _by_case(group, "", "dice of one member")
        rows[source, region] = {
            "average": mean_interval(both[0]),
            "one member": mean_interval(both[1]),
            "average minus one": difference_interval(both[0] - both[1]),
            "cases": len(both[0]),
        }
    return _table(rows)


def calibration(counts: pd.DataFrame) -> pd.DataFrame:
    """Calibration error of the average with intervals over cases: a row a source and region, a column a place."""
    rows = {}
    for (source, region), group in counts.groupby(["source", "region"], sort=False):
        rows[source, region] = {}
        for place, words in WHERE.items():
            tables = [_bins(table) for _, table in group[group.place == place].groupby("case")]
            filled = any(table.voxels.any() for table in tables)
            rows[source, region][words] = uncertainty.calibration_interval(tables) if filled else "–"
    return _table(rows)


def finding(cases: pd.DataFrame, place: str = "brain") -> pd.DataFrame:
    """How well each detector finds the errors, means over the cases that have any: a row a source, region, detector."""
    rows = {}
    measured = cases[(cases.place == place) & cases.detector.isin(DETECTORS)]
    for key, group in measured.groupby(["source", "region", "detector"], sort=False):
        measures = {heading: _by_case(group, key[2], name).dropna() for name, heading in MEASURES.items()}
        rows[key] = {name: mean_interval(values) if len(values) else "–" for name, values in measures.items()}
        rows[key]["cases with errors"] = len(measures["AUC"])
    return _table(rows)


def over_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of a case's mean uncertainty with its Dice: a row a source and region, a column for where the
    mean was taken. A good warning is a strong negative one."""
    rows = {}
    for (source, region), group in cases.groupby(["source", "region"], sort=False):
        dice = _by_case(group, "", "dice")
        row = {}
        for detector in DETECTORS[:2]:
            for place, words in (("brain", "brain"), ("predicted", "predicted region")):
                mean = _by_case(group[group.place == place], detector, "mean").dropna()
                row[f"{detector}, {words}"] = uncertainty.correlation(mean, dice[mean.index])
        rows[source, region] = row | {"cases": len(dice)}
    return _table(rows)


def answer(cases: pd.DataFrame, counts: pd.DataFrame) -> Prose:
    """What the tables say of the first source and region: whether uncertainty finds errors and bad cases, and whether
    the probabilities are right."""
    cases, counts = _first(cases), _first(counts)
    region, source = cases.region.iloc[0], cases.source.iloc[0]
    of_region, counted = cases[cases.region == region], counts[(counts.region == region) & (counts.place == "band")]
    top = mean_interval(_by_case(of_region[of_region.place == "brain"], DETECTORS[0], "found 5%").dropna())
    auc = mean_interval(_by_case(of_region[of_region.place == "band"], DETECTORS[0], "auc").dropna())
    doubt = _by_case(of_region[of_region.place == "predicted"], DETECTORS[0], "mean").dropna()
    warning = uncertainty.correlation(doubt, _by_case(of_region, "", "dice")[doubt.index])
    error = uncertainty.calibration_interval([_bins(table) for _, table in counted.groupby("case")])
    finds = "points at errors" if auc.low > 0.5 else "does not reliably point at errors"
    warns = "warns of bad cases" if warning.high < 0 else "does not reliably warn of bad cases"
    near, averaged = WHERE["band"], f"average of {cases.members.max()} members: {source}"
    return Prose(
        f"**Uncertainty {finds}, and it {warns}.** ({region} in {of_region.case.nunique()} cases; {averaged}.)\n\n"
        f"- The most uncertain 5 % of the brain's voxels hold {top} of all errors. {near.capitalize()}, a wrong voxel "
        f"is more uncertain than a right one with a probability of {auc}.\n"
        f"- The rank correlation of a case's mean uncertainty with its Dice is {warning}.\n"
        f"- The probabilities are off by {error} on average {near}."
    )


# -------------------------------------------------------------------------------------------------------------- figures


def reliability_curves(counts: pd.DataFrame) -> Any:
    """Share of voxels in the region over their mean probability, a colour a region, all cases together.

    A panel a place. On the diagonal probabilities are right; below it the networks are too sure of the region.
    """
    counts, panels = _first(counts), {}
    colours = plots.region_colours(counts.region.unique())
    for place, title in zip(WHERE, ("In the brain", "Near the boundary"), strict=True):  # short enough for a phone
        diagonal = {"mode": "lines", "line": {"color": plots.AXIS, "width": 1, "dash": "dot"}, "hoverinfo": "skip"}
        panels[title] = [go.Scatter(x=[0, 1], y=[0, 1], **diagonal)]
        for region, colour in colours.items():
            curve = uncertainty.curve(_pooled(counts, region, place))
            hover = "probability %{x:.2f}, share in the region %{y:.2f}; %{text}<extra>" + region + "</extra>"
            style = {"mode": "lines+markers", "line": {"color": colour, "width": 2}, "marker": {"size": 7}}
            style |= {"name": region, "text": [f"{voxels:,} voxels" for voxels in curve.voxels], "hovertemplate": hover}
            panels[title].append(go.Scatter(x=curve.predicted, y=curve["observed"], **style))
    figure = plots.panels(panels, horizontal_spacing=0.1)
    figure.update_xaxes(range=[0, 1], title_text="mean probability")
    figure.update_yaxes(range=[0, 1])
    figure.update_yaxes(title_text="share in the region", col=1)
    source = counts.source.iloc[0]
    description = f"Reliability of the probabilities averaged over {source}, in the brain and near the boundary"
    return plots.finish(figure, description, 400, t=40)


def dice_over_uncertainty(cases: pd.DataFrame) -> Any:
    """Dice of each case over the mean entropy within its prediction, a colour a region; cases are named on hover."""
    cases, figure = _first(cases), go.Figure()
    for region, colour in plots.region_colours(cases.region.unique()).items():
        of_region = cases[cases.region == region]
        mean = _by_case(of_region[of_region.place == "predicted"], DETECTORS[0], "mean").dropna()
        style = {"name": region, "mode": "markers", "marker": {"color": colour, "size": 8}, "text": mean.index}
        style["hovertemplate"] = "%{text}: entropy %{x:.3f}, Dice %{y:.3f}<extra>" + region + "</extra>"
        figure.add_scatter(x=mean, y=_by_case(of_region, "", "dice")[mean.index], **style)
    figure.update_xaxes(title_text="mean entropy within the prediction (bits)", rangemode="tozero")
    figure.update_yaxes(title_text="Dice", range=[-0.02, 1.02])
    return plots.finish(figure, f"Dice of each case over its mean uncertainty, {cases.source.iloc[0]}", 360, -0.25)


def typical(cases: pd.DataFrame) -> str:
    """The case whose Dice of the first region is the (lower) median."""
    cases = _first(cases)
    dice = _by_case(cases[cases.region == cases.region.iloc[0]], "", "dice").sort_values()
    return dice.index[(len(dice) - 1) // 2]


def _first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first source."""
    return table[table.source == table.source.iloc[0]]


def _by_case(cases: pd.DataFrame, detector: str, measure: str) -> pd.Series:
    chosen = cases[(cases.detector == detector) & (cases.measure == measure)]
    return chosen.set_index("case").value


def _bins(counts: pd.DataFrame) -> pd.DataFrame:
    """The columns that ``analysis.uncertainty`` counts in."""
    return counts[["voxels", "predicted", "observed"]]


def _pooled(counts: pd.DataFrame, region: str, place: str) -> pd.DataFrame:
    """The counts of all cases together."""
    voxels = counts[(counts.region == region) & (counts.place == place)]
    return uncertainty.pooled(table for _, table in voxels.groupby("case"))


def _table(rows: Mapping[tuple[str, ...], Mapping[str, Any]]) -> pd.DataFrame:
    names = ["members", "region", "by"]
    table = pd.DataFrame.from_dict({key: dict(row) for key, row in rows.items()}, orient="index")
    if len(table):
        table.index = pd.MultiIndex.from_tuples(rows, names=names[: len(next(iter(rows)))])
    return table
