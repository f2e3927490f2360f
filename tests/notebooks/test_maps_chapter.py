"""The chapter on what networks look at, as a reader reruns it."""

import pytest
from chapter_cells import shown_by, wanted_by

from gbmlib.pages.parameters import ParameterError

NAME = "10_what_the_network_looks_at"


@pytest.mark.parametrize("parameters", [{}, {"modalities": "flair", "spacing": 4, "epochs": 3}])
def test_the_network_is_that_of_the_earlier_chapter(parameters, tmp_path):
    parameters = parameters | {"profile": "demo", "store": str(tmp_path)}
    branch, own = (wanted_by(name, **parameters) for name in ("03_vae_ablation", NAME))
    assert own["every"]["Paper A"][0].id == branch["wanted"][branch["with_branch"]][0].id
    assert [own["every"][name][0].is_2d for name in ("2D", "3D")] == [True, False]
    assert all(len(of) == 1 for of in own["every"].values())


@pytest.mark.slow
def test_maps_on_a_readers_own_folder(mine, tmp_path):
    parameters = {"profile": "test", "cohort": f"brats:{mine}", "modalities": "flair", "epochs": 1}
    shown = shown_by(NAME, **parameters, only="V-Net,2D", store=str(tmp_path / "runs"))
    assert all(f"map of {name} " in shown or f"{name} finds none" in shown for name in ("V-Net", "2D"))
    assert "Paper A" not in shown
    assert len(list((tmp_path / "runs").glob("*/provenance.json"))) == 2


def test_a_network_that_does_not_exist_stops_before_training(tmp_path):
    with pytest.raises(ParameterError, match="only: there is no 'V-Nett'; did you mean 'V-Net'"):
        wanted_by(NAME, profile="test", only="V-Nett", store=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
