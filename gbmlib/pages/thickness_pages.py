"""Slice thickness: a sweep of the planned 2D and 3D U-Nets as a table, a figure and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gbmlib.analysis import family, paired, scores
from gbmlib.analysis.intervals import Interval, mean_interval
from gbmlib.files import sizes
from gbmlib.pages import comparison, provenance, tables, unet_figures, unet_pages
from gbmlib.pages.text import Prose
from gbmlib.planner.words import AXES
from gbmlib.study import catalogue, nnunet, nnunet_ablations
from gbmlib.study.records import Record, Store

#: A sweep: the records of each network ("2D", "3D") at each slice thickness in mm.
Sweep = Mapping[tuple[str, float], Sequence[Record]]

NETWORKS, DIFFERENCE = ("2D", "3D"), "2D minus 3D"


def swept(store: Store) -> list[Any]:
    """The published sweep: where from, figure, table and what it says; or how to make it."""
    shown = []
    for scale, groups in catalogue.published(nnunet_ablations.anisotropy, store).items():
        shown += thicknesses(groups, nnunet_ablations.IN_PLANE[scale])
        shown += comparison.collapsed({f"{name}, {at:g} mm": of for (name, at), of in groups.items()})
    return shown or [provenance.absent("anisotropy")]


def thicknesses(groups: Sweep, in_plane: float | None = None) -> list[Any]:
    """A sweep as a line of where it comes from, a figure and a table.

    Args:
        in_plane: mm of a voxel within a slice, for a verdict below the figure; None for none.
    """
    records = [record for of in groups.values() for record in of]
    first, ends = records[0], [end([at for _, at in groups]) for end in (min, max)]
    said = (
        f"**{first.experiment.cohort}**, {first.provenance['cases']} cases, {first.experiment.spacing[-1]:g} mm within "
        f"slices, {ends[0]:g} to {ends[1]:g} mm between them; {len(records)} runs of "
        f"{first.experiment.epochs * first.experiment.batches} steps; "
        f"{provenance.cost(records)}."
    )
    table = sweep(groups)
    if in_plane is None:
        return [Prose(said), unet_figures.thickness(table), table[[*NETWORKS, DIFFERENCE, "cases"]]]
    found = overtaking(table, in_plane)
    shown = table[list(NETWORKS)].join(tables.decided(_family(table), DIFFERENCE)).assign(cases=table.cases)
    return [Prose(said), unet_figures.thickness(table, found.replace("**", "")), Prose(found), shown]


def sweep(groups: Sweep) -> pd.DataFrame:
    """Held-out Dice of both networks at each slice thickness, and 2D minus 3D, paired by case; a family.

    Returns:
        Index: thickness in mm, rising; columns ``2D``, ``3D`` (NaN without a record), ``2D minus 3D``, and the others
        of ``analysis.family.table``.
    """
    rows, found, groups = {}, {}, comparison.nested(groups)
    for thickness in sorted({thickness for _, thickness in groups}):
        of = {name: groups.get((name, thickness)) for name in NETWORKS}
        rows[thickness] = {name: _level(records) if records else np.nan for name, records in of.items()}
        pair = scores.on_shared_folds(of["3D"] or [], of["2D"] or [])
        found[thickness] = paired.compare(*pair) if all(pair) else None
    table = family.table(found).rename(columns={"difference": DIFFERENCE})
    return pd.DataFrame.from_dict(rows, orient="index").join(table).rename_axis("slices (mm)")


def overtaking(table: pd.DataFrame, in_plane: float) -> str:
    """Where 2D overtakes 3D in a :func:`sweep`, as Markdown: by the means, and where it is decided.

    It overtakes at the thickness from which on it is ahead in all thicker slices, interpolated between two that were
    run.
    """
    known = {of: change for of, change in table[DIFFERENCE].items() if change.cases}
    if not known:
        return "*There is nothing to compare yet.*"
    thickness, means = list(known), [change.mean for change in known.values()]
    span = f"{thickness[0]:g} to {thickness[-1]:g} mm"
    first = next((n for n in range(len(means)) if all(mean > 0 for mean in means[n:])), None)
    if first is None:
        ahead = [f"{of:g}" for of, mean in zip(thickness, means, strict=True) if mean > 0]
        said = f"2D overtakes 3D **nowhere in the range** of {span}"
        said += f", though it is ahead at {', '.join(ahead)} mm" if ahead else ""
    elif first == 0:
        said = f"2D is **ahead in the whole range** of {span}"
    else:
        (low, high), (below, above) = thickness[first - 1 : first + 1], means[first - 1 : first + 1]
        at = low + (high - low) * -below / (above - below)
        said = (
            f"2D overtakes 3D at slices of about **{at:.1f} mm**, {at / in_plane:.1f} times the spacing within a slice"
        )
    sides = {
        name: [f"{of:g}" for of in known if table.decided[of] == word]
        for name, word in zip(NETWORKS, ("higher", "lower"), strict=True)
    }
    first, second = (f"at {', '.join(of)} mm" if of else "nowhere" for of in sides.values())
    return f"By the means, {said}. By the one rule of the book, 2D is higher {first}, and 3D {second}."


def plans(cohort: str, spacings: Sequence[Sequence[float]]) -> pd.DataFrame:
    """The plans of a cohort at several spacings (z, y, x) in mm: a row for each network at each of them."""
    rows = {}
    for spacing in spacings:
        of = nnunet.plan_of(cohort, spacing)
        for network in (of.two_d, of.three_d):
            rows[sizes(spacing, 2), network.name] = {
                "median shape": sizes(network.median_shape),
                "patch": sizes(network.patch_size),
                "pools": ", ".join(map(str, network.pools)),
                "batch": network.batch_size,
                "slices across": AXES[network.axes[0]] if network.dimensions == 2 else "",
                "augmentation": {"slices": "slice by slice"}.get(network.augmentation, network.augmentation),
            }
    names = ["spacing (z, y, x), mm", "network"]
    return pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows, names=names))


def _family(table: pd.DataFrame) -> pd.DataFrame:
    return table.rename(columns={DIFFERENCE: "difference"})


def _level(records: Sequence[Record]) -> Interval:
    return mean_interval(unet_pages.dices_of(records).mean(axis=1, skipna=False))
