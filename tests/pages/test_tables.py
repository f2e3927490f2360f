"""Tables of comparisons: a row a group, cells that print themselves, what was not measured left empty. Tables of
configurations, counted by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from grouped_records import BASE, group

from gbmlib.analysis import family, scores
from gbmlib.analysis.family import contrasts
from gbmlib.pages import tables
from gbmlib.study import head_to_head, nnunet


def test_the_table_of_a_comparison_has_a_row_a_variant():
    table = tables.comparison({"base": group(seeds=(0, 2)), "other": group(0.1)})
    assert table.loc["base", "runs"] == 10
    assert table.loc["base", "Dice"].mean == pytest.approx(np.mean(list(BASE.values())))
    assert table.loc["base", "minutes a run"] == 2.5
    assert table.loc["base", "parameters (million)"] == 1.5
    assert table.loc["base", ["difference", "p", "decided"]].tolist() == ["", "", ""]
    assert table.loc["other", ["p", "rank-biserial", "decided"]].tolist() == ["0.008", "+1.00", "higher"]
    # Cells print themselves in a page.
    assert str(table.loc["other", "difference"]) in table.to_html()
    undecided = tables.comparison({"base": group(), "other": group(0.1)}, decides=False)
    assert list(undecided.columns[:3]) == ["difference", "Dice", "WT"]


def test_means_of_a_comparison_are_over_the_regions_that_all_groups_measured():
    """Exclusive labels are measured on the nested regions too; their own labels stay out of a comparison."""
    groups = {
        "nested": group(),
        "labels": group(0.1, regions=("oedema", "WT")),
        "more": group(0.3, regions=("oedema", "WT")),
    }
    for label in ("labels", "more"):
        for of in groups[label]:
            of.cases.loc[of.cases.region == "oedema", "value"] = 0.0
    table = tables.comparison(groups)
    assert "oedema" not in table
    assert table.loc["more", "Dice"] == table.loc["more", "WT"] == scores.levels(groups)["more"]
    assert contrasts(groups, "previous").difference["more"].mean == pytest.approx(0.2)
    assert family.gaps(groups).gap["labels"].mean == pytest.approx(0.95 - np.mean(list(BASE.values())) - 0.1)


def test_without_a_shared_region_each_group_has_its_own():
    table = tables.comparison({"one": group(), "other": group(regions=("oedema",))})
    assert table.loc["one", "oedema"] == table.loc["other", "WT"] == ""
    assert str(table.loc["other", "difference"]) == "not comparable"


# ------------------------------------------------------------------------------------------------------ configurations


@pytest.fixture
def wanted():
    return head_to_head.cells("short", folds=(0, 1))


def test_the_pipelines_are_told_from_their_configurations(wanted):
    table = tables.pipelines(wanted)
    a, b = table["pipeline A"], table["pipeline B"]
    assert (a["patch (z, y, x)"], b["patch (z, y, x)"]) == ("48 x 48 x 48", "48 x 64 x 48")
    assert (a.classes, b.classes) == ("nested regions", "exclusive labels")
    assert a.penalty == "1e-05 x sum of squared kernels"
    assert a["course of the rate"] == "polynomial, 4 epochs of warm-up"
    assert b["augmentation"] == "rotation, scaling, elastic, gamma, mirror"
    assert (a.inference, b.inference) == ("once", "averaged over mirrorings")
    alike = [name for name in table.index if table.loc[name, ""] == "the same"]
    assert alike == ["grid (mm)", "resampling", "normalisation"]


def test_steps_and_voxels_are_counted_from_the_configurations(wanted):
    run, _ = wanted["V-Net", "A"][:2]
    records = [SimpleNamespace(provenance={"seconds": of}, experiment=run, store=None) for of in (90, 150)]
    table = tables.costs(wanted, {("V-Net", "A"): records})
    row = table.loc["V-Net under pipeline A"]
    # 15 of the 19 cases, 60 times, one patch of 48 x 64 x 48 each.
    assert (row.steps, row.patches, row["voxels (million)"]) == ("900", "900", "133")
    assert (row["minutes a run"], row.threads) == ("2.0", "2")
    row = table.loc["SegVAE under pipeline B"]
    # 8 epochs of 50 batches of two.
    assert (row.steps, row.patches, row["voxels (million)"], row.batch) == ("400", "800", "118", 2)
    assert row["minutes a run"] == ""
    assert (row["peak rate"], row["warm-up (epochs)"]) == ("0.003", 0)


def test_cases_of_a_fold_are_those_that_the_split_leaves():
    of = head_to_head.cells("short")["U-Net", "A"]
    assert [tables.training_cases(e) for e in of] == [15, 15, 15, 15, 16]


def test_a_row_has_every_label_their_mean_and_the_cases():
    dices = pd.DataFrame({"x": [0.2, 0.4], "y": [0.6, 1.0]})
    row, printed = tables.levels(dices), tables.printed(dices.mean(), 2)
    assert list(row) == list(printed) == ["x", "y", "mean", "cases"]
    assert [row[name].mean for name in ("x", "y", "mean")] == pytest.approx([0.3, 0.8, 0.55])
    assert list(printed.values()) == ["0.3000", "0.8000", "0.5500", 2]
    assert row["cases"] == 2


def test_how_planned_networks_are_trained():
    table = tables.trained({f"{d}D": nnunet.hippocampus("short", d) for d in (2, 3)})
    assert table.loc["2D", ["patch (z, y, x)", "batch", "Dice of"]].tolist() == ["1 x 56 x 40", 366, "the whole batch"]
    assert table.loc["3D", ["patch (z, y, x)", "batch", "Dice of"]].tolist() == ["40 x 56 x 40", 9, "each sample"]
    assert table.loc["3D", "filters"] == 30
