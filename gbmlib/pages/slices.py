"""Slices against volumes: a sweep over slice thickness as figure, table and words, and the steps that slices leave.

A sweep is groups by network ("2D", "3D") and slice thickness in mm (``study.nnunet_ablations.anisotropy``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly.subplots import make_subplots

from gbmlib.analysis import family, paired, scores
from gbmlib.analysis.intervals import HIGHER, LOWER, NOT_YET
from gbmlib.analysis.scores import Groups
from gbmlib.pages import comparison, plots, provenance, tables
from gbmlib.pages.text import Prose
from gbmlib.viewer import colours

NETWORKS, DIFFERENCE = ("2D", "3D"), "2D minus 3D"


def compared(sweep: Groups, decides: bool = True) -> list[Any]:
    """A sweep as a line of where it comes from, a figure and a table; where it ``decides``, also what it says."""
    records = [record for group in sweep.values() for record in group]
    first, known = records[0].experiment, [mm for _, mm in sweep]
    origin = Prose(
        f"**{first.cohort}**, {records[0].provenance['cases']} cases, {first.spacing[-1]:g} mm within slices, "
        f"{min(known):g} to {max(known):g} mm between them; {len(records)} runs of {first.epochs * first.batches} "
        f"steps; {provenance.cost(records)}."
    )
    table = differences(sweep)
    if not decides:
        shown = table[[*NETWORKS, "difference", "cases"]].rename(columns={"difference": DIFFERENCE})
        return [origin, figure(table), shown]
    sentence = overtaking(table, first.spacing[-1])
    shown = table[list(NETWORKS)].join(tables.decided(table, DIFFERENCE)).assign(cases=table.cases)
    collapsed = comparison.collapsed({f"{name}, {mm:g} mm": group for (name, mm), group in sweep.items()})
    return [origin, figure(table, sentence.replace("**", "")), Prose(sentence), shown, *collapsed]


def differences(sweep: Groups) -> pd.DataFrame:
    """Held-out Dice of both networks at each slice thickness, and 2D minus 3D, paired by case; a family.

    Returns:
        Index: thickness in mm, rising; columns ``2D``, ``3D`` (NaN without a record), and those of
        ``analysis.family.table``.
    """
    nested, comparisons = comparison.nested(sweep), {}
    levels = scores.levels(nested).unstack(0).reindex(columns=list(NETWORKS))
    for mm in levels.index:
        pair = scores.on_shared_folds(nested.get(("3D", mm), []), nested.get(("2D", mm), []))
        comparisons[mm] = paired.compare(*pair) if all(pair) else None
    return levels.join(family.table(comparisons)).rename_axis("slices (mm)")


def overtaking(table: pd.DataFrame, in_plane: float) -> str:
    """Where 2D overtakes 3D in :func:`differences`, as Markdown: by the means, and where it is decided.

    It overtakes at the thickness from which on it is ahead in all thicker slices, interpolated between two that were
    run.

    Args:
        in_plane: mm of a voxel within a slice.
    """
    table = table[[change.cases > 0 for change in table.difference]]
    if table.empty:
        return "*There is nothing to compare yet.*"
    thickness, means = list(table.index), [change.mean for change in table.difference]
    span = f"{thickness[0]:g} to {thickness[-1]:g} mm"
    first = next((n for n in range(len(means)) if all(mean > 0 for mean in means[n:])), None)
    if first is None:
        ahead = [f"{mm:g}" for mm, mean in zip(thickness, means, strict=True) if mean > 0]
        sentence = f"3D is **ahead in the whole range** of {span}"
        sentence += f", except at {', '.join(ahead)} mm" if ahead else ""
    elif first == 0:
        sentence = f"2D is **ahead in the whole range** of {span}"
    else:
        at = np.interp(0, means[first - 1 : first + 1], thickness[first - 1 : first + 1])
        sentence = (
            f"2D overtakes 3D at slices of about **{at:.1f} mm**, {at / in_plane:.1f} times the spacing within a slice"
        )
    sides = ([f"{mm:g}" for mm in table.index[table.decided == word]] for word in (HIGHER, LOWER))
    two, three = (f"at {', '.join(side)} mm" if side else "nowhere" for side in sides)
    reliable = "at no thickness is there a reliable winner"
    if (table.decided == NOT_YET).all():
        reliable = "nothing is decided yet: these networks were still learning"
    elif (table.decided.isin((HIGHER, LOWER))).any():
        reliable = f"2D is higher {two}, and 3D {three}"
    return f"By the means, {sentence}. By the one rule of the book, {reliable}."


def figure(table: pd.DataFrame, description: str = "") -> Any:
    """Dice over slice thickness (:func:`differences`): both networks above, 2D minus 3D below.

    Bars are intervals; the margin within which a difference does not matter is shaded.
    """
    panels = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.07)
    gap = (table.index.max() - table.index.min()) / 100
    lines = [(name, table[name].dropna(), shift) for name, shift in zip(NETWORKS, (-gap, gap), strict=True)]
    lines.append((DIFFERENCE, table.difference[table.cases > 0], 0))
    for (name, values, shift), colour in zip(lines, (colours.BLUE, colours.ORANGE, colours.GREEN), strict=True):
        style = {"mode": "lines+markers", "line": {"color": colour, "width": 2.5}, "marker": {"size": 8}, "name": name}
        style |= {"hovertemplate": "%{text}<extra>" + name + "</extra>", "showlegend": True}
        panels.add_trace(plots.means(values.index + shift, list(values), **style), 2 if name == DIFFERENCE else 1, 1)
    plots.shade_margin(panels, table.margin.max(), "y", row=2, col=1)
    panels.update_xaxes(tickvals=list(table.index))
    panels.update_xaxes(title_text="slice thickness (mm)", row=2)
    panels.update_yaxes(title_text="Dice", row=1)
    panels.update_yaxes(title_text=DIFFERENCE, row=2)
    listed = "; ".join(f"{mm:g} mm: {change}" for mm, change in table.difference.items())
    description = description or f"Held-out Dice over slice thickness of both networks. {DIFFERENCE}, {listed}"
    return plots.finish(panels, description, 560, -0.12)


def steps(label_maps: Mapping[str, np.ndarray], spacing: Sequence[float]) -> pd.DataFrame:
    """Surface of the foreground that faces up or down, against the mean of what faces the two other ways.

    A network that sees slices draws each outline without knowing the next, and where they do not lie above each other
    there is such a surface.

    Args:
        label_maps: (z, y, x), by name; the first is what the others are compared with.
        spacing: (z, y, x) in mm.
    """
    rows, voxel = {}, float(np.prod(spacing))
    for name, label_map in label_maps.items():
        mask = np.pad(label_map > 0, 1).astype(np.int8)
        across, *beside = (np.count_nonzero(np.diff(mask, axis=axis)) * voxel / spacing[axis] for axis in range(3))
        rows[name] = {"faces z (mm²)": across, "faces y or x (mm²)": sum(beside) / 2}
    table = pd.DataFrame.from_dict(rows, orient="index")
    ratio = table.iloc[:, 0] / table.iloc[:, 1]
    shown = {"ratio": ratio, f"ratio over {table.index[0]}'s": ratio / ratio.iloc[0]}
    return table.round().assign(**shown).round(2)
