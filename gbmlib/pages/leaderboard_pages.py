"""What the chapters show of a leaderboard: the table, the choice in words, what a switch changes, and published marks.

A notebook displays it: ``display(*compared(groups)[0])``. Groups are label -> records, the labels those of the paper's
table 2: "2D", "3D", "low resolution", "cascade", and pairs such as "2D + 3D".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from gbmlib.analysis import family, leaderboard, paired, published
from gbmlib.analysis.intervals import mean_interval
from gbmlib.analysis.leaderboard import Choice, Leaderboard, SelectionError
from gbmlib.analysis.scores import Groups
from gbmlib.files import counted
from gbmlib.pages import plots, provenance, tables, text
from gbmlib.pages.text import Prose
from gbmlib.planner.table_1 import tasks
from gbmlib.study.cross_validation import LOW_RESOLUTION
from gbmlib.study.records import TRAIN, Record
from gbmlib.viewer import colours

PAPER, SECOND = "Isensee et al. 2018", "nnU-Net v2"

#: Hundredths of Dice: nearer than this to a printed mean counts as having reached it.
POINTS = 0.5

#: Of the cross-validation behind nnU-Net v2's marks, as behind table 2.
FOLDS = 5

#: A line a case is read up to so many cases; beyond, a cloud of points.
LINES = 40


def compared(
    groups: Groups, classes: Sequence[str] | None = None, folds: Iterable[int] | None = None, decides: bool = True
) -> tuple[list[Any], list[Any]]:
    """Groups as a leaderboard: what it chooses, in words and as a figure with its caption; and what that rests on.

    The latter is a line of where the rows come from, their table, what is left out, and the choice's evidence.

    Args:
        classes, folds: as in ``analysis.leaderboard.read``.
        decides: whether the choice is worded. Runs on phantoms decide nothing.
    """
    records = [record for group in groups.values() for record in group]
    if not records:
        return [text.NOTHING_YET], []
    board = leaderboard.read(groups, classes, folds)
    if all(row.problems for row in board.values()):
        return [Prose("*No row is complete yet, so there is no leaderboard.*")], [about(records), *left_out(board)]
    rests_on = [about(records), leaderboard.table(board), *left_out(board)]
    try:
        choice = leaderboard.choose(board)
    except SelectionError as error:
        return [Prose(f"*{str(error)[0].upper()}{str(error)[1:]}.*")], rests_on
    if not decides:
        word = f"By the rule **{choice.label}** would be chosen. This cohort is for trying the machinery, and decides"
        return [Prose(f"{word} nothing."), *([plots.standings(choice)] if len(choice.others) else [])], rests_on
    words = Prose(in_words(choice))
    if choice.others.empty:
        return [words], rests_on
    table = choice.others[["Dice"]].join(tables.decided(choice.others, f"{choice.label} minus it"))
    table["candidate"] = choice.others.candidate.map({True: "yes", False: "no"})
    shows = f"Mean Dice over classes, and {choice.label} minus the others"
    others = choice.others.rename(index=lambda label: f"{choice.label} against {label}")
    figure = plots.standings(choice, f"{shows}. {text.findings(others)}")
    read = f"{shows}, paired by case. Star: chosen; hollow: no candidate; green: higher; blue: equal; grey: undecided."
    return [words, figure, text.caption(read)], [*rests_on, how_sure(choice), table]


def learned(records: Sequence[Record]) -> Prose:
    """In how many folds the single-component rule was learned for each class, of records of ensembles that have it."""
    records = [record for record in records if getattr(record.experiment, "single_components", False)]
    if not records:
        return Prose("*No record with the single-component rule yet.*")
    names = leaderboard.classes_of(records[0])
    counts = dict.fromkeys(names, 0)
    for record in records:
        # Records from before labels were kept are of cohorts that count theirs from 1.
        labels = record.provenance.get("labels") or {str(value): name for value, name in enumerate(names, 1)}
        for value in record.provenance["single_components"]:
            counts[labels[str(value)]] += 1
    listed = ", ".join(f"{name} in {count} of {counted(len(records), 'fold')}" for name, count in counts.items())
    return Prose(f"Of the training labels each of these is a single component: {listed}.")


def about(records: Sequence[Record]) -> Prose:
    """Where the rows of a leaderboard come from, in a line of Markdown."""
    experiments = [record.experiment for record in records]
    trained = {record.id for record in records if not hasattr(record.experiment, "members")}
    others = len({record.id for record in records}) - len(trained)
    words = [counted(len(trained), "trained network")]
    if others:
        words.append(f"{counted(others, 'prediction')} made of them by averaging, mirroring or post-processing")
    counts = [counted(len({getattr(one, name) for one in experiments}), name) for name in ("fold", "seed")]
    return Prose(
        f"**{provenance.cohorts(records)}**: {' and '.join(words)}; {counts[0]} of {experiments[0].folds}, "
        f"{counts[1]}; {provenance.cost(records)}."
    )


def in_words(choice: Choice) -> str:
    """The choice and its lead over the next best candidate, as Markdown."""
    rivals = choice.others[choice.others.candidate]
    if rivals.empty:
        return f"**{choice.label}** is the only candidate that can be compared: {choice.level}."
    next_best, row = rivals.index[0], rivals.iloc[0]
    return (
        f"**{choice.label}** is chosen: {choice.level} against {row.Dice} of {next_best}, the next best. The "
        f"difference, {row.difference} on {counted(row.cases, 'case')}: {text.word(row)}{text.because(row)}."
    )


def how_sure(choice: Choice) -> Prose:
    """The evidence for the lead, how often another draw of cases would choose otherwise, and how much picking the best
    flatters it, as Markdown."""
    rivals = choice.others[choice.others.candidate]
    lines = [f"{choice.label} minus {label}: {text.evidence(row)}." for label, row in rivals[:1].iterrows()]
    if choice.tied:
        lines.append(
            f"{' and '.join(choice.tied)} reached the same mean; ties go to fewer networks, then to the order of rows."
        )
    shares = ", ".join(f"{label} {share:.0%}" for label, share in choice.shares.items() if share >= 0.005)
    lines.append(f"With the cases drawn again (bootstrap), the choice falls on: {shares}.")
    if choice.elsewhere is not None:
        lines.append(
            f"The best of several is flattered by the cases that it was picked on. Where each fold is left to what the "
            f"other folds choose, the mean is {choice.elsewhere}."
        )
    return Prose(" ".join(lines))


def left_out(board: Leaderboard) -> list[Prose]:
    """The rows that cannot be compared, each with all that is wrong; empty where there are none."""
    lines = [f"- **{label}** {'; '.join(row.problems)}." for label, row in board.items() if row.problems]
    return [Prose("Left out, as it could not be compared:\n\n" + "\n".join(lines))] if lines else []


def switched(
    without: Groups, switched_on: Groups, name: str, folds: Iterable[int] | None = None, decides: bool = True
) -> list[Any]:
    """What one switch (mirroring, the single-component rule) changes in each network: where it ``decides``, what was
    found, in a sentence; a table; and what that decides.

    Args:
        without, switched_on: the same labels without and with it; labels that only one of them has are passed over.
        name: of the switch, such as "mirroring".
        folds: as in ``analysis.leaderboard.read``.
    """
    rows, comparisons, lines = {}, {}, []
    for label in [label for label in without if without[label] and switched_on.get(label)]:
        pair = leaderboard.read({"off": without[label], "on": switched_on[label]}, folds=folds)
        if problems := [f"{which}: {'; '.join(row.problems)}" for which, row in pair.items() if row.problems]:
            lines.append(f"- **{label}** cannot be compared ({'; '.join(problems)}).")
            continue
        off, on = (pair[which].merit for which in ("off", "on"))
        comparisons[label] = paired.compare(pair["off"].records, pair["on"].records, regions=list(pair["on"].dices))
        touched = (pair["on"].dices - pair["off"].dices).ne(0).any(axis=1).sum()
        rows[label] = {f"without {name}": mean_interval(off), f"with {name}": mean_interval(on)}
        rows[label] |= {"cases": len(off), "cases that change": int(touched)}
    if not rows and not lines:
        return [Prose(f"*No network has records with and without {name} yet.*")]
    shown, table = [], family.table(comparisons)
    if rows:
        lines = text.verdict(table).splitlines() + lines if decides else lines
        levels, change = pd.DataFrame.from_dict(rows, orient="index"), table[["difference"]]
        change = tables.decided(table) if decides else change
        in_short = [Prose(text.findings(table))] if decides else []
        shown = [*in_short, levels.iloc[:, :2].join(change).join(levels.iloc[:, 2:])]
    return shown + [Prose(f"What {name} changes:\n\n" + "\n".join(lines))] * bool(lines)


# ------------------------------------------------------------------------------------------------ published marks


def beside_paper(groups: Groups, task: str) -> list[Any]:
    """Our rows beside table 2 of the paper, how far they are apart, and what the paper's rule makes of its own rows.

    The two are means over different runs and, for gliomas, different cases: the differences are not paired.

    Args:
        task: of the Decathlon, a key of ``analysis.published.MARKS``.

    Raises:
        ValueError: the paper has other classes for this task.
    """
    theirs = published.table_2(task)
    board = leaderboard.read(groups) if any(groups.values()) else {}
    classes = list(theirs)
    measured = list(next(iter(board.values())).dices) if board else classes
    if set(measured) != set(classes):
        raise ValueError(f"table 2 has {', '.join(classes)} for {task}, ours are {', '.join(measured)}")
    cases, rows, lines = tasks()[task].cases, {}, []
    for label in [*board, *(label for label in theirs.index if label not in board)]:
        ours = board[label].dices[classes] if label in board and not board[label].problems else None
        printed = theirs.loc[label] if label in theirs.index else None
        if ours is not None:
            rows[f"{label}, ours"] = tables.levels(ours)
        if printed is not None:
            rows[f"{label}, {PAPER}"] = tables.printed(printed, cases) | {"mean": f"{printed.mean():.5f}"}
        if ours is not None and printed is not None:
            lines.append(f"- **{label}**: {_apart(100 * (ours.mean() - printed))}.")
    shown = [pd.DataFrame.from_dict(rows, orient="index")]
    if lines:
        shown.append(Prose("Ours minus the paper's, in hundredths of Dice:\n\n" + "\n".join(lines)))
    return [*shown, Prose(_their_choice(theirs))]


def _apart(gaps: pd.Series) -> str:
    """Differences in hundredths of Dice, and whether all are small."""
    listed = ", ".join(f"{name} {gap:+.2f}" for name, gap in gaps.items())
    return f"{listed}; {'within' if gaps.abs().max() <= POINTS else 'not within'} {POINTS:g} of it in every class"


def _their_choice(theirs: pd.DataFrame) -> str:
    """What the rule of section 2.6 makes of printed means."""
    allowed = [label for label in theirs.index if LOW_RESOLUTION not in label]
    means = theirs.loc[allowed].mean(axis=1).sort_values(ascending=False, kind="stable")
    against = "".join(f", against {mean:.5f} of {label}" for label, mean in means.iloc[1:].items())
    return f"Of the paper's own rows its rule takes **{means.index[0]}**: {means.iloc[0]:.5f}{against}."


# ------------------------------------------------------------------------------------------------ nnU-Net v2, by case


def beside_second(groups: Groups, task: str, labels: Sequence[str] | None = None) -> list[Any]:
    """Our networks beside nnU-Net v2's 3D one on the same cases, paired: what it was trained on, means, differences,
    and a figure of the cases for the first label.

    Args:
        task: as in :func:`beside_paper`.
        labels: which rows; by default all. Those that cannot be compared are passed over.

    Raises:
        ValueError: cases or classes that the published marks lack; names them.
    """
    if not any(groups.values()):
        return [text.NOTHING_YET]
    board = leaderboard.read(groups)
    labels = [label for label in labels or board if label in board and not board[label].problems]
    if not labels:
        return left_out(board) or [text.NOTHING_YET]
    theirs, known = published.marks(task)
    first = board[labels[0]].dices
    lacking = [*first.index.difference(theirs.index), *first.columns.difference(theirs.columns)]
    if lacking:
        raise ValueError(f"the published Dice of {SECOND} for {task} lacks {', '.join(lacking)}")
    theirs, known = theirs.loc[first.index, list(first)], known.loc[first.index]
    levels = {f"3D, {SECOND}, the same cases": tables.levels(theirs)}
    levels |= {f"{label}, ours": tables.levels(board[label].dices) for label in labels}
    row = board[labels[0]]
    differences = published.differences({label: board[label].records for label in labels}, theirs)
    description = f"Dice of each case, {labels[0]} of this study beside {SECOND}. {text.findings(differences[:1])}"
    if len(row.dices) > LINES:
        figure = plots.case_by_case({labels[0]: row.dices}, theirs, SECOND, description)
    else:
        marks = {SECOND: (colours.GREY, "circle"), f"{labels[0]}, ours": (colours.BLUE, "diamond")}
        dice = pd.DataFrame(dict(zip(marks, (theirs.mean(axis=1), row.merit), strict=True)))
        furthest_behind_first = row.merit.sub(dice[SECOND]).sort_values().index
        figure = plots.dumbbells(dice.loc[furthest_behind_first], marks, description)
    return [
        _trained_on(groups, task, known, row.fold_of),
        pd.DataFrame.from_dict(levels, orient="index"),
        Prose(f"**Ours minus {SECOND}**, paired by case:"),
        differences[list(theirs)].join(tables.decided(differences, "mean")).assign(cases=differences.cases),
        figure,
        text.caption(description),
    ]


def _trained_on(groups: Groups, task: str, known: pd.DataFrame, fold_of: Mapping[str, int]) -> Prose:
    """What the marks' networks were trained on, and ours."""
    others = round(tasks()[task].cases * (1 - 1 / FOLDS))
    cases = [record.cases for group in groups.values() for record in group]
    ours = sorted({count for table in cases if (count := table.case[table.split == TRAIN].nunique())})
    sentence = f"The {SECOND} that held out these cases was trained on about {others} others"
    sentence += f", ours on {' or '.join(map(str, ours))}." if ours else "."
    if all(known.fold[case] == fold for case, fold in fold_of.items()):
        sentence += " The folds are the same."
    if "twin" in known:
        for case, mark in known[known.twin.notna() & (known.twin_fold != known.fold)].iterrows():
            sentence += (
                f" Case {case} ({mark.decathlon} in the Decathlon) is the same patient as {mark.twin}, which was among "
                "them: its Dice is flattered."
            )
    return Prose(sentence)
