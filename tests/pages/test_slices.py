"""Slices against volumes: thicker and thicker slices as table, figure and words, and the steps that slices leave."""

import numpy as np
import pandas as pd
import pytest
from grouped_records import HELD_OUT_IN, hardness, stored

from gbmlib.analysis.intervals import NOTHING, Difference
from gbmlib.pages import slices
from gbmlib.pages.text import Prose
from gbmlib.study import nnunet_ablations
from gbmlib.study.records import Store


@pytest.fixture
def sweep(tmp_path):
    """3D loses 0.02 a mm, 2D begins 0.094 lower and loses nothing: they meet at 4.7 mm over the thinnest slices."""
    store = Store(tmp_path)
    groups = {}
    for (name, at), folds in nnunet_ablations.anisotropy("short", range(5)).items():
        level = 0.506 + 1e-12 * at if name == "2D" else 0.6 - 0.02 * (at - 1.5)  # no two networks score quite alike
        groups[name, at] = [
            stored(store, one, lambda case, _, level=level: level - hardness(case), cases=HELD_OUT_IN[one.fold])
            for one in folds
        ]
    return groups


def test_the_sweep_is_paired_by_case_and_says_where_slices_overtake(sweep):
    table = slices.differences(sweep)
    assert list(table.index) == [1.5, 3, 6, 9, 12]
    assert [of.mean for of in table.difference] == pytest.approx([-0.094, -0.064, -0.004, 0.056, 0.116])
    assert table["2D"][3].mean == pytest.approx(0.406)
    assert table.decided.tolist() == ["lower", "lower", "lower", "higher", "higher"]
    assert set(table.family) == {5}
    said = slices.overtaking(table, 3)
    assert "about **6.2 mm**, 2.1 times the spacing within a slice" in said
    assert "2D is higher at 9, 12 mm, and 3D at 1.5, 3, 6 mm" in said


def test_a_sweep_says_where_it_comes_from_and_phantoms_decide_nothing(sweep):
    shown = slices.compared(sweep)
    words = "".join(part for part in shown if isinstance(part, Prose))
    assert "3 mm within slices, 1.5 to 12 mm between them; 50 runs of 250 steps; 50 minutes" in words
    assert "overtakes" in words
    origin, _, table = slices.compared(sweep, decides=False)
    assert words.startswith(origin)
    assert list(table) == ["2D", "3D", "2D minus 3D", "cases"]


def test_the_figure_holds_both_networks_and_their_difference(sweep):
    figure = slices.figure(slices.differences(sweep))
    lines = {trace.name: trace for trace in figure.data}
    assert list(lines["2D minus 3D"].y) == pytest.approx([-0.094, -0.064, -0.004, 0.056, 0.116])
    assert lines["3D"].y[0] == pytest.approx(0.5)
    assert lines["2D"].x[0] < 1.5 < lines["3D"].x[0]
    assert len(figure.layout.shapes) == 2  # the margin and zero


def test_a_thickness_with_one_network_has_no_difference(sweep):
    del sweep["2D", 6]
    table = slices.differences(sweep)
    assert np.isnan(table["2D"][6])
    assert table.difference[6] is NOTHING
    lines = {trace.name: trace for trace in slices.compared(sweep)[1].data}
    assert 6 not in lines["2D minus 3D"].x
    assert len(lines["2D"].x) == 4


def differences(*means):
    each = [Difference(of, of - 0.01, of + 0.01, 4) for of in means]
    return pd.DataFrame({"difference": each, "decided": "undecided"}, [1.0, 2, 4][: len(means)])


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ((-0.1, -0.2, -0.1), "3D is **ahead in the whole range** of 1 to 4 mm."),
        ((-0.1, 0.1, -0.1), "3D is **ahead in the whole range** of 1 to 4 mm, except at 2 mm."),
        ((0.1, 0.2, 0.1), "**ahead in the whole range** of 1 to 4 mm"),
        ((-0.1, 0.1, 0.1), "about **1.5 mm**, 1.5 times"),
        ((0.1, -0.1, 0.3), "about **2.5 mm**"),
    ],
)
def test_where_slices_overtake(means, said):
    assert said in slices.overtaking(differences(*means), 1)


def test_nothing_compared_says_so():
    assert "nothing to compare" in slices.overtaking(pd.DataFrame({"difference": [NOTHING]}, [3.0]), 3)


def test_steps_between_slices_are_counted():
    cube = np.zeros((4, 4, 4), np.uint8)
    cube[1:3, 1:3, 1:3] = 2
    # The same voxels, one slice pushed aside by one: 2 voxels above and 2 below are laid bare.
    shifted = np.zeros_like(cube)
    shifted[1, 1:3, 1:3] = shifted[2, 1:3, 2:4] = 1
    table = slices.steps({"gold": cube, "jumps": shifted}, (2, 1, 1))
    # A cube of 2 x 2 x 2 voxels of 2 x 1 x 1 mm: its faces measure 4 mm² across z and 8 across y or x, two of each.
    assert table.loc["gold", ["faces z (mm²)", "faces y or x (mm²)", "ratio"]].tolist() == [8, 16, 0.5]
    assert table.loc["jumps", "faces z (mm²)"] == 12
    assert table.loc["jumps", "ratio over gold's"] == 1.5
    assert np.isnan(slices.steps({"empty": cube * 0}, (1, 1, 1)).ratio["empty"])
