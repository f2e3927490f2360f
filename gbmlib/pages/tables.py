"""Tables of comparisons, and of configurations: what runs are trained with, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from gbmlib import models
from gbmlib.analysis import factorial, family, scores
from gbmlib.analysis.intervals import mean_interval
from gbmlib.analysis.scores import Groups
from gbmlib.analysis.treatments import doubled
from gbmlib.augment.nnunet import TRANSFORMS
from gbmlib.cohorts import GLIOMA, regions
from gbmlib.files import sizes
from gbmlib.pages.text import inside_margin, probability
from gbmlib.study import head_to_head, nnunet, scales
from gbmlib.training import batches
from gbmlib.training.configuration import Experiment

#: What each loss adds up, and over what its Dice is taken.
LOSSES = {
    "dice": "Dice",
    "dice_focal": "Dice and focal loss",
    "dice_ce": "Dice of each sample and cross entropy",
    "dice_ce_batch": "Dice of the batch and cross entropy",
    "softmax_dice": "Dice of each sample",
    "softmax_dice_squared": "Dice, its denominators squared",
    "cross_entropy": "cross entropy",
}


def decided(table: pd.DataFrame, name: str = "difference") -> pd.DataFrame:
    """The columns of a table of comparisons that a page shows: verdict, difference (called ``name``), p, effect size.

    The column of p is headed as corrected where any of them is.
    """
    p_name = "p (Holm)" if len(table) and table.family.max() > 1 else "p"
    columns = {
        "decided": [row.decided + inside_margin(row) for _, row in table.iterrows()],
        name: table.difference,
        p_name: ["" if pd.isna(p) else probability(p) for p in table.p],
        "rank-biserial": ["" if pd.isna(effect) else f"{effect:+.2f}" for effect in table.rank_biserial],
    }
    return pd.DataFrame(columns, table.index, dtype=object)


def comparison(groups: Groups, decides: bool = True, against: str = "first") -> pd.DataFrame:
    """One row a group: its difference to the first group, held-out Dice (mean over regions), each region, and cost.

    Groups that ran on fewer folds have other cases in their means; the difference is on shared folds alone. Intervals
    of means are over cases, those of differences over cases and seeds.

    Args:
        decides: whether p, effect size and what they decide are shown. Runs on phantoms decide nothing.
        against: as in ``analysis.family.contrasts``.
    """
    changes, rows, regions = family.contrasts(groups, against), {}, scores.common_regions(groups)
    shown = decided(changes) if decides else changes[["difference"]]
    for label, records in groups.items():
        dice = scores.by_case(records, metric=scores.dice_of(groups), regions=regions)
        others = {name: scores.by_case(records, metric=name, regions=regions) for name in ("precision", "recall")}
        seconds = sum(record.provenance["seconds"] for record in records) / len(records)
        rows[label] = {
            **(dict(shown.loc[label]) if label in shown.index else dict.fromkeys(shown, "")),
            "Dice": mean_interval(dice.mean(axis=1, skipna=False)),
            **{region: mean_interval(values) for region, values in dice.items()},
            **{name: mean_interval(table.mean(axis=1, skipna=False)) for name, table in others.items()},
            "cases": len(dice),
            "runs": len(records),
            "parameters (million)": round(records[0].provenance["parameters"] / 1e6, 2),
            "minutes a run": round(seconds / 60, 1),
        }
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    return pd.DataFrame([{name: row.get(name, "") for name in columns} for row in rows.values()], index=list(rows))


def two_by_two(groups: Groups, row: str, column: str) -> pd.DataFrame:
    """Held-out Dice of groups that differ in two fields of their configurations, as a table of the two."""
    runs = [records[0].experiment for records in groups.values()]
    fields = [[getattr(run, name) for run in runs] for name in (row, column)]
    table = scores.levels(groups).set_axis(fields).unstack()
    return table.rename_axis(index=row.replace("_", " "), columns=column.replace("_", " "))


def levels(dices: pd.DataFrame) -> dict[str, Any]:
    """A row of a table: the mean of each label (columns) over cases (rows), that of all labels, and how many cases."""
    row = {label: mean_interval(values) for label, values in dices.items()}
    return row | {"mean": mean_interval(dices.mean(axis=1)), "cases": len(dices)}


def printed(dices: pd.Series, cases: int) -> dict[str, Any]:
    """The same row of means as a paper prints them, by label."""
    return dices.map("{:.4f}".format).to_dict() | {"mean": f"{dices.mean():.4f}", "cases": cases}


# ------------------------------------------------------------------------------------------------------ configurations


def trained(groups: Mapping[str, Sequence[Experiment]]) -> pd.DataFrame:
    """How the planned networks of each group are trained: a row a group."""
    rows = {}
    for label, (run, *_) in groups.items():
        rows[label] = {
            "cohort": run.cohort,
            "spacing (mm)": sizes(run.spacing, 2) if run.spacing else "own",
            "channels": ", ".join(run.modalities),
            "filters": (models.options_of("unet") | run.options)["filters"],
            "patch (z, y, x)": sizes(run.patch_size),
            "batch": run.batch_size,
            "steps": f"{run.epochs} x {run.batches}",
            "rate": f"{run.learning_rate:g}, {run.schedule.replace('_', ' ')}",
            "Dice of": "the whole batch" if run.loss == "dice_ce_batch" else "each sample",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def schedules() -> pd.DataFrame:
    """What the first paper's network is trained with at each scale, a row a scale."""
    rows = {}
    for profile in ("demo", "short", "study", "paper"):
        run = scales.paper_a(profile, folds=(0,), seeds=(0,))[0]
        rows[profile] = {
            "cohort": run.cohort,
            "spacing (mm)": f"{run.spacing[0]:g}" if run.spacing else "own",
            "patch (z, y, x)": " x ".join(map(str, run.patch_size)),
            "filters": (models.options_of("segvae") | run.options)["filters"],
            "epochs": run.epochs,
            "crops a case": run.crops,
            "peak learning rate": f"{run.learning_rate:g}",
            "warm-up (epochs)": run.warmup,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def pipelines(wanted: head_to_head.Cells) -> pd.DataFrame:
    """What each paper's pipeline fixes, a row a choice, from the configuration of the network that is at home in it."""
    at_home = head_to_head.AT_HOME.items()
    table = pd.DataFrame({f"pipeline {p}": _pipeline(wanted[network, p][0]) for p, network in at_home})
    alike = table.nunique(axis=1) == 1
    return table.assign(**{"": ["the same" if same else "" for same in alike]})


def costs(wanted: head_to_head.Cells, groups: factorial.Cells | None = None) -> pd.DataFrame:
    """How long each cell is trained, and on how much, from its configuration; and the minutes of its records, if any.

    Counted in the first of its folds, where every patient has one case.
    """
    rows = {}
    for cell, (run, *_) in wanted.items():
        steps = run.epochs * batches.per_epoch(run, training_cases(run))
        patches = steps * run.batch_size
        row = rows[head_to_head.named(cell)] = {
            "patch (z, y, x)": sizes(run.patch_size),
            "batch": run.batch_size,
            "epochs": run.epochs,
            "steps": f"{steps:,}",
            "patches": f"{patches:,}",
            "voxels (million)": f"{patches * np.prod(run.patch_size) / 1e6:.3g}",
            "peak rate": f"{run.learning_rate:g}",
            "warm-up (epochs)": run.warmup,
            "parameters (million)": f"{parameters(run) / 1e6:.2f}",
        }
        if groups and groups.get(cell):
            seconds = [record.provenance["seconds"] for record in groups[cell]]
            row |= {"minutes a run": f"{np.mean(seconds) / 60:.1f}", "threads": str(run.threads)}
            if (change := doubled(groups[cell][0])) is not None:
                row["Dice if trained twice as long"] = f"{change:+.3f}"
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def training_cases(run: Experiment) -> int:
    """How many cases a fold trains on, where every patient has one."""
    cases = nnunet.plan_of(run.cohort).cases
    return cases - len(range(run.fold, cases, run.folds))


def parameters(run: Experiment) -> int:
    """The number of trainable parameters of a configuration's network, for the three labels of a glioma."""
    channels = len(regions.members(run.regions, GLIOMA)) + run.softmax
    with torch.device("meta"):  # shapes without memory
        network = models.build(run.model, len(run.modalities), channels, run.patch_size, **run.options)
    return models.parameters(network)


def _pipeline(run: Experiment) -> dict[str, str]:
    drawn = f"{run.batches} batches of cases at random" if run.batches else f"{run.crops} x every case"
    simple = f"each axis mirrored with p = {run.flips:g}" + (
        f", intensities by {run.intensity:g}" if run.intensity else ""
    )
    whole = [name for name in TRANSFORMS if name not in run.without]
    warmup = f", {run.warmup} epochs of warm-up" if run.warmup else ""
    return {
        "grid (mm)": sizes(run.spacing, 2) if run.spacing else "each case's own",
        "resampling": run.resampling,
        "normalisation": run.normalisation if isinstance(run.normalisation, str) else ", ".join(run.normalisation),
        "patch (z, y, x)": sizes(run.patch_size),
        "patches a step": str(run.batch_size),
        "patches that must hold foreground": {"none": "none"}.get(run.foreground, "more than a third"),
        "augmentation": simple if run.augmentation == "simple" else ", ".join(whole),
        "classes": "nested regions" if run.regions == "brats" else "exclusive labels",
        "output": "softmax, with the background" if run.softmax else "a sigmoid for each",
        "loss": LOSSES[run.loss],
        "penalty": f"{run.l2:g} x sum of squared kernels" if run.l2 else "none",
        "peak learning rate": f"{run.learning_rate:g}",
        "course of the rate": run.schedule.replace("_", " ") + warmup,
        "an epoch": drawn,
        "epochs": str(run.epochs),
        "tiles of inference": sizes(run.tile),
        "inference": "averaged over mirrorings" if run.mirrored_inference else "once",
    }
