"""The chapter on the planner, on a reader's own folder."""

from chapter_cells import shown_by
from small_data import write_brats

from gbmlib.cohorts import open_cohort


def test_the_page_gives_every_cell_and_plans_for_a_readers_own_folder(tmp_path):
    folder = write_brats("cases=2,spacing=6,seed=3", tmp_path / "mine")
    shown = shown_by("06_planner", profile="test", cohort=f"brats:{folder}")
    assert shown.count("72 of 72 cells") == 2
    assert "**Prostate, Lung, Pancreas**" in shown
    assert f"**{open_cohort(f'brats:{folder}').name}**: 2 cases" in shown
    assert "gbm-planner" in shown
