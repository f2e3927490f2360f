"""What the chapter on the two papers' head to head shows: six cells, what each factor changes, and what each costs.

A notebook displays it: ``display(*results(groups, wanted))``. Groups are (network, pipeline) -> records, as
:func:`gbmlib.experiments.head_to_head.cells` asks for them; some may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from gbmlib import (
    ablation_figures,
    ablation_pages,
    batches,
    factorial,
    factorial_figures,
    models,
    regions,
    statistics,
    wording,
)
from gbmlib.ablation_pages import Prose
from gbmlib.augment_batch import TRANSFORMS
from gbmlib.cohorts import GLIOMA
from gbmlib.compare import UnpairedError
from gbmlib.configuration import Experiment
from gbmlib.experiments import head_to_head, paper_b
from gbmlib.factorial import Cells
from gbmlib.intervals import MARGIN, Difference, mean_interval
from gbmlib.planner.words import listed, sizes
from gbmlib.records import Record, Store

#: What the command that makes the records calls them.
CHAPTER = "headtohead"

Wanted = Mapping[tuple[str, str], Sequence[Experiment]]

#: What each loss adds up, and over what its Dice is taken.
LOSSES = {
    "dice": "Dice",
    "dice_focal": "Dice and focal loss",
    "dice_ce": "Dice of each sample and cross entropy",
    "dice_ce_batch": "Dice of the batch and cross entropy",
}
EFFECTS = {"architecture": "the architecture", "pipeline": "the pipeline", "interaction": "both together"}

#: What the spread of the networks minus that of the pipelines decides.
MATTERS = {"higher": "the architecture", "lower": "the pipeline", "no difference": f"neither by more than {MARGIN:g}"}


def published(store: Store) -> dict[str, dict[tuple[str, str], list[Record]]]:
    """The records of each cell that the store holds, by profile, the largest scale first."""
    return ablation_pages.published(head_to_head.cells, store)


def absent() -> Prose:
    """That no record is there, and the command that makes it."""
    return ablation_pages.absent(CHAPTER)


# ------------------------------------------------------------------------------------------------------------- results


def results(groups: Cells, wanted: Wanted, decides: bool = True) -> list[Any]:
    """Where the runs come from, what is missing, Dice of every cell as a figure and a table, and collapsed runs."""
    shown: list[Any] = [ablation_pages.about([record for of in groups.values() for record in of])]
    shown += missing(groups, wanted)
    try:
        table = factorial.by_case(groups)
    except UnpairedError as error:
        return [*shown, Prose(f"*Nothing can be compared yet: {error}.*")]
    shown += [factorial_figures.interaction(table), dice(table)]
    return shown + ablation_pages.collapsed({named(cell): of for cell, of in groups.items()}) if decides else shown


def missing(groups: Cells, wanted: Wanted) -> list[Prose]:
    """Which runs of which cells have no record, and on which folds the comparison rests then; empty if all have."""
    lines = []
    for cell, of in wanted.items():
        there = {record.id for record in groups.get(cell, ())}
        lacking = dict.fromkeys(str(e.fold) for e in of if e.id not in there)
        if lacking:
            lines.append(f"- {named(cell)}: {'fold' if len(lacking) == 1 else 'folds'} {listed(list(lacking))}")
    if not lines:
        return []
    kept = ", ".join(str(fold) for fold, _ in factorial.shared_folds(groups)) or "none"
    return [
        Prose(
            f"*Some runs have no record yet; `python -m gbmlib.experiments brats:PATH --only {CHAPTER}` makes them. "
            f"Cells are compared on the folds that all of those with a record share: {kept}. Missing:*\n\n"
            + "\n".join(lines)
        )
    ]


def dice(table: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice of every cell with its interval over cases; a row a network, a column a pipeline.

    Where no cell is missing there are means of rows and columns too.

    Args:
        table: :func:`gbmlib.factorial.by_case`.
    """
    networks, pipelines = (list(table.columns.unique(level)) for level in factorial.FACTORS)
    rows = {
        network: {f"pipeline {p}": mean_interval(table[network, p]) for p in pipelines if (network, p) in table}
        for network in networks
    }
    if complete(table):
        for network in networks:
            rows[network]["mean"] = mean_interval(table[network].mean(axis=1))
        of = {p: table.xs(p, axis=1, level="pipeline").mean(axis=1) for p in pipelines}
        rows["mean"] = {f"pipeline {p}": mean_interval(values) for p, values in of.items()}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def answers(groups: Cells, decides: bool = True) -> list[Any]:
    """The effects of both factors and what they do together: figure, table and, where it ``decides``, in words."""
    try:
        found, table = factorial.effects(factorial.by_seed(groups)), factorial.by_case(groups)
    except UnpairedError:
        return [Prose("*Nothing can be compared yet.*")]
    if found.empty:
        return [Prose("*No two cells share a network or a pipeline yet, so there is no difference to show.*")]
    if not decides:
        return [ablation_figures.forest(found, description=_described(found)), by_region(groups, decides)]
    said = f"Differences in mean Dice with their intervals. {wording.findings(found.drop(columns='against'))}"
    figure = ablation_figures.forest(found, description=said)
    return [figure, ablation_pages.caption(said), by_region(groups), Prose(verdict(found, table))]


def by_region(groups: Cells, decides: bool = True) -> pd.DataFrame:
    """:func:`gbmlib.factorial.effects` of the mean over regions, with what it decides, and of each region by itself."""
    found = factorial.effects(factorial.by_seed(groups))
    shown = wording.shown(found, "mean") if decides else found[["difference"]].rename(columns={"difference": "mean"})
    out = found[["effect", "over"]].join(shown)
    for region in factorial.regions_of(groups):
        out[region] = factorial.effects(factorial.by_seed(groups, region)).difference
    return out.assign(cases=found.cases, seeds=found.seeds)


def verdict(effects: pd.DataFrame, table: pd.DataFrame) -> str:
    """What :func:`gbmlib.factorial.effects` decide, as Markdown. For published runs on real cases alone."""
    lines = []
    for effect, said in EFFECTS.items():
        words = {"higher": "a larger gain", "lower": "a smaller gain"} if effect == "interaction" else wording.DICE
        of = effects[effects.effect == effect].drop(columns="against")
        if len(of):
            lines.append(f"- What {said} change{'' if effect == 'interaction' else 's'}:")
            lines += [f"  {line}" for line in wording.verdict(of, words).splitlines()]
    if not complete(table):
        return "\n".join([*lines, "- Which of them matters more cannot be said before all cells have a record."])
    change = factorial.networks_minus_pipelines(table)
    spreads, more = factorial.spreads(table).spread, _more(change)
    otherwise = [f"without {name} {_more(of)}, {of}" for name, of in factorial.otherwise_without(table).items()]
    carried = f"It rests on its company: {'; '.join(otherwise)}." if otherwise else "So it is without any one of them."
    return "\n".join(
        [
            *lines,
            f"- **Which matters more: {more}.** The means of the networks lie "
            f"{spreads['network']} from their own mean (root mean square, Dice), those of the pipelines "
            f"{spreads['pipeline']}; the difference is {change}, on {change.cases} cases. There is no test of spreads: "
            f"the interval, over cases alone, decides. {carried}",
        ]
    )


def spreads(groups: Cells) -> pd.DataFrame | Prose:
    """:func:`gbmlib.factorial.spreads`, once all cells have a record."""
    try:
        table = factorial.by_case(groups)
    except UnpairedError as error:
        return Prose(f"*Not yet: {error}.*")
    return factorial.spreads(table) if complete(table) else Prose("*Not before all cells have a record.*")


def leaving_out(groups: Cells, decides: bool = True) -> pd.DataFrame | Prose:
    """:func:`gbmlib.factorial.leaving_out` with what it decides, once all cells have a record."""
    try:
        table = factorial.by_case(groups)
    except UnpairedError as error:
        return Prose(f"*Not yet: {error}.*")
    if not complete(table):
        return Prose("*Not before all cells have a record.*")
    found = factorial.leaving_out(table)
    out = pd.DataFrame(
        {
            "spread of the networks": found.network,
            "spread of the pipelines": found.pipeline,
            "networks minus pipelines": found.difference,
        }
    )
    if decides:
        out["matters more"] = [_more(of) for of in found.difference]
    return out.set_axis(["all networks", *(f"without {name}" for name in found.index[1:])])


def _more(change: Difference) -> str:
    """Which matters more, by :func:`gbmlib.factorial.networks_minus_pipelines`."""
    return MATTERS.get(statistics.decide(change), "undecided")


def complete(table: pd.DataFrame) -> bool:
    """Whether no cell is missing from :func:`gbmlib.factorial.by_case`: a smaller factorial asks something else."""
    return set(table) == set(product(head_to_head.NETWORKS, head_to_head.PIPELINES))


def within(groups: Cells, decides: bool = True) -> pd.DataFrame | Prose:
    """:func:`gbmlib.factorial.within`, with what each difference decides."""
    try:
        found = factorial.within(factorial.by_seed(groups))
    except UnpairedError as error:
        return Prose(f"*Not yet: {error}.*")
    shown = wording.shown(found) if decides else found[["difference"]]
    return shown.assign(cases=found.cases, seeds=found.seeds)


def curves(groups: Cells) -> list[Any]:
    """Dice and loss over epochs of the networks, a figure a pipeline: between pipelines neither is on one scale."""
    shown: list[Any] = []
    for pipeline in head_to_head.PIPELINES:
        of = {network: records for (network, under), records in groups.items() if under == pipeline}
        if of:
            said = f"Dice and loss over epochs under pipeline {pipeline}: {', '.join(of)}"
            shown += [Prose(f"**Pipeline {pipeline}**"), ablation_figures.compare_curves(of, said)]
    return shown


# ---------------------------------------------------------------------------------------------- from the configurations


def pipelines(wanted: Wanted) -> pd.DataFrame:
    """What each pipeline fixes, a row a choice, from the configurations of the network that is at home in it."""
    found = {f"pipeline {p}": _pipeline(wanted[network, p][0]) for p, network in head_to_head.AT_HOME.items()}
    table = pd.DataFrame(found)
    alike = table.nunique(axis=1) == 1
    return table.assign(**{"": ["the same" if same else "" for same in alike]})


def cost(wanted: Wanted, groups: Cells | None = None) -> pd.DataFrame:
    """How long each cell is trained, and on how much, from its configuration; and the minutes of its records, if any.

    Counted in the first of its folds, where every patient has one case.
    """
    rows = {}
    for cell, (of, *_) in wanted.items():
        steps = of.epochs * batches.per_epoch(of, training_cases(of))
        patches = steps * of.batch_size
        rows[named(cell)] = {
            "patch (z, y, x)": sizes(of.patch_size),
            "batch": of.batch_size,
            "epochs": of.epochs,
            "steps": f"{steps:,}",
            "patches": f"{patches:,}",
            "voxels (million)": f"{patches * np.prod(of.patch_size) / 1e6:.3g}",
            "peak rate": f"{of.learning_rate:g}",
            "warm-up (epochs)": of.warmup,
            "parameters (million)": f"{parameters(of) / 1e6:.2f}",
        }
        if groups and groups.get(cell):
            seconds = [record.provenance["seconds"] for record in groups[cell]]
            rows[named(cell)] |= {"minutes a run": f"{np.mean(seconds) / 60:.1f}", "threads": str(of.threads)}
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def training_cases(of: Experiment) -> int:
    """How many cases a fold trains on, where every patient has one."""
    cases = paper_b.plan_of(of.cohort).cases
    return cases - len(range(of.fold, cases, of.folds))


def parameters(of: Experiment) -> int:
    """The number of trainable parameters of a configuration's network, for the three labels of a glioma."""
    channels = len(regions.members(of.regions, GLIOMA)) + of.softmax
    with torch.device("meta"):  # shapes without memory
        network = models.build(of.model, len(of.modalities), channels, of.patch_size, **of.options)
    return models.parameters(network)


def named(cell: tuple[str, str]) -> str:
    """``V-Net under pipeline A``."""
    return " under pipeline ".join(cell)


def _pipeline(of: Experiment) -> dict[str, str]:
    drawn = f"{of.batches} batches of cases at random" if of.batches else f"{of.crops} x every case"
    simple = f"each axis mirrored with p = {of.flips:g}" + (
        f", intensities by {of.intensity:g}" if of.intensity else ""
    )
    whole = [name for name in TRANSFORMS if name not in of.without]
    return {
        "grid (mm)": sizes(of.spacing, 2) if of.spacing else "each case's own",
        "resampling": of.resampling,
        "normalisation": of.normalisation,
        "patch (z, y, x)": sizes(of.patch_size),
        "patches a step": str(of.batch_size),
        "patches that must hold foreground": {"none": "none"}.get(of.foreground, "more than a third"),
        "augmentation": simple if of.augmentation == "simple" else ", ".join(whole),
        "classes": "nested regions" if of.regions == "brats" else "exclusive labels",
        "output": "softmax, with the background" if of.softmax else "a sigmoid for each",
        "loss": LOSSES[of.loss],
        "penalty": f"{of.l2:g} x sum of squared kernels" if of.l2 else "none",
        "peak learning rate": f"{of.learning_rate:g}",
        "course of the rate": of.schedule.replace("_", " ") + (f", {of.warmup} epochs of warm-up" if of.warmup else ""),
        "an epoch": drawn,
        "epochs": str(of.epochs),
        "tiles of inference": sizes(of.tile),
        "inference": "averaged over mirrorings" if of.mirrored_inference else "once",
    }


def _described(effects: pd.DataFrame) -> str:
    return "Differences in mean Dice. " + "; ".join(f"{label}: {of}" for label, of in effects.difference.items())
