"""The chapter on the two papers' head to head as a reader reruns it."""

from pathlib import Path

import nbformat
import papermill
import pytest
from chapter_cells import started, wanted_by

from gbmlib.cohorts import phantom
from gbmlib.pages.parameters import ParameterError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "notebooks" / "09_head_to_head.ipynb"


def execute(folder, **parameters):
    """Run the notebook as papermill does, from the repository's root; what it shows."""
    out = folder / "out.ipynb"
    papermill.execute_notebook(SOURCE, out, parameters, cwd=str(ROOT), progress_bar=False, kernel_name="python3")
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    return "\n".join(str(output.get("data", output.get("text", ""))) for output in outputs)


def test_a_rate_is_the_pipelines_to_choose():
    with pytest.raises(ParameterError, match="learning_rate: this chapter has no such parameter"):
        started("09_head_to_head", profile="test", learning_rate=1e-3)


def test_every_parameter_reaches_the_runs(tmp_path):
    parameters = {
        "modalities": "flair",
        "spacing": 8,
        "epochs": 3,
        "folds": "1",
        "seeds": "0,1",
        "store": str(tmp_path),
    }
    for of in wanted_by("09_head_to_head", profile="test", **parameters)["wanted"].values():
        assert [(run.fold, run.seed) for run in of] == [(1, 0), (1, 1)]
        assert {(run.modalities, run.spacing, run.epochs) for run in of} == {(("flair",), (8, 8, 8), 3)}


@pytest.mark.slow
def test_six_cells_on_a_readers_own_folder(tmp_path):
    folder = phantom.write_brats("cases=5,spacing=6,seed=3", tmp_path / "mine", progress=False)
    parameters = {"profile": "test", "cohort": f"brats:{folder}", "modalities": "flair", "epochs": 1}
    shown = execute(tmp_path, **parameters, store=str(tmp_path / "runs"))
    assert "6 runs on 1 fold of 2 with 1 seed, 1 epoch" in shown
    assert "gain by B: U-Net − V-Net" in shown
    assert "SegVAE under pipeline B" in shown
    assert len(list((tmp_path / "runs").glob("*/provenance.json"))) == 6
