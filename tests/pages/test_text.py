"""Comparisons in words: every word with its evidence, captions that state what was found."""

import pandas as pd
import pytest
from grouped_records import BASE, group

from gbmlib.analysis.family import contrasts
from gbmlib.analysis.intervals import Difference
from gbmlib.pages import tables, text

WIDE = {case: of - 0.55 for case, of in BASE.items()}
SAME = {case: 0.003 if case in "abg" else -0.003 for case in BASE}


def test_a_verdict_is_a_line_with_its_evidence():
    groups = {"base": group(), "up": group(0.05), "down": group(-0.05), "same": group(SAME), "wide": group(WIDE)}
    groups["little"] = group(0.004)
    up, down, same, wide, little = text.verdict(contrasts(groups)).splitlines()
    assert up == (
        "- **up**: higher Dice than base; +0.050 (+0.050 to +0.050) on 8 cases, 5 folds, 1 seed; "
        "p = 0.039 (Holm, 5 comparisons), rank-biserial correlation +1.00; "
        "over networks +0.050 (+0.050 to +0.050), which could have detected 0.000."
    )
    assert "**little**: higher Dice than base, below 0.01; +0.004" in little
    assert "**down**: lower Dice than base; -0.050" in down
    assert "**same**: no difference above 0.01 from base; " in same
    assert "**wide**: undecided against base; " in wide


def test_what_cannot_be_compared_says_why():
    assert "cannot be compared with base: the base" in text.verdict(
        contrasts({"base": group(), "x": group(regions=("y",))})
    )
    assert "nothing to compare" in text.verdict(contrasts({"base": group()}))


def test_an_interval_that_p_does_not_confirm_says_so():
    many = contrasts({"base": group()} | {f"up {number}": group(0.05) for number in range(7)})
    assert "undecided against base (p above 0.05); +0.050" in text.verdict(many)
    few = contrasts({"base": group(), "up": group(0.05, folds=(0, 1))})
    assert "4 cases, 2 folds, 1 seed; p = 0.12, rank-biserial correlation +1.00; 2 folds, too few for an interval" in (
        text.verdict(few)
    )


def row(decided, low, high, against="base"):
    of = Difference((low + high) / 2, low, high, 19)
    known = {"networks": of, "margin": 0.01, "unsound": "undertrained: Dice still rose; collapsed: ET", "caution": ""}
    return pd.Series(known | {"decided": decided, "difference": of, "cases": 19, "against": against, "problem": ""})


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (row("higher", 0.002, 0.024), "with SE: Dice higher by 0.013 (0.002 to 0.024) than base, 19 cases"),
        (row("lower", -0.024, -0.002), "with SE: Dice lower by 0.013 (0.002 to 0.024) than base, 19 cases"),
        (
            row("no difference", -0.002, 0.004),
            "with SE: no difference above 0.01 from base, +0.001 (-0.002 to +0.004), 19 cases",
        ),
        (row("undecided", -0.1, 0.2), "with SE: undecided against base, +0.050 (-0.100 to +0.200), 19 cases"),
        (
            row("not decided yet", -0.1, 0.2),
            "with SE: not decided yet (undertrained, collapsed) against base, +0.050 (-0.100 to +0.200), 19 cases",
        ),
        (row("higher", 0.002, 0.006), "with SE: Dice higher by 0.004 (0.002 to 0.006) than base, below 0.01, 19 cases"),
        (row("higher", 0.002, 0.024, ""), "with SE: Dice higher by 0.013 (0.002 to 0.024), 19 cases"),
    ],
)
def test_a_finding_for_a_caption(of, said):
    assert text.finding("with SE", of) == said


def test_many_findings_are_told_by_what_is_decided():
    groups = {"base": group()} | {name: group(by) for name, by in (("up", 0.05), ("down", -0.05), ("wide", WIDE))}
    assert text.findings(contrasts(groups)) == (
        "up: Dice higher by 0.050 (0.050 to 0.050) than base, 8 cases; "
        "down: Dice lower by 0.050 (0.050 to 0.050) than base, 8 cases. Undecided: wide."
    )
    groups |= {"same": group(SAME), "1, 2 blocks": group(0.06), "more": group(0.07)}
    assert text.findings(contrasts(groups)) == (
        "Dice higher: up by +0.050; “1, 2 blocks” by +0.060; more by +0.070. Dice lower: down by -0.050. "
        "No difference above 0.01: same. Undecided: wide."
    )
    undecided = contrasts({"base": group()} | {f"wide {number}": group(WIDE) for number in range(4)})
    assert text.findings(undecided) == "Undecided: 4 of 4 comparisons."


def test_a_page_shows_p_as_what_it_is():
    one, two = ({"base": group()} | {f"change {n}": group(0.05 + n) for n in range(count)} for count in (1, 2))
    assert list(tables.decided(contrasts(one))) == ["decided", "difference", "p", "rank-biserial"]
    table = tables.decided(contrasts(two), "change in Dice")
    assert list(table) == ["decided", "change in Dice", "p (Holm)", "rank-biserial"]
    assert table["p (Holm)"].tolist() == ["0.016", "0.016"]
