"""The leaderboard as the chapters show it: in words, switched, and beside published marks."""

import shutil
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from gbmlib import leaderboard_figures, selection
from gbmlib import leaderboard_pages as pages
from gbmlib.cohorts import GLIOMA
from gbmlib.cohorts.decathlon import _PAIRS
from gbmlib.ensemble import Ensemble
from gbmlib.experiments import paper_b
from gbmlib.folds import split
from gbmlib.intervals import difference_interval
from gbmlib.records import Store

BRATS, HIPPOCAMPUS = "BrainTumour", "Hippocampus"
CLASSES = {BRATS: tuple(GLIOMA.values()), HIPPOCAMPUS: ("Anterior", "Posterior")}
PLANNED = {BRATS: paper_b.glioma, HIPPOCAMPUS: paper_b.hippocampus}


@lru_cache
def planned(task, dimensions, fold):
    return PLANNED[task]("study", dimensions, (fold,))[0]


def record(store, experiment, dice, cases, trained=()):
    """A made-up record of a real configuration, with ``dice(case, region)``."""
    nested = ("WT", "TC", "ET") if experiment.cohort.startswith("brats") else ()
    classes = CLASSES[BRATS] if nested else CLASSES[HIPPOCAMPUS]
    rows = [
        (case, part, region, "dice", dice(case, region) if region in classes else 0.99)
        for part, of in (("train", trained), ("held out", cases))
        for case in of
        for region in (*classes, *nested)
    ]
    made = {"seconds": 60, "device": "a machine", "numerics": 1, "fingerprint": "x", "cases": len(cases)}
    return store.finish(
        experiment,
        pd.DataFrame({"epoch": [0]}),
        pd.DataFrame(rows, columns=["case", "split", "region", "metric", "value"]),
        made,
    )


def five(store, experiments, task, dice):
    """Five folds on the cases of the published marks, in those marks' folds for the hippocampus, else dealt out."""
    known = pages.marks(task)[1]
    fold_of = known.fold if task == HIPPOCAMPUS else pd.Series(np.arange(len(known)) % 5, known.index)
    return [
        record(store, of, dice, list(fold_of.index[fold_of == of.fold]), list(fold_of.index[fold_of != of.fold]))
        for of in experiments
    ]


def up(value, of_first=0.0):
    """nnU-Net v2's Dice of each glioma plus a value, give or take a little, and something more for the first case."""
    theirs = pages.marks(BRATS)[0]
    shift = {case: value + 0.001 * (number % 5 - 2) for number, case in enumerate(theirs.index)}
    shift[theirs.index[0]] += of_first
    moved = (theirs.T + pd.Series(shift)).to_dict()
    return lambda case, region: moved[case][region]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three rows of the gliomas; the pair is 0.004 better than 3D, in one case alone."""
    store = Store(tmp_path_factory.mktemp("runs"))
    two, three = ([planned(BRATS, d, fold) for fold in range(5)] for d in (2, 3))
    both = [Ensemble(members=pair) for pair in zip(two, three, strict=True)]
    return store, {
        "2D": five(store, two, BRATS, up(-0.3)),
        "3D": five(store, three, BRATS, up(-0.1)),
        "2D + 3D": five(store, both, BRATS, up(-0.1, 0.004)),
    }


@pytest.fixture
def groups(made):
    return dict(made[1])


def prose(shown):
    return "\n".join(part for part in shown if isinstance(part, pages.Prose))


def tables(shown):
    return [part for part in shown if isinstance(part, pd.DataFrame)]


def test_a_leaderboard_says_where_it_comes_from_and_what_it_chooses(groups):
    shown = pages.compared(groups)
    text = prose(shown)
    assert (
        "**brats2018-19**: 10 trained networks and 5 predictions made of them by averaging, mirroring or "
        "post-processing; 5 folds of 5, 1 seed; 15 minutes in all on a machine." in text
    )
    level = selection.choose(selection.leaderboard(groups)).level
    assert f"**2D + 3D** is chosen: {level} against " in text
    assert "of 3D, the next best; difference +0.000 (+0.000 to +0.001), no difference above 0.01 Dice over 19" in text
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
    assert "*No candidate can be compared (3D: has no record of fold 1, 2, 3, 4 with seed 0).*" in none
    assert "nothing to compare" in prose(pages.compared({"3D": []}))


def test_published_records_are_found_and_what_a_scale_lacks_keeps_its_row(made):
    store, _ = made

    def wanted(profile):
        runs = {label: [planned(BRATS, int(label[0]), fold) for fold in range(5)] for label in ("2D", "3D")}
        return runs | {"2D, other": [runs["2D"][0].changed(seed=7)]} if profile == "study" else {}

    table = tables(pages.all_published(wanted, store, "cascade"))[0]
    assert table.folds.to_dict() == {"2D": "5 of 5", "3D": "5 of 5", "2D, other": "0 of 5"}
    assert "--only cascade" in pages.all_published(lambda profile: {}, store, "cascade")[0]
    assert "msd:PATH --only folds" in pages.all_published(lambda profile: {}, store, "folds", "msd:PATH")[0]


def test_a_switch_is_compared_with_its_own_network(store):
    runs = [planned(BRATS, 3, fold) for fold in range(5)]
    off = {"3D": five(store, runs, BRATS, up(-0.1)), "2D": []}
    ruled = [Ensemble(members=(of,), single_components=True) for of in runs]
    on = {"3D": five(store, ruled, BRATS, up(-0.1, 0.019))}
    table, text = pages.switched(off, on, "the rule")
    assert list(table.index) == ["3D"]
    assert table.loc["3D", "difference"].mean == pytest.approx(0.001)
    assert table.loc["3D", ["cases", "cases that change"]].tolist() == [19, 1]
    change = difference_interval([0.019] + 18 * [0])
    assert f"- **3D**: no difference above 0.01 Dice; {change}, 1 of 19 cases change." in text
    assert len(pages.switched(off, on, "the rule", decides=False)) == 1
    assert "No network has records with and without the rule yet" in pages.switched(off, {}, "the rule")[0]
    on["3D"] = on["3D"][1:]
    [problem] = pages.switched(off, on, "the rule")
    assert "**3D** cannot be compared (on: has no record of fold 0 with seed 0)" in problem


# -------------------------------------------------------------------------------------------------- beside the paper


@pytest.fixture
def facts(tmp_path):
    """The published facts, with the pairs that table 2 of the paper lists."""
    folder = shutil.copytree("book/facts", tmp_path / "facts")
    path = folder / "isensee2018_table_2.csv"
    lines = path.read_text().splitlines()
    for task, dices in ((HIPPOCAMPUS, (89.78, 88.09)), (BRATS, (80.79, 61.72, 79.16))):
        lines += [f"{task},2D + 3D,{label},{dice}" for label, dice in enumerate(dices, 1)]
    path.write_text("\n".join(dict.fromkeys(lines)) + "\n")
    return folder


def of_hippocampus(store, dimensions, dice):
    return five(store, [planned(HIPPOCAMPUS, dimensions, fold) for fold in range(5)], HIPPOCAMPUS, dice)


def test_the_hippocampus_beside_table_2(store, facts):
    theirs = pages.marks(HIPPOCAMPUS)[0]
    at = {"Anterior": 0.8987, "Posterior": 0.8820}

    # nnU-Net v2's cases, moved to the paper's means, plus 0.4 points.
    moved = (theirs - theirs.mean() + pd.Series(at) + 0.004).T.to_dict()

    def dice(case, region):
        return moved[case][region]

    groups = {"2D": [], "3D": of_hippocampus(store, 3, dice)}
    table, words, choice = pages.beside_paper(groups, HIPPOCAMPUS, facts)
    assert list(table.index) == [
        "2D, Isensee et al. 2018",
        "3D, ours",
        "3D, Isensee et al. 2018",
        "2D + 3D, Isensee et al. 2018",
    ]
    assert table.loc["3D, Isensee et al. 2018"].tolist() == ["0.8987", "0.8820", "0.89035", 260]
    assert table.loc["3D, ours", "Anterior"].mean == pytest.approx(0.9027)
    assert words.endswith("- **3D**: Anterior +0.40, Posterior +0.40; within 0.5 in every class.")
    assert choice == (
        "Of the paper's own rows its rule takes **3D**: 0.89035, against 0.88935 of 2D + 3D, against 0.87610 of 2D."
    )
    off = {"3D": of_hippocampus(store, 2, lambda case, region: dice(case, region) - 0.02)}
    assert "Anterior -1.60, Posterior -1.60; not within 0.5" in pages.beside_paper(off, HIPPOCAMPUS, facts)[1]
    assert list(pages.beside_paper({}, HIPPOCAMPUS, facts)[0].columns[:2]) == ["Anterior", "Posterior"]


def test_gliomas_stand_in_the_order_of_the_decathlon(groups, facts):
    table = pages.beside_paper(groups, BRATS, facts)[0]
    assert list(table.columns) == ["oedema", "necrotic and non-enhancing core", "enhancing tumour", "mean", "cases"]
    assert table.loc["3D, Isensee et al. 2018"].tolist() == ["0.8071", "0.6222", "0.7907", "0.74000", 484]
    assert table.loc["2D + 3D, Isensee et al. 2018", "oedema"] == "0.8079"
    assert table.loc["3D, ours", "cases"] == 19
    with pytest.raises(ValueError, match="table 2 has 2 classes for Hippocampus, ours are necrotic"):
        pages.beside_paper(groups, HIPPOCAMPUS, facts)


# ----------------------------------------------------------------------------------------------- beside nnU-Net v2


def test_the_second_version_is_compared_case_by_case(groups):
    about, levels, title, changes, figure = pages.beside_second(groups, BRATS, ["3D", "2D"])
    assert "trained on about 387 others, ours on 15 or 16." in about
    assert "The folds are the same" not in about
    assert "Case Brats18_2013_2_1 (BRATS_290 in the Decathlon) is the same patient as BRATS_007" in about
    assert list(levels.index) == ["3D, nnU-Net v2, the same cases", "3D, ours", "2D, ours"]
    assert title == "**Ours minus nnU-Net v2**, paired by case:"
    assert [of.mean for of in changes["mean"]] == pytest.approx([-0.1, -0.3], abs=2e-4)
    assert -0.102 < changes.loc["3D", "oedema"].low < -0.1
    assert changes.decided.tolist() == ["lower", "lower"]
    theirs = pages.marks(BRATS)[0].mean(axis=1)
    _, marked, ours = figure.data
    assert list(marked.x) == pytest.approx(theirs.loc[list(marked.y)])
    assert list(ours.x) == pytest.approx([of - 0.1 for of in marked.x], abs=2.1e-3)


def test_the_hippocampi_are_held_out_in_the_same_folds(store):
    theirs = pages.marks(HIPPOCAMPUS)[0].T.to_dict()
    groups = {"3D": of_hippocampus(store, 3, lambda case, region: theirs[case][region] - 0.001)}
    about, _, _, changes, figure = pages.beside_second(groups, HIPPOCAMPUS)
    assert about == (
        "The nnU-Net v2 that held out these cases was trained on about 208 others, ours on 208. The folds are the same."
    )
    assert changes.loc["3D", ["decided", "cases"]].tolist() == ["no difference", 260]
    assert len(figure.data) == 4  # two panels of a line and 260 points
    assert "nothing to compare" in pages.beside_second({"3D": []}, HIPPOCAMPUS)[0]
    assert "has no record of fold" in pages.beside_second({"3D": groups["3D"][:2]}, HIPPOCAMPUS)[0]


def test_cases_or_classes_without_a_mark_are_named(groups):
    with pytest.raises(ValueError, match=r"nnU-Net v2 for Hippocampus lacks Brats18_2013_11_1, .*oedema"):
        pages.beside_second(groups, HIPPOCAMPUS)


class Named:
    """What splitting needs of a case."""

    has_label = True

    def __init__(self, name):
        self.id = self.patient = name


def test_the_marks_of_gliomas_are_of_the_decathlons_folds():
    """Cases and folds of the facts follow from nnU-Net's seed and the names of the 484; a twin lies in another fold."""
    dices, known = pages.marks(BRATS)
    assert list(dices) == list(GLIOMA.values())
    assert dices.mean().round(3).tolist() == [0.757, 0.808, 0.858]
    assert ((dices > 0) & (dices < 1)).all(axis=None)
    names = [Named(f"BRATS_{number:03d}") for number in range(1, 485)]
    fold_of = {name: fold for fold in range(5) for name in split(names, 5, fold)[1]}
    assert known.fold.to_dict() == {case: fold_of[name] for case, name in known.decathlon.items()}
    twins = known[known.twin.notna()]
    assert {of.decathlon[-3:]: of.twin[-3:] for of in twins.itertuples()} == {
        name[-3:]: _PAIRS[name[-3:]] for name in known.decathlon if name[-3:] in _PAIRS
    }
    assert [fold_of[of.twin] for of in twins.itertuples()] == twins.twin_fold.tolist() == [3]


def test_the_marks_are_those_of_the_cases_at_hand(brats_folder):
    folders = {path.name for path in (brats_folder / "HGG").iterdir() if path.is_dir()}
    assert set(pages.marks(BRATS)[0].index) == folders


# ------------------------------------------------------------------------------------------------------------- figures


def test_standings_show_the_chosen_one_first_and_candidates_filled(groups):
    groups["low resolution"] = groups.pop("2D")
    choice = selection.choose(selection.leaderboard(groups))
    figure = leaderboard_figures.standings(choice)
    levels, behind = figure.data
    assert list(levels.y) == ["2D + 3D", "3D", "low resolution"]
    assert list(levels.marker.symbol) == ["star", "circle", "circle-open"]
    assert list(behind.x) == [of.mean for of in choice.others.difference]
    assert len(figure.layout.shapes) == 2  # the margin and zero


def test_dumbbells_are_sorted_by_how_far_behind_we_are():
    ours, theirs = (pd.Series(values, list("abc")) for values in ([0.5, 0.9, 0.4], [0.6, 0.5, 0.9]))
    lines, marked, points = leaderboard_figures.dumbbells(ours, theirs, "3D").data
    assert list(points.y) == list(marked.y) == ["c", "a", "b"]
    assert list(points.x) == [0.4, 0.5, 0.9]
    assert list(lines.x)[:3] == [0.9, 0.4, None]
    assert list(lines.y)[:3] == ["c", "c", None]
