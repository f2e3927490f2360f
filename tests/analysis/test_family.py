"""Groups of runs side by side: paired, corrected as a family, on what both sides have."""

import numpy as np
import pytest
from grouped_records import BASE, group, record, rows
from hypothesis import given
from hypothesis import strategies as st

from gbmlib.analysis import family, intervals, paired, scores
from gbmlib.analysis.family import by_region, contrasts, gaps, holm
from gbmlib.analysis.intervals import NOTHING, mean_interval
from gbmlib.analysis.scores import UnpairedError


def test_a_constant_change_has_no_width():
    table = by_region(group(), group(0.04))
    assert list(table.index) == ["WT", "mean"]
    assert table.cases.tolist() == [8, 8]
    difference = table.difference["mean"]
    assert (difference.low, difference.mean, difference.high) == pytest.approx((0.04, 0.04, 0.04))
    assert table.decided.tolist() == ["higher", "higher"]


def test_with_one_seed_the_interval_is_that_of_the_cases_own_differences():
    changes = dict(zip(BASE, (0.03, -0.01, 0.08, 0.05, 0.02, 0.04, -0.02, 0.06), strict=True))
    found = contrasts({"base": group(), "other": group(changes)}).difference["other"]
    expected = mean_interval(list(changes.values()))
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))


def test_the_luck_of_seeds_widens_the_interval():
    """Two seeds that lie 0.2 apart in every case: over cases alone the change would have no width."""
    base = group(-0.1, seeds=(0,)) + group(0.1, seeds=(1,))
    row = contrasts({"base": base, "other": group(0.05)}).loc["other"]
    assert row.difference.mean == pytest.approx(0.05)
    assert row.difference.low < 0 < row.difference.high
    assert row.decided == "undecided"
    assert row.p < intervals.LEVEL


def test_a_table_says_what_paired_statistics_say_corrected_together():
    groups = {"base": group(), "up": group(0.05), "mixed": group({case: of - 0.5 for case, of in BASE.items()})}
    table = contrasts(groups)
    alone = {label: paired.compare(groups["base"], groups[label]) for label in ("up", "mixed")}
    assert table.p.to_dict() == family.holm({label: of.p for label, of in alone.items()})
    assert table.p["up"] == pytest.approx(2 * 2 / 2**8)
    assert table.difference.to_dict() == {label: of.difference for label, of in alone.items()}
    assert table.rank_biserial.to_dict() == {label: of.effect for label, of in alone.items()}
    assert table.family.tolist() == [2, 2]


def test_one_and_the_same_change_is_decided_alone_and_not_in_a_large_family():
    groups = {"base": group()} | {f"change {n}": group(0.03 + 0.001 * n) for n in range(7)}
    few = contrasts({label: groups[label] for label in ("base", "change 0")})
    many = contrasts(groups)
    assert few.decided["change 0"] == "higher"
    assert many.decided["change 0"] == "undecided"
    assert few.difference["change 0"] == many.difference["change 0"]


def test_the_mean_is_over_regions_that_both_have_and_regions_are_a_family():
    base, other = group(regions=("WT", "ET")), group(0.1, regions=("WT", "ET", "TC"))
    table = by_region(base, other)
    assert list(table.index) == ["WT", "ET", "mean"]
    assert table.family.tolist() == [2, 2, 1]
    assert table.p["WT"] == 2 * table.p["mean"]
    with pytest.raises(UnpairedError, match=r"\['WT'\].*\['oedema'\]"):
        by_region(group(), group(regions=("oedema",)))


def test_only_folds_that_both_ran_count():
    row = contrasts({"base": group(seeds=(0, 1)), "more": group(0.1, folds=(0,))}).loc["more"]
    assert (row.against, row.cases, row.folds, row.seeds, row.problem) == ("base", 2, 1, 1, "")
    assert row.difference.mean == pytest.approx(0.1)


def test_steps_against_the_one_before_add_up_to_those_against_the_first():
    groups = {"one": group(), "two": group(0.05), "three": group(0.02)}
    steps = [of.mean for of in contrasts(groups, "previous").difference]
    assert steps == pytest.approx([0.05, -0.03])
    assert contrasts(groups).difference["three"].mean == pytest.approx(sum(steps))
    with pytest.raises(ValueError, match="'first' or 'previous'"):
        contrasts(groups, "last")


def test_what_cannot_be_compared_says_so_stops_nothing_and_counts_in_the_family():
    table = contrasts({"base": group(), "labels": group(regions=("oedema",)), "better": group(0.1)})
    assert table.difference["labels"] == NOTHING
    assert "none is shared" in table.problem["labels"]
    assert table.difference["better"].mean == pytest.approx(0.1)
    assert table.p["better"] == pytest.approx(2 * 2 / 2**8)
    assert contrasts({}).empty
    assert list(contrasts({}).columns) == list(table.columns)


def test_unpaired_runs_are_refused_with_what_is_missing_where():
    whole = {"base": group(), "other": group()}
    whole["other"][1] = record(1, 0, rows("b", 0.5), folds=5)
    assert "the other has not, in fold 1 of 5: f" in contrasts(whole).problem["other"]
    with pytest.raises(UnpairedError, match="share no fold"):
        by_region([], [])


# ------------------------------------------------------------------------------------------------------------ gaps


def runs(gap):
    """Cases are hard or easy; where each is trained on, its Dice is higher by the gap."""
    records = group()
    for of in records:
        trained = of.cases.split == "train"
        of.cases.loc[trained, "value"] = [BASE[case] + gap for case in of.cases.case[trained]]
    return records


def test_the_gap_is_that_of_a_case_with_itself():
    groups = {"base": runs(0.1), "less": runs(0.04)}
    table, changes = gaps(groups), contrasts(groups, split=scores.GAP)
    gap = table.gap["base"]
    assert (gap.low, gap.mean, gap.high) == pytest.approx((0.1, 0.1, 0.1))
    assert table["held out"]["base"].mean == pytest.approx(np.mean(list(BASE.values())))
    assert changes.difference["less"].mean == pytest.approx(-0.06)
    assert changes.decided.to_dict() == {"less": "lower"}


def test_the_change_is_that_of_the_paired_statistics():
    groups = {"base": group(seeds=(0, 1)), "other": group({case: -0.3 * of**2 for case, of in BASE.items()})}
    expected = paired.compare(groups["base"], groups["other"], split=scores.GAP)
    row = contrasts(groups, split=scores.GAP).loc["other"]
    assert (row.difference, row.p, row.rank_biserial) == (expected.difference, expected.p, expected.effect)


def test_with_one_fold_the_gap_is_between_different_cases_and_has_no_interval():
    groups = {"base": group(folds=(0,)), "other": group(folds=(0,), trained=0.9)}
    gap = gaps(groups).gap["base"]
    assert gap.mean == pytest.approx(0.95 - np.mean([BASE[case] for case in "ae"]))
    assert np.isnan(gap.low)
    assert contrasts(groups, split=scores.GAP).difference["other"] == NOTHING


# ------------------------------------------------------------------------------------------------------------ Holm


def test_holm_by_hand():
    # 0.01 x 4; 0.02 x 3; 0.03 x 2 and 0.04 x 1 may not be below what comes before.
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.02}) == pytest.approx(
        {"a": 0.06, "b": 0.04, "c": 0.06, "d": 0.06}
    )
    assert holm({"a": 0.4, "b": 0.9}) == pytest.approx({"a": 0.8, "b": 0.9})
    assert holm({}) == {}
    with pytest.raises(ValueError, match=r"'b': 1\.2"):
        holm({"a": 0.1, "b": 1.2})


def test_a_comparison_that_was_not_made_counts_in_its_family():
    found = holm({"a": 0.01, "b": np.nan, "c": np.nan})
    assert found["a"] == pytest.approx(0.03)
    assert np.isnan(found["b"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(values):
    found = holm(dict(enumerate(values)))
    for number, p in enumerate(values):
        assert p <= found[number] <= min(1.0, p * len(values) * (1 + 1e-12))
    ordered = [found[number] for number in np.argsort(values, kind="stable")]
    assert ordered == sorted(ordered)


def test_holm_as_statsmodels_has_it():
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    p = np.random.default_rng(0).uniform(0, 0.1, 20)
    expected = multitest.multipletests(p, method="holm")[1]
    assert list(holm(dict(enumerate(p))).values()) == pytest.approx(list(expected))
