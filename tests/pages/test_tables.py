"""Tables that several chapters show: a row a group, cells that print themselves, what was not measured left empty."""

import numpy as np
import pytest
from grouped_records import BASE, group

from gbmlib.analysis import family, scores
from gbmlib.analysis.family import contrasts
from gbmlib.pages import tables


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
    assert list(undecided.columns[:3]) == ["Dice", "difference", "WT"]


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
