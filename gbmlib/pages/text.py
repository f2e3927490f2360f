"""Text that depends on numbers: comparisons and what they decide, the one way in which every chapter words them.

A comparison is a row of ``analysis.family.table``, or of a table with its columns and ``against``, ``folds`` or
``problem`` beside them. The words come from ``analysis.intervals.decide``; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from gbmlib.analysis.intervals import HIGHER, LEVEL, LOWER, NONE, NOT_YET, UNDECIDED, Difference, within
from gbmlib.files import counted

#: What is said of Dice; a table on something else gives its own.
DICE = {"higher": "higher Dice", "lower": "lower Dice"}

#: How a label is joined to what it is compared with, where not by "than".
PREPOSITIONS = {UNDECIDED: "against", NOT_YET: "against", NONE: "from"}

#: Below a figure, more than this many comparisons are told together, or counted.
FEW = 3


class Prose(str):
    """Markdown that a notebook shows as such."""

    def _repr_markdown_(self) -> str:
        return str(self)


NOTHING_YET = Prose("*There is nothing to compare yet.*")


def caption(text: str) -> Prose:
    """What stands below a figure: what it shows, and what was found."""
    return Prose(f"*{text}*")


# ------------------------------------------------------------------------------------------------------------ verdicts


def verdict(table: pd.DataFrame, words: Mapping[str, str] = DICE) -> Prose:
    """What a table decides and on what evidence, a line a comparison. For published runs on real cases.

    Args:
        words: for ``higher`` and ``lower``.
    """
    return Prose("\n".join(_line(label, row, words) for label, row in table.iterrows()) or NOTHING_YET)


def word(row: pd.Series, words: Mapping[str, str] = DICE) -> str:
    """``higher Dice``, ``no difference above 0.01``, ``undecided``, ``not decided yet``: what a comparison decides."""
    return f"no difference above {row.margin:g}" if row.decided == NONE else words.get(row.decided, row.decided)


def evidence(row: pd.Series) -> str:
    """``+0.050 (+0.030 to +0.070) on 19 cases, 5 folds, 2 seeds; p = 0.012 …, rank-biserial correlation +0.80; over
    networks +0.048 (+0.010 to +0.086), which could have detected 0.052``."""
    counts = ", ".join(counted(row[name], name[:-1]) for name in ("cases", "folds", "seeds") if name in row)
    clauses = [f"{row.difference} on {counts}"]
    if not pd.isna(row.p):
        several = f" (Holm, {row.family} comparisons)" if row.family > 1 else ""
        clauses.append(f"p {relation(row.p)}{several}, rank-biserial correlation {row.rank_biserial:+.2f}")
    return "; ".join([*clauses, *filter(None, [over_networks(row.networks, row.detectable), row.caution])])


def over_networks(difference: Difference, detectable: float) -> str:
    """``over networks +0.048 (+0.010 to +0.086), which could have detected 0.052``, or that folds are too few."""
    if not difference.cases:
        return ""
    if pd.isna(difference.low):
        return f"{counted(difference.cases, 'fold')}, too few for an interval over networks"
    return f"over networks {difference}, which could have detected {detectable:.3f}"


def probability(p: float) -> str:
    """p as it is printed."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def relation(p: float) -> str:
    """p after its sign: ``= 0.012``, ``< 0.001``."""
    number = probability(p)
    return number if number.startswith("<") else f"= {number}"


def inside_margin(row: pd.Series) -> str:
    """What is added to a reliable difference that lies inside the margin: ``, below 0.01``."""
    small = all(within(interval, row.margin) for interval in (row.difference, row.networks))
    return f", below {row.margin:g}" if row.decided in (HIGHER, LOWER) and small else ""


def _line(label: Any, row: pd.Series, words: Mapping[str, str]) -> str:
    against = row.get("against")
    if row.get("problem"):
        return f"- **{label}**: cannot be compared with {against}: {row.problem}."
    outcome = word(row, words)
    if against:
        outcome += f" {PREPOSITIONS.get(row.decided, 'than')} {against}"
    return f"- **{label}**: {outcome}{inside_margin(row)}{because(row)}; {evidence(row)}."


def because(row: pd.Series) -> str:
    """In brackets, why nothing is decided, where it is not the interval over cases that leaves it open."""
    if row.decided == NOT_YET:
        return f" ({row.unsound})"
    over_cases = row.difference
    if row.decided != UNDECIDED or over_cases.low <= 0 <= over_cases.high or pd.isna(over_cases.low):
        return ""
    if row.p > LEVEL:
        return f" (p above {LEVEL:g})"
    return "" if pd.isna(row.networks.low) else " (networks disagree)"


# ------------------------------------------------------------------------------------------------------------ captions


def finding(label: str, row: pd.Series) -> str:
    """A comparison as a phrase for a caption: ``with SE: Dice higher by 0.013 (0.002 to 0.029) than without SE, 19
    cases``, or that it is undecided, or why it is not decided yet."""
    difference, base = row.difference, _quoted(row.against) if row.get("against") else ""
    label, cases = _quoted(label), counted(row.cases, "case")
    if row.get("problem") or not difference.cases:
        return f"{label}: not comparable" + (f" with {base}" if base else "")
    than = f" {PREPOSITIONS.get(row.decided, 'than')} {base}" if base else ""
    if row.decided in (HIGHER, LOWER):
        size = difference if row.decided == HIGHER else -difference
        interval = f"{size.mean:.3f} ({size.low:.3f} to {size.high:.3f})"
        return f"{label}: Dice {row.decided} by {interval}{than}{inside_margin(row)}, {cases}"
    outcome = f"{row.decided} ({_kinds([row.unsound])})" if row.decided == NOT_YET else word(row)
    return f"{label}: {outcome}{than}, {difference}, {cases}"


def findings(table: pd.DataFrame) -> str:
    """A table in a sentence or two for a caption: what is decided, with its size, and what is not."""
    decided = table[table.decided.isin((HIGHER, LOWER))]
    if len(table) == 1 or 0 < len(decided) <= FEW:
        rows = decided if len(decided) else table
        sentences = ["; ".join(finding(label, row) for label, row in rows.iterrows())]
    else:
        sentences = [_together(f"Dice {word}", table[table.decided == word]) for word in (HIGHER, LOWER)]
    if len(table) > 1:
        none, unsound = table[table.decided == NONE], table[table.decided == NOT_YET]
        sentences += [
            _together(f"No difference above {table.margin.max():g}", none, sizes=False),
            _left("Undecided", table[table.decided == UNDECIDED], len(table)),
            _left(f"Not decided yet ({_kinds(unsound.unsound)})", unsound, len(table)),
        ]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _left(what: str, rows: pd.DataFrame, all_rows: int) -> str:
    """The comparisons that decide nothing, by name or counted."""
    return _together(what, rows, sizes=False) if len(rows) <= FEW else f"{what}: {len(rows)} of {all_rows} comparisons"


def _together(what: str, rows: pd.DataFrame, sizes: bool = True) -> str:
    """``Dice lower: kernel 5 by -0.035; batch norm by -0.030``; empty of no rows."""
    each = [
        _quoted(label) + (f" by {row.difference.mean:+.3f}{inside_margin(row)}" if sizes else "")
        for label, row in rows.iterrows()
    ]
    return f"{what}: {'; '.join(each)}" if each else ""


def _kinds(reasons: Iterable[str]) -> str:
    """Why runs are not sound, in a word for each kind of reason: ``collapsed, undertrained``."""
    each = [sentence.split(":")[0].strip() for reason in reasons for sentence in reason.split(";")]
    return ", ".join(dict.fromkeys(each))


def _quoted(label: Any) -> str:
    """A label that holds a comma, told apart from what stands around it."""
    return f"“{label}”" if "," in str(label) else str(label)
