"""The leaderboard as the chapters show it: in words, switched, and beside published marks."""

from types import SimpleNamespace

import pandas as pd
import pytest
from leaderboard_records import BRATS, HIPPOCAMPUS, five, glioma_groups, planned, prose, tables, up

from gbmlib.analysis import leaderboard, published
from gbmlib.cohorts import GLIOMA
from gbmlib.pages import leaderboard_pages as pages
from gbmlib.study.records import Store
from gbmlib.training.ensemble import Ensemble


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("runs"))
    return store, glioma_groups(store)


@pytest.fixture
def groups(made):
    return dict(made[1])


def joined(groups, **options):
    """All that a leaderboard shows."""
    chosen, rests_on = pages.compared(groups, **options)
    return [*chosen, *rests_on]


def test_a_leaderboard_says_where_it_comes_from_and_what_it_chooses(groups):
    chosen, rests_on = pages.compared(groups)
    text = prose(rests_on)
    assert (
        "**brats2018-19**: 10 trained networks and 5 predictions made of them by averaging, mirroring or "
        "post-processing; 5 folds of 5, 1 seed; 15 minutes in all on a machine." in text
    )
    level = leaderboard.choose(leaderboard.read(groups)).level
    words, figure, caption = chosen
    assert words.startswith(f"**2D + 3D** is chosen: {level} against ")
    assert words.endswith(
        "of 3D, the next best. The difference, +0.000 (+0.000 to +0.001) on 19 cases: no difference above 0.03."
    )
    assert len(figure.data) == 2
    assert caption.startswith("*Mean Dice over classes, and 2D + 3D minus the others, paired by case.")
    assert "2D + 3D minus 3D: +0.000 (+0.000 to +0.001) on 19 cases, 1 seed; p" in text
    assert "With the cases drawn again (bootstrap), the choice falls on: 2D + 3D 6" in text
    assert "Where each fold is left to what the other folds choose, the mean is" in text
    table, others = tables(rests_on)
    assert list(table.columns[:4]) == [*GLIOMA.values(), "mean"]
    assert others["2D + 3D minus it"]["2D"].mean == pytest.approx(0.2 + 0.004 / 19)
    assert others.decided.to_dict() == {"3D": "no difference", "2D": "higher"}


def test_the_nested_regions_can_be_shown_too(groups):
    table = tables(pages.compared(groups, classes=["WT", "TC", "ET"])[1])[0]
    assert [cell.mean for cell in table["mean"]] == pytest.approx([0.99] * 3)
    tied = prose(joined(groups, classes=["WT", "TC", "ET"]))
    assert "**2D** is chosen" in tied
    assert "3D and 2D + 3D reached the same mean; ties go to fewer networks, then to the order of rows." in tied


def test_phantoms_decide_nothing(groups):
    text = prose(joined(groups, decides=False))
    assert "By the rule **2D + 3D** would be chosen." in text
    assert "difference" not in text


def test_what_is_missing_is_named_and_keeps_its_row(groups):
    groups["2D + 3D"] = groups["2D + 3D"][:3]
    groups["cascade"] = []
    shown = joined(groups)
    assert tables(shown)[0].folds.tolist() == ["5 of 5", "5 of 5", "3 of 5", "0 of 5"]
    assert "- **2D + 3D** has no record of fold 3, 4 with seed 0.\n- **cascade** has no record." in prose(shown)
    assert "**3D** is chosen" in prose(shown)
    alone = prose(joined({"3D": groups["3D"], "cascade": []}))
    assert "**3D** is the only candidate that can be compared: " in alone
    none = prose(joined({"3D": groups["3D"][:1]}))
    assert "*No row is complete yet, so there is no leaderboard.*" in none
    assert "- **3D** has no record of fold 1, 2, 3, 4 with seed 0." in none
    low = {"low resolution": groups["3D"]}
    assert "*No candidate can be compared" in prose(joined(low))
    assert "nothing to compare" in prose(joined({"3D": []}))


def test_a_switch_is_compared_with_its_own_network(store):
    runs = [planned(BRATS, 3, fold) for fold in range(5)]
    off = {"3D": five(store, runs, BRATS, up(-0.1)), "2D": []}
    ruled = [Ensemble(members=(of,), single_components=True) for of in runs]
    on = {"3D": five(store, ruled, BRATS, up(-0.1, 0.019))}
    found, table, text = pages.switched(off, on, "the rule")
    assert found.startswith("3D: no difference above 0.03, ")
    assert list(table.index) == ["3D"]
    assert table.loc["3D", "difference"].mean == pytest.approx(0.001)
    assert table.loc["3D", ["cases", "cases that change"]].tolist() == [19, 1]
    assert f"- **3D**: no difference above 0.03; {table.loc['3D', 'difference']} on 19 cases, 1 seed; p = " in text
    assert table.loc["3D", "decided"] == "no difference"
    [undecided] = pages.switched(off, on, "the rule", decides=False)
    assert "decided" not in undecided
    assert "No network has records with and without the rule yet" in pages.switched(off, {}, "the rule")[0]
    on["3D"] = on["3D"][1:]
    [problem] = pages.switched(off, on, "the rule")
    assert "**3D** cannot be compared (on: has no record of fold 0 with seed 0)" in problem
    asked = {label: records[-2:] for label, records in on.items()}
    _, table, _ = pages.switched({"3D": off["3D"][-2:]}, asked, "the rule", folds=[3, 4])
    assert table.loc["3D", "cases"] == 7


def test_what_the_rule_was_learned_for_is_counted_over_folds(groups):
    def ruled(single):
        experiment = SimpleNamespace(single_components=True, regions="labels")
        return SimpleNamespace(
            experiment=experiment, cases=groups["3D"][0].cases, provenance={"single_components": single}
        )

    said = pages.learned([ruled([3]), ruled([1, 3]), *groups["3D"]])
    assert said.endswith(
        "component: necrotic and non-enhancing core in 1 of 2 folds, oedema in 0 of 2 folds, "
        "enhancing tumour in 2 of 2 folds."
    )
    assert "No record with the single-component rule yet" in pages.learned(groups["3D"])


# ------------------------------------------------------------------------------------------------ published marks


def of_hippocampus(store, dimensions, dice):
    return five(store, [planned(HIPPOCAMPUS, dimensions, fold) for fold in range(5)], HIPPOCAMPUS, dice)


def test_the_hippocampus_beside_table_2(store):
    theirs = published.marks(HIPPOCAMPUS)[0]
    at = {"Anterior": 0.8987, "Posterior": 0.8820}

    # nnU-Net v2's cases, moved to the paper's means, plus 0.4 points.
    moved = (theirs - theirs.mean() + pd.Series(at) + 0.004).T.to_dict()

    def dice(case, region):
        return moved[case][region]

    groups = {"2D": [], "3D": of_hippocampus(store, 3, dice)}
    table, words, choice = pages.beside_paper(groups, HIPPOCAMPUS)
    assert list(table.index) == [
        "2D, Isensee et al. 2018",
        "3D, ours",
        "3D, Isensee et al. 2018",
        "2D + 3D, Isensee et al. 2018",
    ]
    assert table.loc["3D, Isensee et al. 2018"].tolist() == ["0.8987", "0.8820", "0.89035", 260]
    assert table.loc["3D, ours", "Anterior"].mean == pytest.approx(0.9027)
    assert words.endswith("- **3D**: Anterior +0.40, Posterior +0.40; within 0.5 of it in every class.")
    assert choice == (
        "Of the paper's own rows its rule takes **3D**: 0.89035, against 0.88935 of 2D + 3D, against 0.87610 of 2D."
    )
    off = {"3D": of_hippocampus(store, 2, lambda case, region: dice(case, region) - 0.02)}
    assert "Anterior -1.60, Posterior -1.60; not within 0.5 of it" in pages.beside_paper(off, HIPPOCAMPUS)[1]
    assert list(pages.beside_paper({}, HIPPOCAMPUS)[0].columns[:2]) == [
        "Anterior",
        "Posterior",
    ]


def test_gliomas_stand_in_the_order_of_the_decathlon(groups):
    table = pages.beside_paper(groups, BRATS)[0]
    assert list(table.columns) == ["oedema", "necrotic and non-enhancing core", "enhancing tumour", "mean", "cases"]
    assert table.loc["3D, Isensee et al. 2018"].tolist() == ["0.8071", "0.6222", "0.7907", "0.74000", 484]
    assert table.loc["2D + 3D, Isensee et al. 2018", "oedema"] == "0.8079"
    assert table.loc["3D, ours", "cases"] == 19
    with pytest.raises(ValueError, match="table 2 has Anterior, Posterior for Hippocampus, ours are necrotic"):
        pages.beside_paper(groups, HIPPOCAMPUS)


def test_the_second_version_is_compared_case_by_case(groups):
    about, levels, title, changes, figure, caption = pages.beside_second(groups, BRATS, ["3D", "2D"])
    assert "trained on about 387 others, ours on 15 or 16." in about
    assert "The folds are the same" not in about
    assert "Case Brats18_2013_2_1 (BRATS_290 in the Decathlon) is the same patient as BRATS_007" in about
    assert list(levels.index) == ["3D, nnU-Net v2, the same cases", "3D, ours", "2D, ours"]
    assert title == "**Ours minus nnU-Net v2**, paired by case:"
    assert [of.mean for of in changes["mean"]] == pytest.approx([-0.1, -0.3], abs=2e-4)
    assert -0.102 < changes.loc["3D", "oedema"].low < -0.1
    assert changes.decided.tolist() == ["lower", "lower"]
    assert list(changes)[-5:] == ["decided", "mean", "p (Holm)", "rank-biserial", "cases"]
    assert caption.startswith("*Dice of each case, 3D of this study beside nnU-Net v2. 3D: Dice lower by 0.100 (")
    theirs = published.marks(BRATS)[0].mean(axis=1)
    _, marked, ours = figure.data
    assert list(marked.x) == pytest.approx(theirs.loc[list(marked.y)])
    assert list(ours.x) == pytest.approx([of - 0.1 for of in marked.x], abs=2.1e-3)


def test_the_hippocampi_are_held_out_in_the_same_folds(store):
    theirs = published.marks(HIPPOCAMPUS)[0].T.to_dict()
    groups = {"3D": of_hippocampus(store, 3, lambda case, region: theirs[case][region] - 0.001)}
    about, _, _, changes, figure, _ = pages.beside_second(groups, HIPPOCAMPUS)
    assert about == (
        "The nnU-Net v2 that held out these cases was trained on about 208 others, ours on 208. The folds are the same."
    )
    assert changes.loc["3D", ["decided", "cases"]].tolist() == ["lower, below 0.01", 260]
    assert len(figure.data) == 4  # two panels of a line and 260 points
    assert "nothing to compare" in pages.beside_second({"3D": []}, HIPPOCAMPUS)[0]
    partly = {"3D": groups["3D"][:2]}
    assert "has no record of fold" in pages.beside_second(partly, HIPPOCAMPUS)[0]


def test_cases_or_classes_without_a_mark_are_named(groups):
    with pytest.raises(ValueError, match=r"nnU-Net v2 for Hippocampus lacks Brats18_2013_11_1, .*oedema"):
        pages.beside_second(groups, HIPPOCAMPUS)
