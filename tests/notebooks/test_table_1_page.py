"""The chapter on table 1, on a reader's own folder and with nothing trained."""

from chapter_cells import shown_by
from small_data import write_brats

from gbmlib.cohorts import open_cohort


def test_the_page_examines_the_table_and_counts_in_a_readers_own_folder(tmp_path):
    folder = write_brats("cases=2,spacing=6,seed=3", tmp_path / "mine")
    parameters = {"profile": "test", "cohort": f"brats:{folder}", "store": str(tmp_path / "runs")}
    shown = shown_by("05c_table_1_examined", **parameters)
    assert "1 of 6 readings" in shown
    assert "hold recall, accuracy, precision" in shown
    assert open_cohort(f"brats:{folder}").name in shown
    assert "No run in the store has logged its crops yet" in shown or "mixed up" in shown
    assert not (tmp_path / "runs").exists()
