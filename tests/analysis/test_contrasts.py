"""Groups of runs side by side: paired, corrected as a family, on what both sides have."""

import numpy as np
import pytest
from grouped_records import BASE, group, record, rows

from gbmlib.analysis import compare, statistics
from gbmlib.analysis.contrasts import ablation_table, by_region, contrasts
from gbmlib.analysis.intervals import NOTHING, mean_interval
from gbmlib.analysis.overfitting import overfitting
from gbmlib.analysis.statistics import UnpairedError


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
    assert row.p < statistics.LEVEL


def test_a_table_says_what_paired_statistics_say_corrected_together():
    groups = {"base": group(), "up": group(0.05), "mixed": group({case: of - 0.5 for case, of in BASE.items()})}
    table = contrasts(groups)
    alone = {label: compare.paired(groups["base"], groups[label]) for label in ("up", "mixed")}
    assert table.p.to_dict() == statistics.holm({label: of.p for label, of in alone.items()})
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


def test_the_table_of_an_ablation_has_a_row_a_variant():
    table = ablation_table({"base": group(seeds=(0, 2)), "other": group(0.1)})
    assert table.loc["base", "runs"] == 10
    assert table.loc["base", "Dice"].mean == pytest.approx(np.mean(list(BASE.values())))
    assert table.loc["base", "minutes a run"] == 2.5
    assert table.loc["base", "parameters (million)"] == 1.5
    assert table.loc["base", ["difference", "p", "decided"]].tolist() == ["", "", ""]
    assert table.loc["other", ["p", "rank-biserial", "decided"]].tolist() == ["0.008", "+1.00", "higher"]
    # Cells print themselves in a page.
    assert str(table.loc["other", "difference"]) in table.to_html()
    undecided = ablation_table({"base": group(), "other": group(0.1)}, decides=False)
    assert list(undecided.columns[:3]) == ["Dice", "difference", "WT"]


def test_means_are_over_the_regions_that_all_groups_measured():
    """Exclusive labels are measured on the nested regions too; their own labels stay out of a comparison."""
    groups = {
        "nested": group(),
        "labels": group(0.1, regions=("oedema", "WT")),
        "more": group(0.3, regions=("oedema", "WT")),
    }
    for label in ("labels", "more"):
        for of in groups[label]:
            of.cases.loc[of.cases.region == "oedema", "value"] = 0.0
    table = ablation_table(groups)
    assert "oedema" not in table
    assert table.loc["more", "Dice"] == table.loc["more", "WT"] == compare.levels(groups)["more"]
    assert contrasts(groups, "previous").difference["more"].mean == pytest.approx(0.2)
    assert overfitting(groups).gap["labels"].mean == pytest.approx(0.95 - np.mean(list(BASE.values())) - 0.1)


def test_without_a_shared_region_each_group_has_its_own():
    table = ablation_table({"one": group(), "other": group(regions=("oedema",))})
    assert table.loc["one", "oedema"] == table.loc["other", "WT"] == ""
    assert str(table.loc["other", "difference"]) == "not comparable"


def test_unpaired_runs_are_refused_with_what_is_missing_where():
    whole = {"base": group(), "other": group()}
    whole["other"][1] = record(1, 0, rows("b", 0.5), folds=5)
    assert "the other has not, in fold 1 of 5: f" in contrasts(whole).problem["other"]
    with pytest.raises(UnpairedError, match="share no fold"):
        by_region([], [])
