"""Means, intervals and tables out of records."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from gbmlib import compare
from gbmlib.intervals import NOTHING, mean_interval

METRICS = ("loss", "dice", "precision", "recall", "accuracy")


def record(fold, seed, rows, losses=(1.0,), folds=2, on=("val",), **fields):
    history = pd.DataFrame({"epoch": range(len(losses))})
    for part in on:
        history[f"{part}_loss"] = losses
        for number, name in enumerate(METRICS[1:], 1):
            history[f"{part}_{name}"] = number / 10
    cases = pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"])
    experiment = SimpleNamespace(fold=fold, seed=seed, folds=folds, **fields)
    provenance = {"parameters": 1_500_000, "seconds": 90 + 60 * seed}
    return SimpleNamespace(
        id=f"run-{fold}-{seed}", cases=cases, history=history, experiment=experiment, provenance=provenance
    )


def rows(case, value, split="held out", regions=("WT",)):
    values = np.broadcast_to(value, len(regions))
    return [(case, split, r, m, v) for r, v in zip(regions, values, strict=True) for m in METRICS[1:]]


def test_a_case_held_out_under_two_seeds_counts_once_and_training_cases_do_not():
    records = [
        record(0, 0, rows("a", 0.2) + rows("b", 0.6, "train")),
        record(0, 1, rows("a", 0.4)),
        record(1, 0, rows("b", 0.9)),
    ]
    assert compare.held_out(records).loc["WT", "dice"] == "0.600 (2 cases)"


def test_a_table_over_epochs_is_the_mean_of_the_runs_up_to_where_all_got():
    records = [record(0, 0, [], [4.0, 2.0, 1.0, 0.5]), record(1, 0, [], [2.0, 1.0, 0.0])]
    table = compare.over_epochs(records, every=2)
    assert table["loss"].to_dict() == {0: 3.0, 2: 0.5}
    assert list(table.columns) == ["loss", "Dice", "precision", "recall", "accuracy"]


def test_the_table_on_fixed_crops_has_the_same_columns_and_refuses_runs_that_lack_them():
    with_crops = record(0, 0, [], [3.0, 1.0], on=("val", "crops"))
    with_crops.history["crops_dice"] = [0.1, 0.7]
    table = compare.over_epochs([with_crops], every=1, on="crops")
    assert list(table.columns) == ["loss", "Dice", "precision", "recall", "accuracy"]
    assert table["Dice"].tolist() == [0.1, 0.7]
    with pytest.raises(ValueError, match=r"crops_loss.*run-1-0"):
        compare.over_epochs([with_crops, record(1, 0, [], [3.0, 1.0])], on="crops")


# ------------------------------------------------------------------------------------------- one group against another

BASE = {"a": 0.5, "b": 0.7, "c": 0.2, "d": 0.9}


def group(change=0.0, seeds=(0,), regions=("WT",), folds=(0, 1), trained=0.95):
    """Four cases, two held out in each of two folds; ``change`` is added to the Dice of every case."""
    held = {0: ("a", "b"), 1: ("c", "d")}
    return [
        record(
            fold,
            seed,
            [row for case in held[fold] for row in rows(case, BASE[case] + change, regions=regions)]
            + [row for case in held[1 - fold] for row in rows(case, trained, "train", regions)],
        )
        for fold in folds
        for seed in seeds
    ]


def test_differences_are_paired_so_a_constant_change_has_no_width():
    table = compare.differences(group(), group(0.04))
    assert list(table.index) == ["WT", "mean"]
    assert table.cases.tolist() == [4, 4]
    difference = table.difference["mean"]
    assert (difference.low, difference.mean, difference.high) == pytest.approx((0.04, 0.04, 0.04))


def test_the_interval_of_differences_is_that_of_the_cases_own_differences():
    base, other = group(), group()
    changes = {"a": 0.03, "b": -0.01, "c": 0.08, "d": 0.05}
    for of in other:
        held = of.cases.split == "held out"
        of.cases.loc[held, "value"] += of.cases.case[held].map(changes)
    found = compare.differences(base, other).difference["WT"]
    expected = mean_interval(list(changes.values()))
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))


def test_seeds_are_averaged_before_cases_are():
    base = group(seeds=(0,)) + group(0.2, seeds=(1,))
    assert compare.differences(base, group()).difference["mean"].mean == pytest.approx(-0.1)


def test_the_mean_is_over_regions_that_both_have():
    base = group(regions=("WT", "ET"))
    other = group(0.1, regions=("WT", "ET", "TC"))
    assert list(compare.differences(base, other).index) == ["WT", "ET", "mean"]
    with pytest.raises(compare.UnpairedError, match=r"\['WT'\].*\['oedema'\]"):
        compare.differences(group(), group(regions=("oedema",)))


def test_unpaired_runs_are_refused_with_what_is_missing_where():
    with pytest.raises(compare.UnpairedError, match="the other has not, in fold 1 of 2: c, d"):
        compare.differences(group(), group(folds=(0,)))
    with pytest.raises(compare.UnpairedError, match="the base has not, in fold 0 of 2: a, b"):
        compare.differences(group(folds=(1,)), group())
    # The same cases in other folds were held out from other training sets.
    swapped = group()
    for of in swapped:
        of.experiment.fold = 1 - of.experiment.fold
    with pytest.raises(compare.UnpairedError, match="cannot be paired"):
        compare.differences(group(), swapped)
    with pytest.raises(compare.UnpairedError, match="share no fold"):
        compare.differences([], [])


def test_contrasts_use_the_folds_that_both_ran_and_say_how_many():
    table = compare.contrasts({"base": group(seeds=(0, 1)), "more": group(0.1, folds=(0,))})
    row = table.loc["more"]
    assert (row.against, row.cases, row.folds, row.seeds, row.problem) == ("base", 2, 1, 1, "")
    assert row.difference.mean == pytest.approx(0.1)


def test_contrasts_against_the_one_before_add_up_to_those_against_the_first():
    groups = {"one": group(), "two": group(0.05), "three": group(0.02)}
    steps = [of.mean for of in compare.contrasts(groups, "previous").difference]
    assert steps == pytest.approx([0.05, -0.03])
    assert compare.contrasts(groups).difference["three"].mean == pytest.approx(sum(steps))
    with pytest.raises(ValueError, match="'first' or 'previous'"):
        compare.contrasts(groups, "last")


def test_what_cannot_be_compared_says_so_and_stops_nothing():
    table = compare.contrasts({"base": group(), "labels": group(regions=("oedema",)), "better": group(0.1)})
    assert table.difference["labels"] == NOTHING
    assert "none is shared" in table.problem["labels"]
    assert table.difference["better"].mean == pytest.approx(0.1)


def test_the_verdict_is_worded_from_the_interval():
    groups = {
        "base": group(),
        "up": group(0.05),
        "down": group(-0.05),
        "same": group(0.001),
        "few": group(0.1, folds=(0,)),
    }
    up, down, same, few = compare.verdict(compare.contrasts(groups)).splitlines()
    assert up == "- **up**: higher Dice than base; +0.050 (+0.050 to +0.050) on 4 cases, 2 folds, 1 seed."
    assert "lower Dice" in down
    assert "no difference from base above 0.01 Dice" in same
    assert "undecided" in few
    assert "cannot be compared" in compare.verdict(compare.contrasts({"base": group(), "x": group(regions=("y",))}))
    assert "nothing to compare" in compare.verdict(compare.contrasts({"base": group()}))


def test_the_table_of_an_ablation_has_a_row_a_variant():
    table = compare.ablation_table({"base": group(seeds=(0, 2)), "other": group(0.1)})
    assert table.loc["base", "runs"] == 4
    assert table.loc["base", "Dice"].mean == pytest.approx(np.mean(list(BASE.values())))
    assert table.loc["base", "minutes a run"] == 2.5
    assert table.loc["base", "parameters (million)"] == 1.5
    assert table.loc["base", "difference"] == ""
    assert table.loc["other", "difference"].mean == pytest.approx(0.1)
    # Cells print themselves in a page.
    assert str(table.loc["other", "precision"]) in table.to_html()


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
    table = compare.ablation_table(groups)
    assert "oedema" not in table
    assert table.loc["more", "Dice"] == table.loc["more", "WT"] == compare.levels(groups)["more"]
    assert compare.contrasts(groups, "previous").difference["more"].mean == pytest.approx(0.2)
    assert compare.overfitting(groups).gap["labels"].mean == pytest.approx(0.95 - np.mean(list(BASE.values())) - 0.1)


def test_without_a_shared_region_each_group_has_its_own():
    table = compare.ablation_table({"one": group(), "other": group(regions=("oedema",))})
    assert table.loc["one", "oedema"] == table.loc["other", "WT"] == ""
    assert str(table.loc["other", "difference"]) == "not comparable"


def test_the_gap_is_that_of_a_case_with_itself():
    # Cases are hard or easy; where each is trained on, its Dice is 0.1 higher.
    def own(case, gap):
        return min(1, BASE[case] + gap)

    def runs(gap):
        records = group()
        for of in records:
            trained = of.cases.split == "train"
            of.cases.loc[trained, "value"] = [own(case, gap) for case in of.cases.case[trained]]
        return records

    table = compare.overfitting({"base": runs(0.1), "less": runs(0.04)})
    gap = table.gap["base"]
    assert (gap.low, gap.mean, gap.high) == pytest.approx((0.1, 0.1, 0.1))
    assert table.difference["less"].mean == pytest.approx(-0.06)
    assert table.difference["base"] == ""
    assert table["held out"]["base"].mean == pytest.approx(np.mean(list(BASE.values())))


def test_with_one_fold_the_gap_is_between_different_cases_and_has_no_interval():
    table = compare.overfitting({"base": group(folds=(0,)), "other": group(folds=(0,), trained=0.9)})
    assert table.gap["base"].mean == pytest.approx(0.95 - 0.6)
    assert np.isnan(table.gap["base"].low)
    assert table.difference["other"] == NOTHING
