"""Published marks beside ours: table 2 of the paper, nnU-Net v2 case by case."""

import shutil

import pandas as pd
import pytest
from leaderboard_records import BRATS, HIPPOCAMPUS, five, glioma_groups, planned

from gbmlib.cohorts import GLIOMA
from gbmlib.cohorts.decathlon import _PAIRS
from gbmlib.cohorts.folds import split
from gbmlib.pages import plots
from gbmlib.pages.leaderboard_marks import beside_paper, beside_second, marks
from gbmlib.study.records import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    return glioma_groups(Store(tmp_path_factory.mktemp("runs")))


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
    theirs = marks(HIPPOCAMPUS)[0]
    at = {"Anterior": 0.8987, "Posterior": 0.8820}

    # nnU-Net v2's cases, moved to the paper's means, plus 0.4 points.
    moved = (theirs - theirs.mean() + pd.Series(at) + 0.004).T.to_dict()

    def dice(case, region):
        return moved[case][region]

    groups = {"2D": [], "3D": of_hippocampus(store, 3, dice)}
    table, words, choice = beside_paper(groups, HIPPOCAMPUS, folder=facts)
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
    assert "Anterior -1.60, Posterior -1.60; not within 0.5 of it" in beside_paper(off, HIPPOCAMPUS, folder=facts)[1]
    assert list(beside_paper({}, HIPPOCAMPUS, folder=facts)[0].columns[:2]) == [
        "Anterior",
        "Posterior",
    ]


def test_gliomas_stand_in_the_order_of_the_decathlon(groups, facts):
    table = beside_paper(groups, BRATS, folder=facts)[0]
    assert list(table.columns) == ["oedema", "necrotic and non-enhancing core", "enhancing tumour", "mean", "cases"]
    assert table.loc["3D, Isensee et al. 2018"].tolist() == ["0.8071", "0.6222", "0.7907", "0.74000", 484]
    assert table.loc["2D + 3D, Isensee et al. 2018", "oedema"] == "0.8079"
    assert table.loc["3D, ours", "cases"] == 19
    with pytest.raises(ValueError, match="table 2 has 2 classes for Hippocampus, ours are necrotic"):
        beside_paper(groups, HIPPOCAMPUS, folder=facts)


# ----------------------------------------------------------------------------------------------- beside nnU-Net v2


def test_the_second_version_is_compared_case_by_case(groups):
    about, levels, title, changes, figure, caption = beside_second(groups, BRATS, ["3D", "2D"])
    assert "trained on about 387 others, ours on 15 or 16." in about
    assert "The folds are the same" not in about
    assert "Case Brats18_2013_2_1 (BRATS_290 in the Decathlon) is the same patient as BRATS_007" in about
    assert list(levels.index) == ["3D, nnU-Net v2, the same cases", "3D, ours", "2D, ours"]
    assert title == "**Ours minus nnU-Net v2**, paired by case:"
    assert [of.mean for of in changes["mean"]] == pytest.approx([-0.1, -0.3], abs=2e-4)
    assert -0.102 < changes.loc["3D", "oedema"].low < -0.1
    assert changes.decided.tolist() == ["lower", "lower"]
    assert list(changes)[-5:] == ["mean", "p (Holm)", "rank-biserial", "decided", "cases"]
    assert caption.startswith("*Dice of each case, 3D of this study beside nnU-Net v2. 3D: Dice lower by 0.100 (")
    theirs = marks(BRATS)[0].mean(axis=1)
    _, marked, ours = figure.data
    assert list(marked.x) == pytest.approx(theirs.loc[list(marked.y)])
    assert list(ours.x) == pytest.approx([of - 0.1 for of in marked.x], abs=2.1e-3)


def test_the_hippocampi_are_held_out_in_the_same_folds(store):
    theirs = marks(HIPPOCAMPUS)[0].T.to_dict()
    groups = {"3D": of_hippocampus(store, 3, lambda case, region: theirs[case][region] - 0.001)}
    about, _, _, changes, figure, _ = beside_second(groups, HIPPOCAMPUS)
    assert about == (
        "The nnU-Net v2 that held out these cases was trained on about 208 others, ours on 208. The folds are the same."
    )
    assert changes.loc["3D", ["decided", "cases"]].tolist() == ["lower, below 0.01", 260]
    assert len(figure.data) == 4  # two panels of a line and 260 points
    assert "nothing to compare" in beside_second({"3D": []}, HIPPOCAMPUS)[0]
    partly = {"3D": groups["3D"][:2]}
    assert "has no record of fold" in beside_second(partly, HIPPOCAMPUS)[0]
    changes = beside_second(partly, HIPPOCAMPUS, folds=[0, 1])[3]
    assert changes.cases["3D"] == 104
    assert beside_paper(partly, HIPPOCAMPUS, folds=[0, 1])[0].cases["3D, ours"] == 104


def test_cases_or_classes_without_a_mark_are_named(groups):
    with pytest.raises(ValueError, match=r"nnU-Net v2 for Hippocampus lacks Brats18_2013_11_1, .*oedema"):
        beside_second(groups, HIPPOCAMPUS)


class Named:
    """What splitting needs of a case."""

    has_label = True

    def __init__(self, name):
        self.id = self.patient = name


def test_the_marks_of_gliomas_are_of_the_decathlons_folds():
    """Cases and folds of the facts follow from nnU-Net's seed and the names of the 484; a twin lies in another fold."""
    dices, known = marks(BRATS)
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
    assert set(marks(BRATS)[0].index) == folders


def test_dumbbells_are_sorted_by_how_far_behind_we_are():
    ours, theirs = (pd.Series(values, list("abc")) for values in ([0.5, 0.9, 0.4], [0.6, 0.5, 0.9]))
    lines, marked, points = plots.dumbbells(ours, theirs, "3D", "nnU-Net v2").data
    assert list(points.y) == list(marked.y) == ["c", "a", "b"]
    assert list(points.x) == [0.4, 0.5, 0.9]
    assert list(lines.x)[:3] == [0.9, 0.4, None]
    assert list(lines.y)[:3] == ["c", "c", None]
