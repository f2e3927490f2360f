"""The leaderboard as the chapters show it: in words, and switched."""

from types import SimpleNamespace

import pytest
from leaderboard_records import BRATS, five, glioma_groups, planned, prose, tables, up

from gbmlib.analysis import leaderboard
from gbmlib.cohorts import GLIOMA
from gbmlib.pages import leaderboard_pages as pages
from gbmlib.pages.plots import DECIDED
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


def test_a_leaderboard_says_where_it_comes_from_and_what_it_chooses(groups):
    shown = pages.compared(groups)
    text = prose(shown)
    assert (
        "**brats2018-19**: 10 trained networks and 5 predictions made of them by averaging, mirroring or "
        "post-processing; 5 folds of 5, 1 seed; 15 minutes in all on a machine." in text
    )
    level = leaderboard.choose(leaderboard.read(groups)).level
    assert f"**2D + 3D** is chosen: {level} against " in text
    assert "of 3D, the next best: no difference above 0.03; +0.000 (+0.000 to +0.001) on 19 cases, 1 seed; p" in text
    assert "*Mean Dice over classes, and 2D + 3D minus the others. 2D + 3D against 2D: Dice higher by 0.200 (" in text
    assert "19 cases. No difference above 0.03: 2D + 3D against 3D.*" in text
    assert "With the cases drawn again (bootstrap), the choice falls on: 2D + 3D 6" in text
    assert "Where each fold is left to what the other folds choose, the mean is" in text
    table, others = tables(shown)
    assert list(table.columns[:4]) == [*GLIOMA.values(), "mean"]
    assert others["2D + 3D minus it"]["2D"].mean == pytest.approx(0.2 + 0.004 / 19)
    assert others.decided.to_dict() == {"3D": "no difference", "2D": "higher"}


def test_the_nested_regions_can_be_shown_too(groups):
    table = tables(pages.compared(groups, classes=["WT", "TC", "ET"]))[0]
    assert [cell.mean for cell in table["mean"]] == pytest.approx([0.99] * 3)
    assert "2D is chosen" not in prose(pages.compared(groups))
    tied = prose(pages.compared(groups, classes=["WT", "TC", "ET"]))
    assert "**2D** is chosen" in tied
    assert "3D and 2D + 3D reached the same mean; ties go to fewer networks, then to the order of rows." in tied


def test_phantoms_decide_nothing(groups):
    text = prose(pages.compared(groups, decides=False))
    assert "By the rule **2D + 3D** would be chosen." in text
    assert "difference" not in text


def test_what_is_missing_is_named_and_keeps_its_row(groups):
    groups["2D + 3D"] = groups["2D + 3D"][:3]
    groups["cascade"] = []
    shown = pages.compared(groups)
    assert tables(shown)[0].folds.tolist() == ["5 of 5", "5 of 5", "3 of 5", "0 of 5"]
    assert "- **2D + 3D** has no record of fold 3, 4 with seed 0.\n- **cascade** has no record." in prose(shown)
    assert "**3D** is chosen" in prose(shown)
    alone = prose(pages.compared({"3D": groups["3D"], "cascade": []}))
    assert "**3D** is the only candidate that can be compared: " in alone
    none = prose(pages.compared({"3D": groups["3D"][:1]}))
    assert "*No row is complete yet, so there is no leaderboard.*" in none
    assert "- **3D** has no record of fold 1, 2, 3, 4 with seed 0." in none
    assert "*No candidate can be compared" in prose(pages.compared(groups, candidates=["cascade"]))
    assert "nothing to compare" in prose(pages.compared({"3D": []}))


def test_published_records_are_found_and_what_a_scale_lacks_keeps_its_row(made):
    store, _ = made

    def wanted(profile):
        runs = {label: [planned(BRATS, int(label[0]), fold) for fold in range(5)] for label in ("2D", "3D")}
        return runs | {"2D, other": [runs["2D"][0].changed(seed=7)]} if profile == "short" else {}

    table = tables(pages.all_published(wanted, store, "cascade"))[0]
    assert table.folds.to_dict() == {"2D": "5 of 5", "3D": "5 of 5", "2D, other": "0 of 5"}
    assert "**2D** is the only candidate" in prose(pages.all_published(wanted, store, "cascade", candidates=["2D"]))
    missing = pages.all_published(lambda profile: {}, store, "hippocampus-folds")[0]
    assert "python -m gbmlib run msd:PATH --only hippocampus-folds" in missing


def test_a_switch_is_compared_with_its_own_network(store):
    runs = [planned(BRATS, 3, fold) for fold in range(5)]
    off = {"3D": five(store, runs, BRATS, up(-0.1)), "2D": []}
    ruled = [Ensemble(members=(of,), single_components=True) for of in runs]
    on = {"3D": five(store, ruled, BRATS, up(-0.1, 0.019))}
    table, text = pages.switched(off, on, "the rule")
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


# ------------------------------------------------------------------------------------------------------------- figures


def test_standings_show_the_chosen_one_first_and_candidates_filled(groups):
    groups["low resolution"] = groups.pop("2D")
    choice = leaderboard.choose(leaderboard.read(groups))
    figure = pages.standings(choice)
    levels, behind = figure.data
    assert list(levels.y) == ["2D + 3D", "3D", "low resolution"]
    assert list(levels.marker.symbol) == ["star", "circle", "circle-open"]
    assert list(behind.x) == [of.mean for of in choice.others.difference]
    assert list(behind.marker.color) == [DECIDED[word] for word in choice.others.decided]
    assert len(figure.layout.shapes) == 2  # the margin and zero
