"""Comparisons in words: the one way in which every chapter tells what records decide, and with what evidence.

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

#: Below a figure, more than this many are told together, or counted.
FEW = 3


def verdict(table: pd.DataFrame, words: Mapping[str, str] = DICE) -> str:
    """What a table decides and on what evidence, as Markdown, a line a comparison. For published runs on real cases.

    Args:
        words: for ``higher`` and ``lower``.
    """
    return (
        "\n".join(_line(label, row, words) for label, row in table.iterrows()) or "*There is nothing to compare yet.*"
    )


def word(row: pd.Series, words: Mapping[str, str] = DICE) -> str:
    """What a comparison decides: ``"higher Dice"``, ``"no difference above 0.01"``, ``"undecided"``, ``"not decided
    yet"``."""
    if row.decided == NONE:
        return f"no difference above {row.margin:g}"
    return words.get(row.decided, row.decided)


def evidence(row: pd.Series) -> str:
    """``+0.050 (+0.030 to +0.070) on 19 cases, 5 folds, 2 seeds; p = 0.012 …, rank-biserial correlation +0.80; over
    networks +0.048 (+0.010 to +0.086), which could have detected 0.052``."""
    names = [name for name in ("cases", "folds", "seeds") if name in row]
    counts = ", ".join(counted(row[name], name[:-1]) for name in names)
    parts = [f"{row.difference} on {counts}"]
    if not pd.isna(row.p):
        several = f" (Holm, {row.family} comparisons)" if row.family > 1 else ""
        parts.append(f"p {relation(row.p)}{several}, rank-biserial correlation {row.rank_biserial:+.2f}")
    return "; ".join([*parts, *filter(None, [over_networks(row.networks, row.detectable), row.caution])])


def over_networks(difference: Difference, detectable: float) -> str:
    """``over networks +0.048 (+0.010 to +0.086), which could have detected 0.052``, or that folds are too few."""
    if not difference.cases:
        return ""
    if pd.isna(difference.low):
        return f"{counted(difference.cases, 'fold')}, too few for an interval over networks"
    return f"over networks {difference}, which could have detected {detectable:.3f}"


def finding(label: str, row: pd.Series, measure: str = "Dice") -> str:
    """A comparison as a phrase for a caption: ``with SE: Dice higher by 0.013 (0.002 to 0.029) than without SE, 19
    cases``, or that it is undecided, or why it is not decided yet."""
    difference, against = row.difference, f" {_quoted(row.against)}" if row.get("against") else ""
    label, cases = _quoted(label), counted(row.cases, "case")
    if row.get("problem") or not difference.cases:
        return f"{label}: not comparable" + (f" with{against}" if against else "")
    if row.decided in (HIGHER, LOWER):
        size = difference if row.decided == HIGHER else -difference
        interval = f"{size.mean:.3f} ({size.low:.3f} to {size.high:.3f})"
        than = f" than{against}" if against else ""
        return f"{label}: {measure} {row.decided} by {interval}{than}{_small(row)}, {cases}"
    if row.decided == NONE:
        return f"{label}: {word(row)}{f' from{against}' if against else ''}, {difference}, {cases}"
    said = f"{row.decided} ({_kinds([row.unsound])})" if row.decided == NOT_YET else row.decided
    return f"{label}: {said}{f' against{against}' if against else ''}, {difference}, {cases}"


def findings(table: pd.DataFrame, measure: str = "Dice") -> str:
    """A table in a sentence or two for a caption: what is decided, with its size, and what is not."""
    decided = [(label, row) for label, row in table.iterrows() if row.decided in (HIGHER, LOWER)]
    if len(table) == 1 or 0 < len(decided) <= FEW:
        said = ["; ".join(finding(*row, measure) for row in decided or table.iterrows())]
    else:
        said = [_together(f"{measure} {word}", table[table.decided == word]) for word in (HIGHER, LOWER)]
    if len(table) > 1:
        none = table[table.decided == NONE]
        said.append(_together(f"No difference above {table.margin.max():g}", none, sizes=False))
        said.append(_left("Undecided", table, UNDECIDED))
        kinds = _kinds(table.unsound[table.decided == NOT_YET])
        said.append(_left(f"Not decided yet ({kinds})", table, NOT_YET))
    return " ".join(f"{part}." for part in said if part)


def _left(what: str, table: pd.DataFrame, decided: str) -> str:
    """The comparisons that decide nothing, by name or counted."""
    rows = table[table.decided == decided]
    named = _together(what, rows, sizes=False)
    return named if len(rows) <= FEW else f"{what}: {len(rows)} of {len(table)} comparisons"


def _kinds(reasons: Iterable[str]) -> str:
    """Why runs are not sound, in a word for each kind of reason: ``collapsed, undertrained``."""
    each = [sentence.split(":")[0].strip() for reason in reasons for sentence in reason.split(";")]
    return ", ".join(dict.fromkeys(each))


def _small(row: pd.Series) -> str:
    """What is added to a reliable difference that lies inside the margin."""
    small = all(within(interval, row.margin) for interval in (row.difference, row.networks))
    return f", below {row.margin:g}" if row.decided in (HIGHER, LOWER) and small else ""


def _together(what: str, rows: pd.DataFrame, sizes: bool = True) -> str:
    """``Dice lower: kernel 5 by -0.035; batch norm by -0.030``; empty of no rows."""
    each = [
        _quoted(label) + (f" by {row.difference.mean:+.3f}{_small(row)}" if sizes else "")
        for label, row in rows.iterrows()
    ]
    return f"{what}: {'; '.join(each)}" if each else ""


def _quoted(label: Any) -> str:
    """A label that holds a comma, told apart from what stands around it."""
    return f"“{label}”" if "," in str(label) else str(label)


def shown(table: pd.DataFrame, name: str = "difference") -> pd.DataFrame:
    """The columns of a table that a page shows: difference (called ``name``), p, effect size and what they decide."""
    return pd.DataFrame(
        {
            name: table.difference,
            p_name(table): ["" if pd.isna(p) else probability(p) for p in table.p],
            "rank-biserial": ["" if pd.isna(effect) else f"{effect:+.2f}" for effect in table.rank_biserial],
            "decided": [row.decided + _small(row) for _, row in table.iterrows()],
        },
        table.index,
        dtype=object,
    )


def p_name(table: pd.DataFrame) -> str:
    """What a column of p is headed with: corrected, where any of them is."""
    return "p (Holm)" if len(table) and table.family.max() > 1 else "p"


def probability(p: float) -> str:
    """p as it is printed."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def relation(p: float) -> str:
    """p after its sign: ``= 0.012``, ``< 0.001``."""
    said = probability(p)
    return said if said.startswith("<") else f"= {said}"


def _line(label: Any, row: pd.Series, words: Mapping[str, str]) -> str:
    against = row.get("against")
    if row.get("problem"):
        return f"- **{label}**: cannot be compared with {against}: {row.problem}."
    said = word(row, words)
    if against:
        said += {UNDECIDED: f" against {against}", NOT_YET: f" against {against}", NONE: f" from {against}"}.get(
            row.decided, f" than {against}"
        )
    return f"- **{label}**: {said}{_small(row)}{_because(row)}; {evidence(row)}."


def _because(row: pd.Series) -> str:
    """Why nothing is decided, where it is not the interval over cases that leaves it open."""
    if row.decided == NOT_YET:
        return f" ({row.unsound})"
    over_cases, networks = row.difference, row.networks
    if row.decided != UNDECIDED or (over_cases.low <= 0 <= over_cases.high) or pd.isna(over_cases.low):
        return ""
    if row.p > LEVEL:
        return f" (p above {LEVEL:g})"
    if pd.isna(networks.low):
        return ""
    return " (networks disagree)"
