"""What the chapters show of runs side by side: groups (label -> records), the one that others are compared with first.

A notebook displays it: ``display(*compared(groups))``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from gbmlib.analysis import family, scores, soundness
from gbmlib.analysis.intervals import NOT_YET, UNDECIDED
from gbmlib.analysis.scores import GAP, Groups
from gbmlib.cohorts import Cohort, regions
from gbmlib.files import counted
from gbmlib.pages import curves, plots, provenance, tables, text
from gbmlib.pages.text import Prose
from gbmlib.study import ablations, catalogue, scales
from gbmlib.study.records import Record, Store
from gbmlib.viewer import slice_viewer

#: What the cases of the study's cohorts are called.
CASES = {scales.SCALES[scales.DEFAULT]["cohort"]: "gliomas", ablations.HIPPOCAMPUS["cohort"]: "hippocampi"}


def compared(groups: Groups, wanted: Iterable[str] = (), decides: bool = True) -> list[Any]:
    """A line of where the groups come from, a table, what it decides, the curves and their caption.

    Args:
        wanted: labels of what was asked for, the one that others are compared with first; those without a record are
            named.
        decides: whether a verdict is worded. Runs on phantoms give none.
    """
    wanted = list(wanted) or list(groups)
    shown = [provenance.about(groups), *provenance.missing(wanted, groups)]
    # The first group is what the others are compared with. Without it there is nothing to subtract.
    has_base = wanted[0] in groups
    shown.append(tables.comparison(groups, decides) if has_base else scores.levels(groups).to_frame("Dice"))
    if not decides:
        return [*shown, curves.compared(groups, f"Dice and loss over epochs: {', '.join(groups)}.")]
    differences = family.contrasts(groups if has_base else {})
    verdict = [text.verdict(differences)] if len(differences) else []
    return [*shown, *verdict, *collapsed(groups), *over_epochs(groups, differences)]


def answer(tables_by_measure: Mapping[str, pd.DataFrame], name: str, store: Store) -> Prose:
    """The answer of a chapter: what each comparison decides, and its size. Where the runs decide nothing, also why, and
    what makes longer ones.

    Args:
        tables_by_measure: ``analysis.family.contrasts`` by what the differences are in, such as ``"Dice"``.
        name: the family or set of the catalogue that the runs are of.
    """
    lines, reasons = [], []
    for measure, table in tables_by_measure.items():
        for label, row in table.iterrows():
            word, why = text.word(row, words={}).capitalize(), text.because(row)
            if row.decided == NOT_YET:
                reasons.append(row.unsound)
                why = ""
            size = f"{row.difference}{text.inside_margin(row)} on {counted(row.cases, 'case')}"
            sentence = f"**{word}.** From *{row.against}* to *{label}*, {measure} changes by {size}{why}."
            if row.decided == UNDECIDED and row.detectable > 0:
                sentence += (
                    f" A study like this finds a difference of {row.detectable:.2f}; smaller ones need more runs."
                )
            lines.append(sentence)
    if reasons:
        lines.append(f"These runs decide nothing ({'; '.join(dict.fromkeys(reasons))}). {longer_runs(name, store)}")
    return Prose("\n\n".join(lines) or text.NOTHING_YET)


def over_epochs(groups: Groups, differences: pd.DataFrame) -> list[Any]:
    """The curves of some groups, and a caption with what they differ by in the end (``analysis.family.contrasts``)."""
    description = f"Dice and loss over epochs: {', '.join(groups)}."
    if len(differences):
        description = f"Dice and loss over epochs. On held-out cases at the end: {text.findings(differences)}"
    return [curves.compared(groups, description), text.caption(description)]


def collapsed(groups: Mapping[Any, Sequence[Record]]) -> list[Prose]:
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
    table, changes = family.gaps(groups), family.contrasts(groups, split=GAP)
    name = f"gap less that of “{table.index[0]}”"
    if not decides or changes.empty:
        return [table.join(changes[["difference"]].rename(columns={"difference": name})).fillna("")]
    words = {"higher": "a larger gap", "lower": "a smaller gap"}
    return [table.join(tables.decided(changes, name)).fillna(""), text.verdict(changes, words)]


def nested(groups: Mapping[Any, Sequence[Record]]) -> dict[Any, list[Record]]:
    """The same records with the nested regions alone, where all of them were measured there."""
    every = [record for records in groups.values() for record in records]
    if not all(set(regions.BRATS) <= set(record.cases.region) for record in every):
        return {label: list(records) for label, records in groups.items()}
    return {label: [record.of_regions(regions.BRATS) for record in records] for label, records in groups.items()}


# ------------------------------------------------------------------------------------------ many comparisons of a paper


def by_scale(name: str, store: Store) -> list[dict[str, list[Record]]]:
    """The records of a family of single choices by label, each variant at the largest scale that has all of its runs
    and of the base's, which comes first; a group of them for each such scale. Where no variant is whole, what there is
    at the scale that is shown (``catalogue.shown_scale``)."""
    shown, seen = [], set()
    for scale in scales.PUBLISHED:
        wanted = catalogue.runs_of(name, scale)
        groups = catalogue.records_of(wanted, store)
        whole = [label for label, runs in wanted.items() if len(groups.get(label, ())) == len(runs)]
        new = [label for label in whole[1:] if label not in seen]
        if new and whole[0] == next(iter(wanted)):
            shown.append({label: groups[label] for label in (whole[0], *new)})
            seen |= set(new)
    return shown or list(filter(None, [catalogue.load(name, store)]))


def contrasts_of(name: str, store: Store) -> pd.DataFrame:
    """``analysis.family.contrasts`` of every choice of a set of the catalogue that has records, one below the other;
    the columns alone where none has. Each is a family of its own, as in its own section; ``choice`` is its name, and
    ``asked_of`` the names of its cohorts."""
    differences = [family.contrasts({})]
    for choice in catalogue.SETS[name]:
        base = choice.comparison.base
        for groups in by_scale(choice.name, store):
            if base in groups:
                named = {"choice": choice.name.split("/")[-1], "asked_of": provenance.cohorts(groups[base])}
                differences.append(family.contrasts(nested(groups)).assign(**named))
    return pd.concat([table for table in differences if len(table)] or differences)


def overview(name: str, store: Store) -> tuple[list[Any], list[Any]]:
    """Every choice of a set of the catalogue at a glance.

    Returns:
        First, for each cohort that some are asked of, the one with the finest margin first: what was found, and a
        figure; how it is read, and what would decide the rest. Then, to be folded away, the figures of cohorts on which
        nothing is decided yet, unless there is no other.
    """
    differences = contrasts_of(name, store).sort_values("margin", kind="stable")
    if differences.empty:
        return [Prose(text.NOTHING_YET)], []
    shows, shown, folded = "Change in mean Dice of each variant against the paper's network", [], []
    unsound = differences.decided == NOT_YET
    for cohort, asked in differences.groupby("asked_of", sort=False):
        found, whom = text.findings(asked), f"{asked.cases.max()} {CASES.get(cohort, f'cases of {cohort}')}"
        rows = [
            label if any(word in label for word in of.split("_")) else f"{of}: {label}"
            for label, of in asked.choice.items()
        ]
        shown.append(Prose(f"On {whom}: **{found}**"))
        aside = (asked.decided == NOT_YET).all() and not unsound.all()
        (folded if aside else shown).append(plots.forest(asked.set_axis(rows), f"{shows}, {whom}. {found}"))
    read = f"{shows}, paired by case, with intervals over cases and seeds. Shaded: the margin."
    caption = text.caption(f"{read} {longer_runs(name, store)}" if unsound.any() else read)
    return [*shown, caption], folded or [Prose("*No other figure: all stand above.*")]


def longer_runs(name: str, store: Store) -> str:
    """What makes better runs of a family or set than those shown, in a sentence."""
    longest = catalogue.shown_scale(name, store) != scales.FIRST
    makes = catalogue.command(name, scales.PUBLISHED[0] if longest else scales.DEFAULT)
    return f"`{makes}` makes runs that can decide it."


def choice(name: str, store: Store) -> list[Any]:
    """A family of single choices, ``choices/kernel``: what the paper says of it, and what the records say, scale by
    scale (:func:`by_scale`), or how to make them."""
    asked = catalogue.FAMILIES[name].comparison
    sentence = Prose(f"**{asked.question}** The paper: {asked.claim} ({asked.place})")
    shown = by_scale(name, store)
    wanted = catalogue.runs_of(name, catalogue.shown_scale(name, store))
    lacking = [label for label in wanted if not any(label in groups for groups in shown)]
    labels = [[*groups, *(lacking if groups is shown[-1] else ())] for groups in shown]
    parts = [part for pair in zip(map(nested, shown), labels, strict=True) for part in compared(*pair)]
    return [sentence, *(parts or [provenance.absent(name)])]


# ------------------------------------------------------------------------------------------------------------- one case


def view(groups: Groups, cohort: Cohort, first: str | None = None, case: str | None = None) -> Any:
    """A held-out case in the viewer, of the first run of each group: a fill for ``first`` (or the first group), an
    outline for the gold standard; the others can be switched on.

    Args:
        case: its id; None for one of median Dice.
    """
    first = first or next(iter(groups))
    runs = {label: records[0] for label, records in groups.items()}
    shown = cohort.with_modalities(runs[first].experiment.modalities)[case or scores.typical_case(runs[first])]
    paths = {label: runs[label].prediction(shown.id) for label in sorted(runs, key=lambda label: label != first)}
    masks = {label: shown.read(path) for label, path in paths.items() if path is not None}
    return slice_viewer.view(shown, shown.label(), overlays=masks, names=cohort.labels)
