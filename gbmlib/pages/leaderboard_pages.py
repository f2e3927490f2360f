"""What the chapters show of a leaderboard: the table, the choice in words, and what a switch changes.

A notebook displays it: ``display(*compared(groups))``. Groups are label -> records, the labels those of the paper's
table 2: "2D", "3D", "low resolution", "cascade", and pairs such as "2D + 3D".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gbmlib.analysis import family, leaderboard, paired
from gbmlib.analysis.intervals import Interval, mean_interval
from gbmlib.analysis.leaderboard import Choice, Leaderboard, SelectionError
from gbmlib.analysis.scores import Groups
from gbmlib.files import counted
from gbmlib.pages import plots, provenance, tables, text
from gbmlib.pages.text import Prose
from gbmlib.study import catalogue
from gbmlib.study.catalogue import Runs
from gbmlib.study.records import Record, Store
from gbmlib.viewer import colours

ROW_HEIGHT = 26  # pixels


def compared(
    groups: Groups,
    candidates: Iterable[str] | None = None,
    classes: Sequence[str] | None = None,
    folds: Iterable[int] | None = None,
    decides: bool = True,
) -> list[Any]:
    """Groups as a leaderboard: a line of where they come from, table, choice in words and as figure, what is left out.

    Args:
        candidates, classes, folds: as in ``analysis.leaderboard.read`` and ``analysis.leaderboard.choose``.
        decides: whether the choice is worded. Runs on phantoms decide nothing.
    """
    records = [record for of in groups.values() for record in of]
    if not records:
        return [text.NOTHING_YET]
    board = leaderboard.read(groups, classes, folds)
    if all(row.problems for row in board.values()):
        return [about(records), Prose("*No row is complete yet, so there is no leaderboard.*"), *left_out(board)]
    shown = [about(records), leaderboard.table(board), *left_out(board)]
    try:
        choice = leaderboard.choose(board, candidates)
    except SelectionError as error:
        return [*shown, Prose(f"*{str(error)[0].upper()}{str(error)[1:]}.*")]
    if not decides:
        word = f"By the rule **{choice.label}** would be chosen. This cohort is for trying the machinery, and decides"
        figure = [standings(choice)] if len(choice.others) else []
        return [*shown, Prose(f"{word} nothing."), *figure]
    shown.append(Prose(in_words(choice)))
    if choice.others.empty:
        return shown
    table = choice.others[["Dice"]].join(tables.decided(choice.others, f"{choice.label} minus it"))
    others = choice.others.rename(index=lambda label: f"{choice.label} against {label}")
    said = f"Mean Dice over classes, and {choice.label} minus the others. {text.findings(others)}"
    table["candidate"] = choice.others.candidate.map({True: "yes", False: "no"})
    return [*shown, table, standings(choice, said), text.caption(said)]


def all_published(
    wanted: Callable[[str], Runs],
    store: Store,
    name: str,
    candidates: Iterable[str] | None = None,
) -> list[Any]:
    """:func:`compared` at the scale that is shown, or how to make its records.

    What a scale asks for and has no record yet keeps its row. ``name`` is that of the family in the catalogue.
    """
    shown = []
    for profile, groups in catalogue.published(wanted, store).items():
        shown += compared({label: groups.get(label, []) for label in wanted(profile)}, candidates)
    return shown or [provenance.absent(name)]


def learned(records: Sequence[Record]) -> Prose:
    """In how many folds the single-component rule was learned for each class, of records of ensembles that have it."""
    records = [record for record in records if getattr(record.experiment, "single_components", False)]
    if not records:
        return Prose("*No record with the single-component rule yet.*")
    names = leaderboard.classes_of(records[0])
    found = dict.fromkeys(names, 0)
    for record in records:
        # Records from before labels were kept are of cohorts that count theirs from 1.
        labels = record.provenance.get("labels") or {str(value): name for value, name in enumerate(names, 1)}
        for value in record.provenance["single_components"]:
            found[labels[str(value)]] += 1
    said = ", ".join(f"{name} in {count} of {counted(len(records), 'fold')}" for name, count in found.items())
    return Prose(f"Of the training labels each of these is a single component: {said}.")


def about(records: Sequence[Record]) -> Prose:
    """Where the rows of a leaderboard come from, in a line of Markdown."""
    of = [record.experiment for record in records]
    trained = {record.id for record in records if not hasattr(record.experiment, "members")}
    others = len({record.id for record in records}) - len(trained)
    words = [counted(len(trained), "trained network")]
    if others:
        words.append(f"{counted(others, 'prediction')} made of them by averaging, mirroring or post-processing")
    counts = [counted(len({getattr(one, name) for one in of}), name) for name in ("fold", "seed")]
    return Prose(
        f"**{provenance.cohorts(records)}**: {' and '.join(words)}; {counts[0]} of {of[0].folds}, {counts[1]}; "
        f"{provenance.cost(records)}."
    )


def standings(choice: Choice, description: str = "") -> Any:
    """Mean Dice of every row, the chosen one (a star) first, and below how far the others are behind it.

    Bars are intervals over cases; hollow points are no candidates; the margin within which a difference does not matter
    is shaded. Differences are paired by case, so their intervals are the ones to decide by; their colour says what is
    decided.
    """
    others = choice.others
    dices = {choice.label: choice.level} | dict(others["Dice"])
    symbols = ["star"] + ["circle" if candidate else "circle-open" for candidate in others.candidate]
    heights = [len(dices), max(1, len(others))]
    titles = ("mean Dice over classes", f"{choice.label} minus the others")
    figure = make_subplots(2, 1, row_heights=heights, vertical_spacing=0.2, subplot_titles=titles)
    figure.add_trace(_points(dices, symbols, [colours.BLUE] * len(dices)), 1, 1)
    behind = _points(dict(others["difference"]), symbols[1:], [plots.DECIDED[word] for word in others.decided])
    behind.text = [f"{row.decided}: {text.evidence(row)}" for _, row in others.iterrows()]
    figure.add_trace(behind, 2, 1)
    margin = others.margin.max() if len(others) else 0
    plots.shade_margin(figure, margin, row=2, col=1)
    figure.update_yaxes(autorange="reversed", tickson="boundaries")
    levels = "; ".join(f"{label}: {dice}" for label, dice in dices.items())
    description = description or f"Mean Dice over classes, the chosen network first. {levels}"
    return plots.finish(figure, description, 170 + ROW_HEIGHT * sum(heights), None, l=20, t=40, b=30)


def _points(intervals: dict[str, Interval], symbols: list[str], colour: list[str]) -> go.Scatter:
    sizes = [15 if symbol == "star" else 10 for symbol in symbols]
    marker, hover = {"color": colour, "size": sizes, "symbol": symbols}, "%{y}: %{text}<extra></extra>"
    # Bars of one trace have one colour.
    style = {"bar_colour": colours.GREY, "marker": marker, "hovertemplate": hover}
    return plots.means(list(intervals), list(intervals.values()), "x", **style)


def in_words(choice: Choice) -> str:
    """The choice, how sure it is, and how much picking the best flatters it, as Markdown."""
    rivals = choice.others[choice.others.candidate]
    if rivals.empty:
        return f"**{choice.label}** is the only candidate that can be compared: {choice.level}."
    next_best, row = rivals.index[0], rivals.iloc[0]
    lines = [
        f"**{choice.label}** is chosen: {choice.level} against {row.Dice} of {next_best}, the next best: "
        f"{text.word(row)}; {text.evidence(row)}."
    ]
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
    return " ".join(lines)


def left_out(board: Leaderboard) -> list[Prose]:
    """The rows that cannot be compared, each with all that is wrong; empty where there are none."""
    lines = [f"- **{label}** {'; '.join(row.problems)}." for label, row in board.items() if row.problems]
    return [Prose("Left out, as it could not be compared:\n\n" + "\n".join(lines))] if lines else []


def switched(
    without: Groups, switched_on: Groups, name: str, classes: Sequence[str] | None = None, decides: bool = True
) -> list[Any]:
    """What one switch (mirroring, the single-component rule) changes in each network: a table, and what it decides.

    Args:
        without, switched_on: the same labels without and with it; labels that only one of them has are passed over.
        name: of the switch, such as "mirroring".
    """
    rows, found, lines = {}, {}, []
    for label in [label for label in without if without[label] and switched_on.get(label)]:
        pair = leaderboard.read({"off": without[label], "on": switched_on[label]}, classes)
        if problems := [f"{which}: {'; '.join(row.problems)}" for which, row in pair.items() if row.problems]:
            lines.append(f"- **{label}** cannot be compared ({'; '.join(problems)}).")
            continue
        off, on = (pair[which].merit for which in ("off", "on"))
        found[label] = paired.compare(pair["off"].records, pair["on"].records, regions=list(pair["on"].dices))
        touched = (pair["on"].dices - pair["off"].dices).ne(0).any(axis=1).sum()
        rows[label] = {f"without {name}": mean_interval(off), f"with {name}": mean_interval(on)}
        rows[label] |= {"cases": len(off), "cases that change": int(touched)}
    if not rows and not lines:
        return [Prose(f"*No network has records with and without {name} yet.*")]
    table = family.table(found)
    if decides and rows:
        lines = text.verdict(table).splitlines() + lines
    shown = tables.decided(table) if decides else table[["difference"]]
    both = [pd.DataFrame.from_dict(rows, orient="index")] if rows else []
    both = [levels.iloc[:, :2].join(shown).join(levels.iloc[:, 2:]) for levels in both]
    return [*both, *([Prose(f"What {name} changes:\n\n" + "\n".join(lines))] if lines else [])]
