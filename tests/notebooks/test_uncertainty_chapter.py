"""The chapter on uncertainty as a reader reruns it."""

from pathlib import Path

import nbformat
import papermill
import pytest

from gbmlib.cohorts import phantom

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "notebooks" / "10b_uncertainty.ipynb"


def execute(folder, monkeypatch, **parameters):
    """Run the notebook as the book does, from the repository's root; what it shows."""
    monkeypatch.setenv("GBM_STATIC", "1")
    out = folder / "out.ipynb"
    papermill.execute_notebook(SOURCE, out, parameters, cwd=str(ROOT), progress_bar=False, kernel_name="python3")
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    return "\n".join(str(output.get("data", output.get("text", ""))) for output in outputs)


@pytest.mark.slow
def test_live_on_phantoms_that_no_network_has_seen(tmp_path, monkeypatch):
    shown = execute(tmp_path, monkeypatch, profile="test", epochs=1, store=str(tmp_path / "runs"))
    assert "(2D and 3D, all folds, 4 members; WT; 4 cases.)" in shown
    assert "mirrorings of 3D" in shown
    assert '"region": "WT", "threshold": 0.5' in shown
    assert "average minus one" in shown
    assert len(list((tmp_path / "runs").glob("unet-*/provenance.json"))) == 4


@pytest.mark.slow
def test_on_a_readers_own_folder_the_members_are_those_of_a_fold(tmp_path, monkeypatch):
    folder = phantom.write_brats("cases=5,spacing=6,seed=3", tmp_path / "mine", progress=False)
    parameters = {"profile": "test", "cohort": f"brats:{folder}", "modalities": "flair", "epochs": 1}
    shown = execute(tmp_path, monkeypatch, **parameters, store=str(tmp_path / "runs"))
    assert "(2D and 3D of a fold, 2 members; WT; 5 cases.)" in shown
    assert "mirrorings of 3D" in shown
