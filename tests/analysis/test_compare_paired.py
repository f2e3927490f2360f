"""Paired comparisons from records: which tables they make, and what they refuse."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from grouped_records import configured

from gbmlib.analysis import intervals, paired, scores

BASE = {"a": 0.5, "b": 0.7, "c": 0.2, "d": 0.9}
HELD = {0: ("a", "b"), 1: ("c", "d")}


def run(fold, seed, change=0.0, regions=("WT", "ET"), trained=0.95, cohort="gliomas", held=HELD):
    rows = [
        (case, split, region, metric, value + offset)
        for split, cases in (("held out", held[fold]), ("train", held[1 - fold]))
        for case in cases
        for number, region in enumerate(regions)
        for metric, offset in (("dice", 0.0), ("recall", 0.02))
        for value in [(BASE[case] + change + 0.1 * number) if split == "held out" else trained]
    ]
    cases = pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"])
    history = pd.DataFrame({"epoch": [0]})
    experiment = configured(fold, seed, cohort=cohort)
    return SimpleNamespace(id=f"{fold}-{seed}", cases=cases, history=history, experiment=experiment, store=None)


def group(change=0.0, seeds=(0,), folds=(0, 1), **options):
    return [run(fold, seed, change + 0.01 * seed, **options) for seed in seeds for fold in folds]


def test_a_table_has_a_row_a_case_and_a_column_a_seed():
    table = scores.by_seed(group(seeds=(0, 1)))
    assert list(table) == [0, 1]
    assert table[0].to_dict() == pytest.approx({case: value + 0.05 for case, value in BASE.items()})
    assert (table[1] - table[0]).tolist() == pytest.approx([0.01] * 4)
    assert scores.by_seed(group(), regions=["ET"])[0]["a"] == pytest.approx(0.6)


def test_a_seed_without_a_fold_has_no_value_there():
    table = scores.by_seed([*group(), run(0, 1)])
    assert table[1].isna().to_dict() == {"a": False, "b": False, "c": True, "d": True}


def test_the_gap_is_between_a_case_and_itself():
    gap = scores.by_seed(group(), regions=["WT"], split=scores.GAP)
    assert gap[0].to_dict() == pytest.approx({case: 0.95 - value for case, value in BASE.items()})
    found = paired.compare(group(), group(trained=0.9), regions=["WT"], split=scores.GAP)
    assert found.difference.mean == pytest.approx(-0.05)


def test_records_and_tables_say_the_same():
    base, other = group(seeds=(0, 1)), group(0.03, seeds=(0, 1))
    tables = scores.by_seed(base), scores.by_seed(other)
    over = intervals.over_networks(*tables, scores.folds_of(base))
    assert str(paired.compare(base, other)) == str(paired.compare_tables(*tables, networks=over))
    assert paired.compare(base, other).difference.mean == pytest.approx(0.03)
    assert paired.compare(base, other, metric="recall").cases == 4


def test_only_shared_regions_count():
    found = paired.compare(group(), group(0.1, regions=("WT", "TC")))
    assert found.difference.mean == pytest.approx(0.1)
    with pytest.raises(scores.UnpairedError, match="none is shared"):
        paired.compare(group(), group(), regions=["oedema"])


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(scores.UnpairedError, match="the other has not, in fold 1 of 2: c, d"):
        paired.compare(group(), group(folds=(0,)))
    with pytest.raises(scores.UnpairedError, match="of gliomas, the other of livers"):
        paired.compare(group(), group(cohort="livers"))
    with pytest.raises(scores.UnpairedError, match="several runs of fold 0 with seed 0"):
        paired.compare(group(), [*group(), run(0, 0)])
    swapped = group(held={0: ("c", "d"), 1: ("a", "b")})
    with pytest.raises(scores.UnpairedError, match="cannot be paired"):
        paired.compare(group(), swapped)
    missed = group()
    missed[0].cases.loc[missed[0].cases.case == "a", "value"] = np.nan
    with pytest.raises(scores.UnpairedError, match="the other has no value for: a"):
        paired.compare(group(), missed)


def test_on_another_cohort_an_average_stands_against_each_of_its_members():
    def measured(fold, values):
        one = run(fold % 2, 0)
        one.experiment = configured(fold, 0, folds=5, cohort="gliomas")
        rows = [(case, "brats2021-11", "WT", "dice", value) for case, value in values.items()]
        one.cases = pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"])
        return one

    single = [measured(fold, {"x": 0.5 + 0.01 * fold, "y": 0.6, "z": 0.4}) for fold in range(5)]
    averaged = [measured(0, {"x": 0.6, "y": 0.7, "z": 0.5})]
    found = paired.compare(single, averaged, split="brats2021-11")
    # The members' mean of x is 0.52, so the cases differ by 0.08, 0.1 and 0.1; the networks by 0.1 less a third of
    # 0.00 to 0.04.
    assert found.difference.mean == pytest.approx(0.28 / 3)
    assert (found.cases, found.networks.pairs) == (3, 5)
    half = 2.776 * np.std([0.01 * fold / 3 for fold in range(5)], ddof=1) / 5**0.5
    assert found.networks.difference.mean == pytest.approx(0.28 / 3)
    assert found.networks.difference.low == pytest.approx(0.28 / 3 - half, abs=1e-5)
    turned = paired.compare(averaged, single, split="brats2021-11")
    assert turned.networks.difference.high == pytest.approx(-found.networks.difference.low)
    with pytest.raises(scores.UnpairedError, match="the other has not, in brats2021-11: z"):
        paired.compare(single, [measured(0, {"x": 0.6, "y": 0.7})], split="brats2021-11")
