"""What the chapter on the planner shows, and that it would show a difference."""

from pathlib import Path

import pytest

from gbmlib.pages import planner_pages
from gbmlib.planner import plan, table_1

FACTS = Path(__file__).resolve().parents[2] / "book" / "facts"


@pytest.fixture(scope="module")
def printed():
    return table_1.printed(FACTS)


@pytest.fixture(scope="module")
def tasks():
    return table_1.tasks(FACTS)


def test_every_cell_is_marked_for_both_sources(printed, tasks):
    found = [
        table_1.cells({task: plan(of) for task, of in known.items()}, printed)
        for known in (tasks, table_1.medians(printed, tasks))
    ]
    assert [table_1.agreeing(table, printed) for table in found] == [(72, 72), (72, 72)]
    shown = planner_pages.marked(found, printed)
    assert shown.loc[("Heart", "3D"), "patch"] == "80 x 192 x 128 ✓✓"
    assert shown.loc[("Hippocampus", "2D"), "batch"] == "366 ✓✓"
    assert shown.loc[("Prostate", "3D"), "pools"] == "2, 5, 5 ✓✓"


def test_a_cell_that_differs_is_seen_and_so_is_a_missing_network(printed, tasks):
    plans = {task: plan(of) for task, of in tasks.items()}
    plans["Heart"] = plan(tasks["Heart"], voxels=256**3)  # no cascade, and larger patches
    found = table_1.cells(plans, printed)
    same, cells = table_1.agreeing(found, printed)
    assert same < cells
    shown = planner_pages.marked([found], printed)
    assert shown.loc[("Heart", "3D"), "patch"] == "80 x 192 x 128 ✗"
    assert list(shown.loc[("Heart", "3D low resolution")].str[-1]) == ["✗"] * 4


def test_the_two_readings(printed, tasks):
    table = planner_pages.readings(tasks, printed)
    assert planner_pages.misses(table, "mm") == []
    assert planner_pages.misses(table, "voxels") == ["Prostate", "Lung", "Pancreas"]
    assert table.loc[("Prostate", "3D"), "proportions in voxels"] == "20 x 320 x 320, batch 2 ✗"


def test_the_steps_of_a_shrinking_patch(tasks):
    of = plan(tasks["Heart"])
    table = planner_pages.shrinking(of.three_d, of.voxels)
    assert list(table.index) == ["wanted", "rounded up", "step 1", "step 2"]
    assert list(table["patch (z, y, x)"])[1:] == ["80 x 224 x 160", "80 x 192 x 160", "80 x 192 x 128"]
    assert table.loc["rounded up", "over what was wanted"] == "+3.4, +29.6, +19.1"
    assert table.loc["step 2", "of the budget"] == "94%"


def test_an_explanation_as_markdown(tasks):
    text = planner_pages.in_words(plan(tasks["Heart"]))
    assert text.startswith("**Heart**\n\n- 20 cases")
    assert "\n\n**2D: patch 320 x 256, batch 33, pools 6, 6**\n\n- Slices" in text


def test_a_plan_as_a_table(tasks):
    table = planner_pages.overview(plan(tasks["Hippocampus"]))
    assert list(table.index) == ["2D", "3D"]
    assert table.loc["3D", "patch"] == "40 x 56 x 40"
    assert 0.3 < table.loc["3D", "GB to train"] < 5


def test_the_figures_draw(tasks, monkeypatch):
    monkeypatch.delenv("GBM_STATIC", raising=False)
    figure = planner_pages.fields_of_view({task: tasks[task] for task in ("Prostate", "Lung")}, "fields of view")
    assert len(figure.data) == 6
    prostate = plan(tasks["Prostate"]).three_d
    assert max(figure.data[2].x) == pytest.approx(prostate.patch_size[1] * prostate.spacing[1] / 2)
    lines = planner_pages.budget_lines(tasks["BrainTumour"], (32, 128), "memory")
    assert [line.name for line in lines.data] == ["2D", "3D", "3D low resolution"]
    assert list(lines.data[1].x) == [32, 128]
    assert lines.data[1].y[0] < lines.data[1].y[1]
