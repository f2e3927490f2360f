"""The chapters as a reader reruns them: with other parameters, with wrong ones, on other data."""

import json
import re
from pathlib import Path

import pytest
from chapter_cells import shown_by, started, wanted_by
from small_data import write_brats

from gbmlib.cohorts.problems import CaseError
from gbmlib.pages.parameters import ParameterError
from gbmlib.study import ablations

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_misspelt_or_impossible_parameter_stops_before_any_work(name):
    with pytest.raises(ParameterError) as caught:
        started(name, cohrot="phantom:cases=2", profile="huge")
    message = str(caught.value)
    assert "cohrot: this chapter has no such parameter; did you mean 'cohort'?" in message
    assert "profile: " in message
    assert "'demo'" in message


def test_a_modality_that_the_cohort_lacks_stops_before_training(tmp_path):
    with pytest.raises(CaseError, match=r"no modality.*pet.*flair"):
        started("02_baseline_vnet", profile="test", modalities="pet,flair", store=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_the_baseline_with_other_parameters_on_a_readers_own_folder(mine, tmp_path):
    shown = shown_by(
        "02_baseline_vnet",
        profile="test",
        cohort=f"brats:{mine}",
        modalities="flair",
        regions="labels",
        epochs=1,
        folds="0,1",
        seed=5,
        store=str(tmp_path / "runs"),
    )
    assert "2 of 2 folds" in shown
    assert "enhancing tumour" in shown
    assert len(list((tmp_path / "runs").glob("vnet-*/provenance.json"))) == 2


def test_the_baseline_on_the_hippocampus(hippocampus_folder, tmp_path):
    """One modality and two labels, told from the data alone; a small share of it, so that it takes seconds."""
    share = tmp_path / "Task04_Hippocampus"
    share.mkdir()
    dataset = json.loads((hippocampus_folder / "dataset.json").read_text())
    dataset["training"] = dataset["training"][:6]
    dataset["numTraining"] = 6
    (share / "dataset.json").write_text(json.dumps(dataset))
    for part in ("imagesTr", "labelsTr"):
        (share / part).symlink_to(hippocampus_folder / part)
    parameters = {"profile": "test", "spacing": 2, "epochs": 1, "store": str(tmp_path / "runs")}
    shown = shown_by("02_baseline_vnet", cohort=f"msd:{share}", **parameters)
    assert "anterior" in shown.lower()
    assert "posterior" in shown.lower()


@pytest.mark.slow
def test_the_branch_on_a_readers_own_folder_with_seeds(mine, tmp_path):
    parameters = {"cohort": f"brats:{mine}", "epochs": 1, "seeds": "0,1", "store": str(tmp_path / "runs")}
    shown = shown_by("03_vae_ablation", profile="test", **parameters)
    assert "minutes a run" in shown
    assert len(list((tmp_path / "runs").glob("segvae-*/provenance.json"))) == 4  # two networks with two seeds


@pytest.mark.slow
def test_squeeze_and_excitation_with_exclusive_labels(tmp_path):
    parameters = {"epochs": 1, "regions": "labels", "store": str(tmp_path / "runs")}
    shown = shown_by("04_se_ablation", profile="test", **parameters)
    assert "without SE" in shown
    assert "oedema" in shown


@pytest.mark.slow
def test_the_choices_that_are_asked_for_are_run(tmp_path):
    parameters = {"only": "order,init", "epochs": 1, "store": str(tmp_path / "runs")}
    shown = shown_by("05_training_choices", profile="test", **parameters)
    assert "Glorot uniform" in shown
    assert len(list((tmp_path / "runs").glob("segvae-*/provenance.json"))) == 3  # the base is shared


def test_every_choice_has_a_section():
    source = (ROOT / "notebooks" / "05_training_choices.ipynb").read_text()
    shown = re.findall(r'comparison\.choice\(\\"choices/(\w+)\\"', source)
    assert shown == [choice.name for choice in ablations.choices("study")]


@pytest.mark.slow
def test_rungs_of_the_ladder_are_compared_on_nested_regions(tmp_path):
    parameters = {"epochs": 1, "store": str(tmp_path / "runs")}
    shown = shown_by("05b_from_paper_to_code", profile="test", **parameters)
    assert "exclusive labels" in shown
    assert "not comparable" not in shown
    assert "<th>enhancing tumour</th>" not in shown
    assert len(list((tmp_path / "runs").glob("segvae-*/provenance.json"))) == 3


@pytest.mark.parametrize(
    ("name", "near"), [("05_training_choices", "filters"), ("05b_from_paper_to_code", "slab norm")]
)
def test_a_comparison_that_does_not_exist_stops_before_training(name, near, tmp_path):
    with pytest.raises(ParameterError, match=f"only: there is no.*did you mean '{near}'"):
        wanted_by(name, profile="test", only=near[:-1] + "x", store=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_the_data_chapter_on_a_readers_own_folder(tmp_path):
    folder = write_brats("cases=3,spacing=6,seed=3", tmp_path / "mine")
    shown = shown_by("01_the_data", cohort=f"brats:{folder}", modalities="flair,t2")
    assert "3 cases" in shown
    assert "modalities flair, t2" in shown
    header = shown[: shown.index("cases without ET")].rsplit("<thead>", 1)[1]
    assert all(f"<th>{name}</th>" in header for name in ("brats-3", "brats2018-19", "brats2021-11"))
