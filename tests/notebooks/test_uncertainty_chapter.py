"""The chapter on uncertainty as a reader reruns it."""

import pytest
from chapter_cells import shown_by

from gbmlib.study import records


@pytest.fixture(autouse=True)
def _as_in_the_book(monkeypatch):
    """Figures are drawn into the page, and cells tell what they read until the test is over."""
    monkeypatch.setenv("GBM_STATIC", "1")
    monkeypatch.setattr(records, "on_read", [])


@pytest.mark.slow
def test_live_on_phantoms_that_no_network_has_seen(tmp_path):
    shown = shown_by("10b_uncertainty", profile="test", epochs=1, store=str(tmp_path / "runs"))
    assert "(WT in 4 cases; average of 4 members: 2D and 3D, all folds.)" in shown
    assert "mirrorings of 3D" in shown
    assert '"region": "WT", "threshold": 0.5' in shown
    assert "average minus one" in shown
    assert len(list((tmp_path / "runs").glob("unet-*/provenance.json"))) == 4


@pytest.mark.slow
def test_on_a_readers_own_folder_the_members_are_those_of_a_fold(mine, tmp_path):
    parameters = {"profile": "test", "cohort": f"brats:{mine}", "modalities": "flair", "epochs": 1}
    shown = shown_by("10b_uncertainty", **parameters, store=str(tmp_path / "runs"))
    assert "(WT in 5 cases; average of 2 members: 2D and 3D of a fold.)" in shown
    assert "mirrorings of 3D" in shown
