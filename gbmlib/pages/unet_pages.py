"""What the chapters on nnU-Net's U-Nets show: slices against volumes, and choices that were not tested.

A notebook displays it: ``display(*compared(groups))``. Runs on a glioma's exclusive labels are measured on the nested
regions WT, TC and ET too, and those are what is shown here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gbmlib import models
from gbmlib.analysis import family, intervals, paired, published, scores
from gbmlib.analysis.intervals import mean_interval
from gbmlib.analysis.scores import Groups
from gbmlib.cohorts import GLIOMA
from gbmlib.files import FACTS, counted, sizes
from gbmlib.pages import comparison, tables
from gbmlib.pages.tables import levels
from gbmlib.pages.text import Prose
from gbmlib.planner.table_1 import tasks
from gbmlib.study.records import Record, Store
from gbmlib.training.configuration import Experiment

#: The Decathlon numbers a glioma's labels 1 oedema, 2 non-enhancing, 3 enhancing; in our convention these are:
DECATHLON_ORDER = (2, 1, 3)


def compared(groups: Groups, wanted: Sequence[str] = (), decides: bool = True) -> list[Any]:
    """``pages.comparison.compared`` on the nested regions."""
    return comparison.compared(comparison.nested(groups), wanted, decides)


def all_published(name: str, store: Store) -> list[Any]:
    """:func:`compared` of a family of the catalogue at the scale that is shown, or how to make its runs."""
    return comparison.all_published(name, store, compared)


def by_region(groups: Groups, decides: bool = True) -> pd.DataFrame | Prose:
    """3D minus 2D (``analysis.family.by_region``): a row a region, one for their mean, and what each decides."""
    if lacking := [name for name in ("2D", "3D") if name not in groups]:
        return Prose(f"*{' and '.join(lacking)} has no record yet, so there is no difference to show.*")
    both = comparison.nested(groups)
    table = family.by_region(both["2D"], both["3D"])
    return (
        (tables.decided(table) if decides else table[["difference"]])
        .assign(cases=table.cases, seeds=table.seeds)
        .rename(columns={"difference": "3D minus 2D"})
    )


def trained(groups: Mapping[str, Sequence[Experiment]]) -> pd.DataFrame:
    """How the runs of each group are trained: a row a group."""
    rows = {}
    for label, (of, *_) in groups.items():
        rows[label] = {
            "cohort": of.cohort,
            "spacing (mm)": sizes(of.spacing, 2) if of.spacing else "own",
            "channels": ", ".join(of.modalities),
            "filters": (models.options_of("unet") | of.options)["filters"],
            "patch (z, y, x)": sizes(of.patch_size),
            "batch": of.batch_size,
            "steps": f"{of.epochs} x {of.batches}",
            "rate": f"{of.learning_rate:g}, {of.schedule.replace('_', ' ')}",
            "Dice of": "the whole batch" if of.loss == "dice_ce_batch" else "each sample",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


# ----------------------------------------------------------------------------------------------- beside printed numbers


def reference(folder: str | Path = FACTS) -> pd.DataFrame:
    """Dice of nnU-Net v2's 3D network for each hippocampus (rows) and label (columns), as published, held out."""
    return pd.read_csv(Path(folder) / "nnunet_v2_hippocampus_dice.csv", comment="#", index_col="case").drop(
        columns="fold"
    )


def hippocampus(groups: Groups, folder: str | Path = FACTS) -> pd.DataFrame:
    """Held-out Dice of each label: our networks, the paper's, and nnU-Net v2's, there also on our held-out cases."""
    theirs, rows = reference(folder), {}
    labels = list(theirs)
    for name, records in groups.items():
        dices = dices_of(records)[labels]
        folds = counted(len({record.experiment.fold for record in records}), "fold")
        rows[f"{name}, ours, {folds}"] = levels(dices)
    for network, values in published.table_2("Hippocampus", folder).iterrows():
        row = {name: f"{value:.4f}" for name, value in zip(labels, values, strict=True)}
        rows[f"{network}, Isensee et al. 2018, five folds"] = row | {
            "mean": f"{values.mean():.4f}",
            "cases": len(theirs),
        }
    same = _cases(next(iter(groups.values()))) if groups else []
    if same:
        rows["3D, nnU-Net v2, our held-out cases"] = levels(_of_reference(theirs, same))
    rows["3D, nnU-Net v2, five folds"] = levels(theirs)
    return pd.DataFrame.from_dict(rows, orient="index")


def against_reference(groups: Groups, folder: str | Path = FACTS) -> pd.DataFrame:
    """Our networks minus nnU-Net v2, paired by case: a row a network; differences for each label and in their mean,
    and what the mean decides (the networks are a family)."""
    if not groups:
        return pd.DataFrame()
    rows, means = {}, {}
    for name, records in groups.items():
        theirs = _of_reference(reference(folder), list(dices_of(records).index))
        rows[name] = {label: minus_published(records, theirs[[label]]).difference for label in theirs}
        means[name] = minus_published(records, theirs)
    found = family.table(means)
    return pd.DataFrame.from_dict(rows, orient="index").join(tables.decided(found, "mean")).assign(cases=found.cases)


def minus_published(ours: Sequence[Record], theirs: pd.DataFrame) -> paired.Paired:
    """Our Dice minus a published one, which has no seed of ours, paired by case; mean over regions.

    Args:
        theirs: Dice of the same cases (rows) in each region (columns).

    Raises:
        UnpairedError: the cases are not the same.
    """
    dices = scores.by_seed(ours, regions=list(theirs))
    base = theirs.mean(axis=1).to_frame("published")
    margin = intervals.margin(ours[0].experiment.cohort)
    networks = intervals.over_networks(base, dices, scores.folds_of(ours))
    return paired.judged(paired.compare_tables(base, dices, margin, networks), ours, ours)


def gliomas(groups: Groups, folder: str | Path = FACTS) -> pd.DataFrame:
    """Held-out Dice of a glioma's exclusive labels beside what table 2 of the paper prints for its own, larger data."""
    theirs, rows = published.table_2("BrainTumour", folder), {}
    order = [GLIOMA[value] for value in DECATHLON_ORDER]
    for name, records in groups.items():
        dices = dices_of(records)[order]
        rows[f"{name}, ours"] = {label: mean_interval(values) for label, values in dices.items()}
        rows[f"{name}, ours"]["cases"] = len(dices)
        row = {label: f"{value:.4f}" for label, value in zip(order, theirs.loc[name], strict=True)}
        rows[f"{name}, Isensee et al. 2018"] = row | {"cases": tasks(folder)["BrainTumour"].cases}
    return pd.DataFrame.from_dict(rows, orient="index")


def dices_of(records: Sequence[Record]) -> pd.DataFrame:
    """Dice of every held-out case (rows) in every region (columns), mean over seeds."""
    return scores.by_case(records)


# ----------------------------------------------------------------------------------------------------- untested choices


def choice(name: str, store: Store) -> list[Any]:
    """One of ``study.nnunet_ablations.COMPARISONS``: what the paper says of it, and what the records say."""
    return comparison.choice(f"untested/{name}", store)


def all_choices(store: Store) -> pd.DataFrame:
    """``pages.comparison.contrasts_of`` of what the paper did not validate."""
    return comparison.contrasts_of("untested", store)


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
        area = [np.count_nonzero(np.diff(mask, axis=axis)) * voxel / spacing[axis] for axis in range(3)]
        beside = (area[1] + area[2]) / 2
        rows[name] = {"faces z (mm²)": area[0], "faces y or x (mm²)": beside}
        rows[name]["ratio"] = area[0] / beside if beside else np.nan
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.iloc[:, :2] = table.iloc[:, :2].round()
    return table.assign(**{f"ratio over {table.index[0]}'s": table.ratio / table.ratio.iloc[0]}).round(2)


def _cases(records: Sequence[Record]) -> list[str]:
    return list(dices_of(records).index)


def _of_reference(theirs: pd.DataFrame, cases: Sequence[str]) -> pd.DataFrame:
    lacking = [case for case in cases if case not in theirs.index]
    if lacking:
        raise ValueError(f"the published Dice of nnU-Net v2 lacks {', '.join(lacking)}; were these cases renamed?")
    return theirs.loc[list(cases)]
