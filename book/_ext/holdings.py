"""What the published records hold and what they cost, for the page on what was not reproduced.

Text is Markdown as the book's pages are written in; ``book/_ext/honesty.py`` puts it into them when the book is built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gbmlib.files import counted, markdown_table, millimetres
from gbmlib.study import catalogue, scales
from gbmlib.study.catalogue import SETS, Runs, command, runs_of
from gbmlib.study.records import HELD_OUT, Record, Store, steps_of
from gbmlib.training.configuration import Experiment

# ------------------------------------------------------------------------------------------------------- in a sentence


#: The names that :func:`facts` has.
FACTS = ("runs", "gliomas", "steps", "grids", "hours", "cards", "seeds")


def facts(records: Sequence[Record]) -> dict[str, str]:
    """What prose says of all published records, by name (:data:`FACTS`), in words."""
    trained = catalogue.trained(records)
    if not trained:
        return dict.fromkeys(FACTS, "none yet")
    cases = {record.experiment.cohort: record.provenance["cases"] for record in trained}
    made = [steps_of(record) for record in trained]
    grids = Counter(_grid(record.experiment) for record in trained)
    on_card = sum(1 for record in trained if record.on_graphics_card)
    gliomas = [count for cohort, count in cases.items() if cohort.startswith("brats")]
    return {
        "runs": str(len(records)),
        "gliomas": str(max(gliomas, default=0)),
        "steps": f"{min(made):,} to {max(made):,}",
        "grids": ", ".join(f"{count} on {grid}" for grid, count in grids.most_common()),
        "hours": f"{sum(record.provenance['seconds'] for record in trained) / 3600:.3g}",
        "cards": f"{on_card} of {len(trained)}" if on_card else "none",
        "seeds": str(max(Counter(record.experiment.changed(seed=0).id for record in trained).values())),
    }


def _grid(of: Experiment) -> str:
    return "the cases' own grid" if of.spacing is None else millimetres(of.spacing)


# ---------------------------------------------------------------------------------------------------------- in a table


def markdown(store: Store, pages: Mapping[str, str], names: Iterable[str] = tuple(SETS)) -> str:
    """What each family or set of the catalogue holds and cost, as a table, and the commands that make what it lacks.

    Args:
        pages: a link in Markdown to each chapter, by its name, the text left open as ``{}``.
    """
    lines, lacking = [], []
    for name in names:
        family = SETS[name][0]
        if not family.title:
            continue
        link = pages[family.chapter].format(family.title)
        found = {scale: _records(runs_of(name, scale), store) for scale in scales.PUBLISHED}
        lines += [(link, *_held(scale, there, wanted)) for scale, (there, wanted) in found.items() if there]
        there, wanted = found[scales.DEFAULT]
        if wanted and not any(records for records, _ in found.values()):
            lines.append((link, scales.DEFAULT, f"0 of {wanted}", *[""] * 5))
        if len(there) < wanted:
            lacking.append(f"- {family.title}, {counted(wanted - len(there), 'run')}: `{command(name)}`")
    head = ("runs of", "scale", "published", "cases held out", "folds", "seeds", "steps of a run", "minutes")
    text = markdown_table(head, lines) + "\n\nRuns that several chapters show are counted in each of them."
    if lacking:
        text += " What is not there yet is made by\n\n" + "\n".join(lacking)
    return text


def _records(of: Runs, store: Store) -> tuple[list[Record], int]:
    """The records of some runs, and how many runs there are."""
    wanted = {run.id: run for runs in of.values() for run in runs}
    return [record for run in wanted.values() if (record := store.get(run))], len(wanted)


def _held(scale: str, records: Sequence[Record], wanted: int) -> tuple[str, ...]:
    """What a line of the table says of a group's records at a scale."""
    of = [record.experiment for record in records]
    held_out = {
        (record.experiment.cohort, case)
        for record in records
        for case in record.cases.case[record.cases.split == HELD_OUT]
    }
    counts = [steps_of(record) for record in catalogue.trained(records)]
    return (
        scale,
        f"{len(records)} of {wanted}",
        str(len(held_out)),
        f"{len({one.fold for one in of})} of {max(one.folds for one in of)}",
        str(len({one.seed for one in of})),
        " to ".join(dict.fromkeys((f"{min(counts):,}", f"{max(counts):,}"))) if counts else "",
        f"{sum(record.provenance['seconds'] for record in records) / 60:.0f}",
    )
