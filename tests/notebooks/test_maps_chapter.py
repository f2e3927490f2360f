"""The chapter on what networks look at, as a reader reruns it."""

from pathlib import Path

import nbformat
import papermill
import pytest
from chapter_cells import wanted_by

from gbmlib.cohorts import phantom
from gbmlib.pages.parameters import ParameterError

ROOT = Path(__file__).resolve().parents[2]
NAME = "10_what_the_network_looks_at"


def execute(folder, **parameters):
    """Run the chapter as papermill does, from the repository's root; what it shows."""
    out, source = folder / "out.ipynb", ROOT / "notebooks" / f"{NAME}.ipynb"
    papermill.execute_notebook(source, out, parameters, cwd=str(ROOT), progress_bar=False, kernel_name="python3")
    outputs = [output for cell in nbformat.read(out, 4).cells for output in cell.get("outputs", [])]
    return "\n".join(str(output.get("data", output.get("text", ""))) for output in outputs)


@pytest.mark.parametrize("parameters", [{}, {"modalities": "flair", "spacing": 4, "epochs": 3}])
def test_the_networks_are_those_of_the_earlier_chapters(parameters, tmp_path):
    parameters = parameters | {"profile": "demo", "store": str(tmp_path)}
    branch, both, own = (wanted_by(name, **parameters) for name in ("03_vae_ablation", "07_unet_2d_vs_3d", NAME))
    theirs = {
        "Paper A": branch["wanted"][branch["with_branch"]][0].id,
        "2D": both["wanted"]["2D"][0].id,
        "3D": both["wanted"]["3D"][0].id,
    }
    assert {name: own["every"][name][0].id for name in theirs} == theirs
    assert all(len(of) == 1 for of in own["every"].values())


@pytest.mark.slow
def test_maps_on_a_readers_own_folder(tmp_path):
    folder = phantom.write_brats("cases=5,spacing=6,seed=3", tmp_path / "mine", progress=False)
    parameters = {"profile": "test", "cohort": f"brats:{folder}", "modalities": "flair", "epochs": 1}
    shown = execute(tmp_path, **parameters, only="V-Net,2D", store=str(tmp_path / "runs"))
    assert all(f"map of {name} lies" in shown or f"{name} finds none" in shown for name in ("V-Net", "2D"))
    assert "Paper A" not in shown
    assert len(list((tmp_path / "runs").glob("*/provenance.json"))) == 2


def test_a_network_that_does_not_exist_stops_before_training(tmp_path):
    with pytest.raises(ParameterError, match="only: there is no 'V-Nett'; did you mean 'V-Net'"):
        wanted_by(NAME, profile="test", only="V-Nett", store=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
