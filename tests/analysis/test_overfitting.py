"""The gap between cases trained on and held out."""

import numpy as np
import pytest
from grouped_records import BASE, group

from gbmlib.analysis import compare, overfitting
from gbmlib.analysis.intervals import NOTHING


def runs(gap):
    """Cases are hard or easy; where each is trained on, its Dice is higher by the gap."""
    records = group()
    for of in records:
        trained = of.cases.split == "train"
        of.cases.loc[trained, "value"] = [BASE[case] + gap for case in of.cases.case[trained]]
    return records


def test_the_gap_is_that_of_a_case_with_itself():
    groups = {"base": runs(0.1), "less": runs(0.04)}
    table, changes = overfitting.overfitting(groups), overfitting.changes(groups)
    gap = table.gap["base"]
    assert (gap.low, gap.mean, gap.high) == pytest.approx((0.1, 0.1, 0.1))
    assert table["held out"]["base"].mean == pytest.approx(np.mean(list(BASE.values())))
    assert changes.difference["less"].mean == pytest.approx(-0.06)
    assert changes.decided.to_dict() == {"less": "lower"}


def test_the_change_is_that_of_the_paired_statistics():
    groups = {"base": group(seeds=(0, 1)), "other": group({case: -0.3 * of**2 for case, of in BASE.items()})}
    expected = compare.paired(groups["base"], groups["other"], split=compare.GAP)
    row = overfitting.changes(groups).loc["other"]
    assert (row.difference, row.p, row.rank_biserial) == (expected.difference, expected.p, expected.effect)


def test_with_one_fold_the_gap_is_between_different_cases_and_has_no_interval():
    groups = {"base": group(folds=(0,)), "other": group(folds=(0,), trained=0.9)}
    gap = overfitting.overfitting(groups).gap["base"]
    assert gap.mean == pytest.approx(0.95 - np.mean([BASE[case] for case in "ae"]))
    assert np.isnan(gap.low)
    assert overfitting.changes(groups).difference["other"] == NOTHING
