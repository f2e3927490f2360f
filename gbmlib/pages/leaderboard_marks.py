"""Published marks beside ours: table 2 of the paper, and nnU-Net v2 case by case.

A notebook displays it: ``display(*beside_paper(groups, "Hippocampus"))``. Groups are label -> records, the labels those
of the paper's table 2, as in ``pages.leaderboard_pages``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gbmlib.analysis import family, leaderboard, published
from gbmlib.analysis.leaderboard import Leaderboard
from gbmlib.analysis.scores import Groups
from gbmlib.cohorts import GLIOMA
from gbmlib.files import FACTS
from gbmlib.pages import plots, tables, text, unet_figures, unet_pages
from gbmlib.pages.leaderboard_pages import left_out
from gbmlib.pages.text import Prose, caption
from gbmlib.planner.table_1 import tasks
from gbmlib.study.cross_validation import LOW_RESOLUTION
from gbmlib.study.records import TRAIN, Record

PAPER, SECOND = "Isensee et al. 2018", "nnU-Net v2"

#: Hundredths of Dice: nearer than this to a printed mean counts as having reached it.
POINTS = 0.5

#: Dice of nnU-Net v2's 3D network, case by case, by task of the Decathlon.
MARKS = {"Hippocampus": "nnunet_v2_hippocampus_dice.csv", "BrainTumour": "nnunet_v2_brats2018_dice.csv"}

#: Of the cross-validation behind them, as behind table 2.
FOLDS = 5

#: A line a case is read up to so many cases; beyond, a cloud of points.
LINES = 40


def beside_paper(
    groups: Groups, task: str, folds: Iterable[int] | None = None, folder: str | Path = FACTS
) -> list[Any]:
    """Our rows beside table 2 of the paper, how far they are apart, and what the paper's rule makes of its own rows.

    The two are means over different runs and, for gliomas, different cases: the differences are not paired.

    Args:
        task: of the Decathlon, a key of :data:`MARKS`.
        folds: as in ``analysis.leaderboard.read``.

    Raises:
        ValueError: the paper has another number of classes for this task.
    """
    theirs = published.table_2(task, folder)
    board = leaderboard.read(groups, folds=folds) if any(groups.values()) else {}
    classes = _in_their_order(task, list(next(iter(board.values())).dices if board else marks(task, folder)[0]))
    if len(classes) != len(theirs.columns):
        raise ValueError(f"table 2 has {len(theirs.columns)} classes for {task}, ours are {', '.join(classes)}")
    theirs = theirs.set_axis(classes, axis=1)
    cases, rows, lines = tasks(folder)[task].cases, {}, []
    for label in [*board, *(label for label in theirs.index if label not in board)]:
        ours = board[label].dices[classes] if label in board and not board[label].problems else None
        printed = theirs.loc[label] if label in theirs.index else None
        if ours is not None:
            rows[f"{label}, ours"] = tables.levels(ours)
        if printed is not None:
            levels = {name: f"{value:.4f}" for name, value in printed.items()}
            rows[f"{label}, {PAPER}"] = levels | {"mean": f"{printed.mean():.5f}", "cases": cases}
        if ours is not None and printed is not None:
            lines.append(f"- **{label}**: {_apart(100 * (ours.mean() - printed))}.")
    shown = [pd.DataFrame.from_dict(rows, orient="index")]
    if lines:
        shown.append(Prose("Ours minus the paper's, in hundredths of Dice:\n\n" + "\n".join(lines)))
    return [*shown, Prose(_their_choice(theirs))]


def _apart(gaps: pd.Series) -> str:
    """Differences in hundredths of Dice, and whether all are small."""
    said = ", ".join(f"{name} {gap:+.2f}" for name, gap in gaps.items())
    return f"{said}; {'within' if gaps.abs().max() <= POINTS else 'not within'} {POINTS:g} of it in every class"


def _their_choice(theirs: pd.DataFrame) -> str:
    """What the rule of section 2.6 makes of printed means."""
    allowed = [label for label in theirs.index if LOW_RESOLUTION not in label]
    means = theirs.loc[allowed].mean(axis=1).sort_values(ascending=False, kind="stable")
    against = "".join(f", against {mean:.5f} of {label}" for label, mean in means.iloc[1:].items())
    return f"Of the paper's own rows its rule takes **{means.index[0]}**: {means.iloc[0]:.5f}{against}."


# ------------------------------------------------------------------------------------------------ nnU-Net v2, by case


def marks(task: str, folder: str | Path = FACTS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Dice of nnU-Net v2's 3D network for each case (rows) and class (columns), and what else is known of each case
    (its fold there, and for gliomas its name and twin in the Decathlon)."""
    table = pd.read_csv(Path(folder) / MARKS[task], comment="#", index_col="case", dtype={"twin": str})
    others = [name for name in ("decathlon", "fold", "twin", "twin_fold") if name in table]
    return table.drop(columns=others), table[others]


def beside_second(
    groups: Groups,
    task: str,
    labels: Sequence[str] | None = None,
    folds: Iterable[int] | None = None,
    folder: str | Path = FACTS,
) -> list[Any]:
    """Our networks beside nnU-Net v2's 3D one on the same cases, paired: what it was trained on, means, differences,
    and a figure of the cases for the first label.

    Args:
        task, folds: as in :func:`beside_paper`.
        labels: which rows; by default all. Those that cannot be compared are passed over.

    Raises:
        ValueError: cases or classes that the published marks lack; names them.
    """
    if not any(groups.values()):
        return [text.NOTHING_YET]
    board = leaderboard.read(groups, folds=folds)
    labels = [label for label in labels or board if label in board and not board[label].problems]
    if not labels:
        return left_out(board) or [text.NOTHING_YET]
    theirs, known = marks(task, folder)
    first = board[labels[0]].dices
    lacking = [*first.index.difference(theirs.index), *first.columns.difference(theirs.columns)]
    if lacking:
        raise ValueError(f"the published Dice of {SECOND} for {task} lacks {', '.join(lacking)}")
    theirs = theirs.loc[first.index, list(first)]
    known = known.loc[first.index]
    levels, changes, means = {f"3D, {SECOND}, the same cases": tables.levels(theirs)}, {}, {}
    for label in labels:
        row = board[label]
        levels[f"{label}, ours"] = tables.levels(row.dices)
        each = {name: unet_pages.minus_published(row.records, theirs[[name]]).difference for name in theirs}
        changes[label], means[label] = each, unet_pages.minus_published(row.records, theirs)
    found = family.table(means)
    shown = (
        pd.DataFrame.from_dict(changes, orient="index").join(tables.decided(found, "mean")).assign(cases=found.cases)
    )
    said = f"Dice of each case, {labels[0]} of this study beside {SECOND}. {text.findings(found[:1])}"
    return [
        Prose(_provenance(groups, task, known, board[labels[0]].fold_of, folder)),
        pd.DataFrame.from_dict(levels, orient="index"),
        Prose(f"**Ours minus {SECOND}**, paired by case:"),
        shown.assign(cases=found.cases),
        _case_by_case(board, labels[0], theirs, said),
        caption(said),
    ]


def _provenance(groups: Groups, task: str, known: pd.DataFrame, fold_of: Mapping[str, int], folder: str | Path) -> str:
    """What the marks' networks were trained on, and ours."""
    cases = tasks(folder)[task].cases
    ours = sorted({n for of in groups.values() for record in of if (n := _trained_on(record))})
    said = f"The {SECOND} that held out these cases was trained on about {round(cases * (1 - 1 / FOLDS))} others"
    said += f", ours on {' or '.join(map(str, ours))}. " if ours else ". "
    if all(known.fold[case] == fold for case, fold in fold_of.items()):
        said += "The folds are the same. "
    if "twin" in known:
        seen = known[known.twin.notna() & (known.twin_fold != known.fold)]
        for case, of in seen.iterrows():
            said += (
                f"Case {case} ({of.decathlon} in the Decathlon) is the same patient as {of.twin}, which was among "
                "them: its Dice is flattered. "
            )
    return said.strip()


def _case_by_case(board: Leaderboard, label: str, theirs: pd.DataFrame, said: str) -> Any:
    dices = board[label].dices
    if len(dices) > LINES:
        return unet_figures.case_by_case({label: dices}, theirs, said)
    return plots.dumbbells(board[label].merit, theirs.mean(axis=1), label, SECOND, said)


def _trained_on(record: Record) -> int:
    return record.cases.case[record.cases.split == TRAIN].nunique()


def _in_their_order(task: str, classes: list[str]) -> list[str]:
    """Classes in the order in which the Decathlon numbers them."""
    order = [GLIOMA[value] for value in unet_pages.DECATHLON_ORDER]
    return order if task == "BrainTumour" and set(order) == set(classes) else classes
