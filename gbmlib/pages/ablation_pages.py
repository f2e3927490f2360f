"""What the chapters on ablations show of a comparison, the same for each: where from, table, verdict, curves.

A notebook displays it: ``display(*compared(groups))``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from gbmlib import models
from gbmlib.analysis import family, scores, soundness
from gbmlib.analysis.intervals import mean_interval
from gbmlib.analysis.scores import GAP, Groups
from gbmlib.files import counted, minutes
from gbmlib.pages import ablation_figures, wording
from gbmlib.study import catalogue, scales
from gbmlib.study.records import Record, Store


class Prose(str):
    """Markdown that a notebook shows as such."""

    def _repr_markdown_(self) -> str:
        return str(self)


def compared(groups: Groups, wanted: Iterable[str] = (), decides: bool = True) -> list[Any]:
    """Groups side by side: a line of where they come from, a table, what it decides, the curves and their caption.

    Args:
        wanted: labels of what was asked for, the one that others are compared with first; those without a record are
            named.
        decides: whether a verdict is worded. Runs on phantoms give none.
    """
    shown = [about([record for records in groups.values() for record in records])]
    wanted = list(wanted) or list(groups)
    missing = [label for label in wanted if label not in groups]
    if missing:
        shown.append(Prose(f"*Without a record, as it was not run or did not converge: {'; '.join(missing)}.*"))
    # The first group is what the others are compared with. Without it there is nothing to subtract.
    has_base = wanted[0] in groups
    shown.append(ablation_table(groups, decides) if has_base else scores.levels(groups).to_frame("Dice"))
    said = f"Dice and loss over epochs: {', '.join(groups)}."
    if not decides:
        return [*shown, ablation_figures.compare_curves(groups, said)]
    if has_base and len(groups) > 1:
        found = family.contrasts(groups)
        shown.append(Prose(wording.verdict(found)))
        said = f"Dice and loss over epochs. On held-out cases at the end: {wording.findings(found)}"
    return [*shown, *collapsed(groups), ablation_figures.compare_curves(groups, said), caption(said)]


def ablation_table(groups: Groups, decides: bool = True, against: str = "first") -> pd.DataFrame:
    """One row a group: held-out Dice (mean over regions), its difference to the first group, each region, and cost.

    Groups that ran on fewer folds have other cases in their means; the difference is on shared folds alone. Intervals
    of means are over cases, those of differences over cases and seeds.

    Args:
        decides: whether p, effect size and what they decide are shown. Runs on phantoms decide nothing.
        against: as in ``analysis.family.contrasts``.
    """
    changes, rows, regions = family.contrasts(groups, against), {}, scores.common_regions(groups)
    shown = wording.shown(changes) if decides else changes[["difference"]]
    for label, records in groups.items():
        dice = scores.by_case(records, metric=scores.dice_of(groups), regions=regions)
        others = {name: scores.by_case(records, metric=name, regions=regions) for name in ("precision", "recall")}
        seconds = sum(record.provenance["seconds"] for record in records) / len(records)
        rows[label] = {
            "Dice": mean_interval(dice.mean(axis=1, skipna=False)),
            **(dict(shown.loc[label]) if label in shown.index else {}),
            **{region: mean_interval(values) for region, values in dice.items()},
            **{name: mean_interval(table.mean(axis=1, skipna=False)) for name, table in others.items()},
            "cases": len(dice),
            "runs": len(records),
            "parameters (million)": round(records[0].provenance["parameters"] / 1e6, 2),
            "minutes a run": round(seconds / 60, 1),
        }
    columns = list(dict.fromkeys(["Dice", *shown, *(name for row in rows.values() for name in row)]))
    return pd.DataFrame([{name: row.get(name, "") for name in columns} for row in rows.values()], index=list(rows))


def caption(text: str) -> Prose:
    """What stands below a figure: what it shows, and what was found."""
    return Prose(f"*{text}*")


def collapsed(groups: Groups) -> list[Prose]:
    """A warning of networks with a channel that never learned (``analysis.soundness``); empty if there are none."""
    lines = []
    for label, records in groups.items():
        where: dict[str, list[str]] = {}
        for record in soundness.networks(records):
            for region in soundness.dead_regions(record):
                where.setdefault(region, []).append(f"fold {record.experiment.fold}, seed {record.experiment.seed}")
        lines += [f"- **{label}**: {region} in {'; '.join(runs)}" for region, runs in where.items()]
    if not lines:
        return []
    return [
        Prose(
            "Collapsed, with a channel that never learned:\n\n" + "\n".join(lines) + "\n\nAn output that marks "
            "everything or nothing gets almost no gradient from the Dice loss and never recovers. Whether it comes to "
            "that depends on the first weights. A difference between such networks says nothing of the change under "
            "test, so nothing is decided."
        )
    ]


def memorised(groups: Groups, decides: bool = True) -> list[Any]:
    """The gap between cases trained on and cases held out (``analysis.family.gaps``), and what it decides."""
    table, found = family.gaps(groups), family.contrasts(groups, split=GAP)
    name = f"gap less that of “{table.index[0]}”"
    if not decides or found.empty:
        return [table.join(found[["difference"]].rename(columns={"difference": name})).fillna("")]
    words = {"higher": "a larger gap", "lower": "a smaller gap"}
    return [table.join(wording.shown(found, name)).fillna(""), Prose(wording.verdict(found, words))]


def all_published(name: str, store: Store, shown: Callable[..., list[Any]] = compared) -> list[Any]:
    """A family of the catalogue at the scale that is shown, or how to make its runs.

    Args:
        shown: what shows groups of records, given the labels of all that are wanted.
    """
    found = catalogue.published(name, store)
    parts = [part for scale, groups in found.items() for part in shown(groups, list(catalogue.runs_of(name, scale)))]
    return parts or [absent(name)]


def choice(name: str, store: Store, shown: Callable[..., list[Any]] = compared) -> list[Any]:
    """A family of single choices, ``choices/kernel``: what the paper says of it, and what the records say."""
    asked = catalogue.FAMILIES[name].comparison
    said = Prose(f"**{asked.question}** The paper: {asked.claim} ({asked.place})")
    return [said, *all_published(name, store, shown)]


def all_choices(
    name: str, store: Store, profile: str | None = None, select: Callable[[Groups], Groups] = dict
) -> pd.DataFrame:
    """``analysis.family.contrasts`` of every choice of a set that has records, one below the other; the columns
    alone where none has. Each choice is a family of its own, as in its own section.

    Args:
        profile: a scale; None for that which is shown of all choices together.
        select: what makes of the records of a choice those that are compared.
    """
    profile = profile or catalogue.shown_scale(name, store)
    tables = [family.contrasts({})]
    for question in catalogue.SETS[name]:
        wanted = catalogue.runs_of(question.name, profile)
        groups = catalogue.records_of(wanted, store)
        if next(iter(wanted)) in groups:
            tables.append(family.contrasts(select(groups)))
    return pd.concat([table for table in tables if len(table)] or tables)


def overview(table: pd.DataFrame) -> list[Any]:
    """Many comparisons at a glance (:func:`all_choices`): the figure, and what was found."""
    said = f"Change in mean Dice of every variant against the paper's network. {wording.findings(table)}"
    return [ablation_figures.forest(table, description=said), caption(said)]


def ladder(groups: Groups) -> list[Any]:
    """Changes that are turned on one after another: the figure of levels and steps, and what was found."""
    steps = family.contrasts(groups, against="previous")
    said = f"Mean Dice of held-out cases, rung by rung: {', '.join(groups)}. Steps: {wording.findings(steps)}"
    return [ablation_figures.waterfall(groups, said), caption(said)]


def about(records: Sequence[Record]) -> Prose:
    """Where runs come from and how they were made, in a line of Markdown."""
    of, made = [record.experiment for record in records], [record.provenance for record in records]
    spacing = " x ".join(f"{mm:g}" for mm in of[0].spacing) + " mm" if of[0].spacing else "each case's own spacing"
    folds, seeds, epochs = ({getattr(one, name) for one in of} for name in ("fold", "seed", "epochs"))
    length = counted(" or ".join(map(str, sorted(epochs))), "epoch")
    return Prose(
        f"**{', '.join(sorted({one.cohort for one in of}))}** at {spacing}, {made[0]['cases']} cases; "
        f"{counted(len(records), 'run')} on {counted(len(folds), 'fold')} of {of[0].folds} with "
        f"{counted(len(seeds), 'seed')}, {length}; {minutes(sum(one['seconds'] for one in made))} minutes in all "
        f"on {', '.join(sorted({one['device'] for one in made}))}."
    )


def absent(name: str) -> Prose:
    """That no record of a family of the catalogue is there, and how to make it."""
    return Prose(f"*No record of these runs is in the store yet. `{catalogue.command(name)}` makes them.*")


def two_by_two(groups: Groups, row: str, column: str) -> pd.DataFrame:
    """Held-out Dice of groups that differ in two fields of their configurations, as a table of the two."""
    of = [records[0].experiment for records in groups.values()]
    table = scores.levels(groups).set_axis([[getattr(one, name) for one in of] for name in (row, column)]).unstack()
    return table.rename_axis(index=row.replace("_", " "), columns=column.replace("_", " "))


def schedules(profiles: Sequence[str] = ("demo", "short", "study", "paper")) -> pd.DataFrame:
    """What the first paper's network is trained with at each scale, a row a scale."""
    rows = {}
    for profile in profiles:
        of = scales.paper_a(profile, folds=(0,), seeds=(0,))[0]
        rows[profile] = {
            "cohort": of.cohort,
            "spacing (mm)": f"{of.spacing[0]:g}" if of.spacing else "own",
            "patch (z, y, x)": " x ".join(map(str, of.patch_size)),
            "filters": (models.options_of("segvae") | of.options)["filters"],
            "epochs": of.epochs,
            "crops a case": of.crops,
            "peak learning rate": f"{of.learning_rate:g}",
            "warm-up (epochs)": of.warmup,
        }
    return pd.DataFrame.from_dict(rows, orient="index")
