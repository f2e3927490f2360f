"""Comparisons in words: the one way in which every chapter tells what records decide, and with what evidence.

A comparison is a row of :func:`gbmlib.statistics.table`, or of a table with its columns and ``against``, ``folds`` or
``problem`` beside them. The words come from :func:`gbmlib.statistics.decide`; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gbmlib.counts import counted
from gbmlib.intervals import MARGIN, Difference
from gbmlib.statistics import LEVEL, probability

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
    """What a comparison decides: ``"higher Dice"``, ``"no difference above 0.01"``, ``"undecided"``."""
    if row.decided == "no difference":
        return f"no difference above {MARGIN:g}"
    return words.get(row.decided, row.decided)


def evidence(row: pd.Series) -> str:
    """``+0.050 (+0.030 to +0.070) on 19 cases, 5 folds, 2 seeds; p = 0.012 …, rank-biserial correlation +0.80``."""
    names = [name for name in ("cases", "folds", "seeds") if name in row]
    counts = ", ".join(counted(row[name], name[:-1]) for name in names)
    if pd.isna(row.p):
        return f"{row.difference} on {counts}"
    several = f" (Holm, {row.family} comparisons)" if row.family > 1 else ""
    effect = f"rank-biserial correlation {row.rank_biserial:+.2f}"
    return f"{row.difference} on {counts}; p {relation(row.p)}{several}, {effect}"


def finding(label: str, row: pd.Series, measure: str = "Dice") -> str:
    """A comparison as a phrase for a caption: ``with SE: Dice higher by 0.013 (0.002 to 0.029) than without SE, 19
    cases``, or that it is undecided."""
    of, against = row.difference, f" {_quoted(row.against)}" if row.get("against") else ""
    label, cases = _quoted(label), counted(row.cases, "case")
    if row.get("problem") or not of.cases:
        return f"{label}: not comparable" + (f" with{against}" if against else "")
    if row.decided in ("higher", "lower"):
        size = of if row.decided == "higher" else Difference(-of.mean, -of.high, -of.low, of.cases)
        interval = f"{size.mean:.3f} ({size.low:.3f} to {size.high:.3f})"
        return f"{label}: {measure} {row.decided} by {interval}{f' than{against}' if against else ''}, {cases}"
    if row.decided == "no difference":
        return f"{label}: no difference{f' from{against}' if against else ''} above {MARGIN:g}, {of}, {cases}"
    return f"{label}: undecided{f' against{against}' if against else ''}, {of}, {cases}"


def findings(table: pd.DataFrame, measure: str = "Dice") -> str:
    """A table in a sentence or two for a caption: what is decided, with its size, and what is not."""
    decided = [(label, row) for label, row in table.iterrows() if row.decided in ("higher", "lower")]
    if len(table) == 1 or 0 < len(decided) <= FEW:
        said = ["; ".join(finding(*of, measure) for of in decided or table.iterrows())]
    else:
        said = [_together(f"{measure} {word}", table[table.decided == word]) for word in ("higher", "lower")]
    if len(table) > 1:
        said.append(_together(f"No difference above {MARGIN:g}", table[table.decided == "no difference"], sizes=False))
        open_ = table[table.decided == "undecided"]
        named = _together("Undecided", open_, sizes=False)
        said.append(named if len(open_) <= FEW else f"Undecided: {len(open_)} of {len(table)} comparisons")
    return " ".join(f"{part}." for part in said if part)


def _together(what: str, rows: pd.DataFrame, sizes: bool = True) -> str:
    """``Dice lower: kernel 5 by -0.035; batch norm by -0.030``; empty of no rows."""
    each = [_quoted(label) + (f" by {row.difference.mean:+.3f}" if sizes else "") for label, row in rows.iterrows()]
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
            "decided": table.decided,
        },
        table.index,
        dtype=object,
    )


def p_name(table: pd.DataFrame) -> str:
    """What a column of p is headed with: corrected, where any of them is."""
    return "p (Holm)" if len(table) and table.family.max() > 1 else "p"


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
        said += {"undecided": f" against {against}", "no difference": f" from {against}"}.get(
            row.decided, f" than {against}"
        )
    return f"- **{label}**: {said}{_unconfirmed(row)}; {evidence(row)}."


def _unconfirmed(row: pd.Series) -> str:
    """Why a comparison whose interval leaves out zero is undecided all the same."""
    low, high = row.difference.low, row.difference.high
    return f" (p above {LEVEL:g})" if row.decided == "undecided" and (low > 0 or high < 0) else ""
