"""What the chapter on uncertainty shows: tables with intervals over cases, reliability curves, and a case to look at.

Tables are those of ``analysis.uncertainty_members.tables``, live or published. A notebook displays what a function
here returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.analysis import uncertainty
from gbmlib.analysis.intervals import difference_interval, mean_interval
from gbmlib.analysis.uncertainty import DETECTORS, PLACES
from gbmlib.analysis.uncertainty_members import Member
from gbmlib.cohorts import Case, Cohort
from gbmlib.pages import plots
from gbmlib.pages.text import Prose
from gbmlib.viewer import slice_viewer

#: Places in words; the width is what the tables were made with.
WHERE = {"brain": "in the brain", "band": f"within {uncertainty.BAND:g} mm of the boundary"}

#: Which of the measures of a detector the tables show, and how they are headed.
MEASURES = {"auc": "AUC", "found 1%": "errors in the top 1 %", "found 5%": "errors in the top 5 %"}


def absent(cohort_name: str) -> Prose:
    """That nothing is published, and the commands that make it."""
    return Prose(
        f"*Nothing is published yet for {cohort_name}. With the data at hand these make it:* "
        "`python -m gbmlib run brats:PATH --only crossvalidation --published none`, then "
        "`python -m gbmlib facts brats:PATH --uncertainty`."
    )


def about(cases: pd.DataFrame) -> Prose:
    """Where the members come from, in a line of Markdown."""
    each = cases.groupby("source", sort=False)
    words = [f"{name} ({of.members.max()} members, {of.case.nunique()} cases)" for name, of in each]
    return Prose("Members: " + "; ".join(words) + ".")


def averaged(cases: pd.DataFrame) -> pd.DataFrame:
    """Dice of the average of the members and of the first one alone, paired by case: a row a source and region."""
    rows = {}
    for (source, region), of in cases.groupby(["source", "region"], sort=False):
        both = _by_case(of, "", "dice"), _by_case(of, "", "dice of one member")
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
    for (source, region), of in counts.groupby(["source", "region"], sort=False):
        rows[source, region] = {}
        for place, words in WHERE.items():
            tables = [table[["voxels", "predicted", "observed"]] for _, table in of[of.place == place].groupby("case")]
            filled = any(table.voxels.any() for table in tables)
            rows[source, region][words] = uncertainty.calibration_interval(tables) if filled else "–"
    return _table(rows)


def finding(cases: pd.DataFrame, place: str = "brain", detectors: Sequence[str] = DETECTORS) -> pd.DataFrame:
    """How well each detector finds the errors, means over the cases that have any: a row a source, region, detector."""
    rows = {}
    of = cases[(cases.place == place) & cases.detector.isin(detectors)]
    for key, part in of.groupby(["source", "region", "detector"], sort=False):
        found = {heading: _by_case(part, key[2], name).dropna() for name, heading in MEASURES.items()}
        rows[key] = {name: mean_interval(values) if len(values) else "–" for name, values in found.items()}
        rows[key]["cases with errors"] = len(found["AUC"])
    return _table(rows)


def over_cases(cases: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation of a case's mean uncertainty with its Dice: a row a source and region, a column for where the
    mean was taken. A good warning is a strong negative one."""
    rows = {}
    for (source, region), of in cases.groupby(["source", "region"], sort=False):
        dice = _by_case(of, "", "dice")
        row = {}
        for detector in DETECTORS[:2]:
            for place, words in (("brain", "brain"), ("predicted", "predicted region")):
                mean = _by_case(of[of.place == place], detector, "mean").dropna()
                row[f"{detector}, {words}"] = uncertainty.correlation(mean, dice[mean.index])
        rows[source, region] = row | {"cases": len(dice)}
    return _table(rows)


def in_words(cases: pd.DataFrame, counts: pd.DataFrame) -> Prose:
    """What the tables say of the first source, in a sentence or two; every number is computed."""
    source = cases.source.iloc[0]
    cases, counts = cases[cases.source == source], counts[counts.source == source]
    lines = []
    for region, of in cases.groupby("region", sort=False):
        top = _by_case(of[of.place == "brain"], DETECTORS[0], "found 5%").dropna().mean()
        auc, error = {}, {}
        for place in PLACES:
            auc[place] = _by_case(of[of.place == place], DETECTORS[0], "auc").dropna().mean()
            voxels = counts[(counts.region == region) & (counts.place == place)]
            error[place] = uncertainty.calibration_error(
                uncertainty.pooled(table for _, table in voxels.groupby("case"))
            )
        lines.append(
            f"- **{region}**: the most uncertain 5 % of the brain's voxels hold {top:.0%} of the errors; the AUC is "
            f"{auc['brain']:.3f} in the brain and {auc['band']:.3f} near the boundary; the calibration error "
            f"{error['brain']:.3f} and {error['band']:.3f}."
        )
    return Prose(f"Entropy of the mean over {source}:\n\n" + "\n".join(lines))


# -------------------------------------------------------------------------------------------------------------- figures


def reliability_curves(counts: pd.DataFrame, source: str | None = None) -> Any:
    """Share of voxels in the region over their mean probability, a colour a region, all cases of a source together.

    A panel a place. On the diagonal probabilities are right; below it the networks are too sure of the region.
    """
    source = source or counts.source.iloc[0]
    counts = counts[counts.source == source]
    titles = ["In the brain", "Near the boundary"]  # short enough for a phone
    figure = make_subplots(1, len(WHERE), subplot_titles=titles, horizontal_spacing=0.1)
    line = {"color": "#808080", "width": 1, "dash": "dot"}
    for column, place in enumerate(WHERE, 1):
        figure.add_scatter(
            x=[0, 1], y=[0, 1], mode="lines", line=line, hoverinfo="skip", showlegend=False, row=1, col=column
        )
        for region, colour in plots.region_colours(counts.region.unique()).items():
            of = counts[(counts.region == region) & (counts.place == place)]
            curve = uncertainty.curve(uncertainty.pooled([table for _, table in of.groupby("case")]))
            figure.add_scatter(
                x=curve.predicted,
                y=curve["observed"],
                text=[f"{voxels:,} voxels" for voxels in curve.voxels],
                name=region,
                legendgroup=region,
                showlegend=column == 1,
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"size": 7},
                hovertemplate="probability %{x:.2f}, share in the region %{y:.2f}; %{text}<extra>"
                + region
                + "</extra>",
                row=1,
                col=column,
            )
    figure.update_xaxes(range=[0, 1], title_text="mean probability")
    figure.update_yaxes(range=[0, 1])
    figure.update_yaxes(title_text="share in the region", col=1)
    description = f"Reliability of the probabilities averaged over {source}, in the brain and near the boundary"
    return plots.finish(figure, description, 400, t=40)


def dice_over_uncertainty(cases: pd.DataFrame, source: str | None = None) -> Any:
    """Dice of each case over the mean entropy within its prediction, a colour a region; cases are named on hover."""
    source = source or cases.source.iloc[0]
    cases = cases[cases.source == source]
    figure = go.Figure()
    for region, colour in plots.region_colours(cases.region.unique()).items():
        of = cases[cases.region == region]
        mean = _by_case(of[of.place == "predicted"], DETECTORS[0], "mean").dropna()
        dice = _by_case(of, "", "dice")[mean.index]
        hover = "%{text}: entropy %{x:.3f}, Dice %{y:.3f}<extra>" + region + "</extra>"
        marker = {"color": colour, "size": 8}
        figure.add_scatter(
            x=mean, y=dice, text=mean.index, name=region, mode="markers", marker=marker, hovertemplate=hover
        )
    figure.update_xaxes(title_text="mean entropy within the prediction (bits)", rangemode="tozero")
    figure.update_yaxes(title_text="Dice", range=[-0.02, 1.02])
    return plots.finish(figure, f"Dice of each case over its mean uncertainty, {source}", 360, -0.25)


def look(case: Case, members: Sequence[Member], cohort: Cohort, mirrored: Sequence[Member] = ()) -> Any:
    """A case in the viewer: the members' mean probability of every region, to put a threshold on, and where they are
    unsure of the first one and disagree about it.

    Args:
        members: of one source.
        mirrored: of another, whose disagreement is one map more.
    """
    first = next(iter(members[0]))
    of = uncertainty.maps([member[first] for member in members])
    maps: Mapping[str, np.ndarray] = {"disagreement": of.mutual_information, "entropy of the mean": of.entropy}
    if mirrored:
        again = uncertainty.maps([member[first] for member in mirrored])
        maps = {**maps, "disagreement of mirrorings": again.mutual_information}
    mean = {name: sum(member[name] for member in members) / len(members) for name in members[0]}
    truth = case.label() if case.has_label else None
    return slice_viewer.view(case, truth, probability=mean, maps=maps, names=cohort.labels)


def typical(cases: pd.DataFrame) -> str:
    """The case whose Dice of the first region is the (lower) median in the first source."""
    of = cases[(cases.source == cases.source.iloc[0]) & (cases.region == cases.region.iloc[0])]
    dice = _by_case(of, "", "dice").sort_values()
    return dice.index[(len(dice) - 1) // 2]


def _by_case(of: pd.DataFrame, detector: str, measure: str) -> pd.Series:
    found = of[(of.detector == detector) & (of.measure == measure)]
    return found.set_index("case").value


def _table(rows: Mapping[tuple[str, ...], Mapping[str, Any]]) -> pd.DataFrame:
    names = ["members", "region", "by"]
    table = pd.DataFrame.from_dict({key: dict(row) for key, row in rows.items()}, orient="index")
    if len(table):
        table.index = pd.MultiIndex.from_tuples(rows, names=names[: len(next(iter(rows)))])
    return table
