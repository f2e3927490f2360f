"""The networks that come with the study."""

import importlib.util
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch

from gbmlib import cohorts
from gbmlib.analysis import published, scores
from gbmlib.evaluation import metrics
from gbmlib.files import CASES, NETWORKS, RECORDS
from gbmlib.pages import patients
from gbmlib.study import cross_validation, networks, predicting, run, scales
from gbmlib.study.networks import NAMED
from gbmlib.study.records import HELD_OUT, TRAIN, RecordError, Store
from gbmlib.training import tensors

COHORT = "phantom:cases=4,spacing=6,seed=0"

_spec = importlib.util.spec_from_file_location("make", NETWORKS / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("trained"))
    (record,) = run(scales.paper_a("test", cohort=COHORT, epochs=1)[:1], store, progress=False)
    return record


def test_a_published_network_predicts_as_its_run_does_and_lacks_what_only_training_needs(trained, tmp_path):
    path = make.publish(trained, tmp_path)
    cohort = cohorts.open_cohort(COHORT, trained.experiment.modalities)
    own, given = (predicting.load_network(record, cohort) for record in (trained, networks.fitting(cohort, tmp_path)))
    images = torch.randn(1, 2, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(given(images), own(images), rtol=2e-2, atol=2e-2)
    kept = tensors.load(path / "weights.safetensors")
    assert {value.dtype for value in kept.values()} == {torch.float16}
    assert not any(name.startswith("vae.") for name in kept)
    assert (path / "weights.safetensors").stat().st_size < trained.weights.stat().st_size / 2


def test_weights_of_another_network_are_refused(trained, tmp_path):
    path = make.publish(trained, tmp_path)
    kept = tensors.load(path / "weights.safetensors")
    tensors.save(path / "weights.safetensors", {name: kept[name] for name in list(kept)[1:]})
    with pytest.raises(
        RecordError, match=f"the weights of {trained.id} are not those of its network: {next(iter(kept))}"
    ):
        predicting.load_network(Store(tmp_path).named(trained.id), cohorts.open_cohort(COHORT))


def test_without_a_network_that_suits_the_data_the_reason_is_said():
    with pytest.raises(ValueError, match=rf"name a run of yours with --run; {NAMED['glioma']}: it takes t1ce"):
        networks.fitting(cohorts.open_cohort(COHORT, ("flair", "t1")))
    with pytest.raises(FileNotFoundError, match="are not on this machine"):
        make.publish(Store("none", published="book/records").named("segvae-023fabfca2cc"))


def test_the_networks_are_those_that_are_named_and_small():
    records = {record.id: record for record in Store(NETWORKS).all()}
    assert set(records) == set(NAMED.values())
    sizes = {name: records[run].weights.stat().st_size for name, run in NAMED.items()}
    assert sizes["glioma"] < 9e6
    assert sizes["hippocampus"] < 8e6


def test_it_finds_the_tumour_of_a_patient():
    [(patient, label_map)] = networks.segmented(f"brats:{patients.SCANS}", ["BRATS_308"])
    assert metrics.dice(label_map > 0, patient.label() > 0) > 0.7
    assert set(np.unique(label_map)) == {0, 1, 2, 3}


def test_a_hippocampus_that_was_held_out_gets_the_dice_of_the_record():
    found = list(networks.segmented(f"msd:{patients.HIPPOCAMPI}"))
    assert [case.id for case, _ in found] == ["hippocampus_107", "hippocampus_164"]
    record = Store(NETWORKS).named(NAMED["hippocampus"])
    table = record.cases[(record.cases.split == HELD_OUT) & (record.cases.metric == "dice")]
    recorded = table.set_index(["case", "region"]).value
    for case, label_map in found:
        for value, name in case.labels.items():
            dice = metrics.dice(label_map == value, case.label() == value)
            assert dice == pytest.approx(recorded[case.id, name], abs=0.002)  # on a card, with weights of 32 bits


def test_a_single_image_is_segmented_as_its_data_set_is(tmp_path):
    [(case, expected), _] = networks.segmented(f"msd:{patients.HIPPOCAMPI}")
    [(own, label_map)] = networks.segmented(str(case.reference), run="hippocampus")
    assert (own.id, own.has_label) == (case.id, False)
    np.testing.assert_array_equal(label_map, expected)
    own.write(tmp_path / "out.nii.gz", label_map)
    assert set(np.unique(nib.load(tmp_path / "out.nii.gz").dataobj)) == {0, 1, 2}
    before = case.reference.read_bytes()
    with pytest.raises(ValueError, match="is an image of this case; save the segmentation under another name"):
        own.write(case.reference, label_map)
    assert case.reference.read_bytes() == before


def test_a_folder_of_one_patient_is_segmented_as_its_data_set_is(tmp_path):
    [(patient, expected)] = networks.segmented(f"brats:{patients.SCANS}", ["BRATS_452"])
    (tmp_path / "p07").mkdir()
    for modality, file in patient.files.items():
        shutil.copyfile(file.path, tmp_path / "p07" / f"{modality.upper()}.nii.gz")
    [(own, label_map)] = networks.segmented(str(tmp_path / "p07"))
    assert own.id == "p07"
    np.testing.assert_array_equal(label_map, expected)


@pytest.mark.parametrize(
    ("path", "run", "said"),
    [
        (
            "gliomas/BRATS_308/BRATS_308_flair.nii.gz",
            None,
            "is one image: say which network it is for, as in --network",
        ),
        ("gliomas/BRATS_308/BRATS_308_flair.nii.gz", "glioma", "takes t1ce and flair: give the folder of them"),
        (
            "gliomas/BRATS_308/BRATS_308_flair.nii.gz",
            "hippocampus",
            r"mm \(z, y, x\), and the network knows images cropp",
        ),
        ("gliomas/BRATS_308", "hippocampus", r"has no modality \['mri'\]; it has \['flair', 't1ce'\]"),
        ("nothing.nii.gz", "hippocampus", "nothing.nii.gz: is missing"),
        ("nothing", None, "is no path here"),
        ("predictions/2D", None, "no files named ID_flair.nii.gz … or ID-t2f.nii.gz …"),
    ],
)
def test_what_cannot_be_segmented_is_said(path, run, said):
    with pytest.raises(ValueError, match=said) as caught:
        list(networks.segmented(str(CASES / path), run=run))
    assert len(str(caught.value).splitlines()) <= 2


def test_the_card_has_the_numbers_of_the_records():
    card = (NETWORKS / "README.md").read_text()
    record = Store(NETWORKS).named(NAMED["hippocampus"])
    dices = [scores.by_case([record], split=split).mean() for split in (HELD_OUT, TRAIN)]
    held, known = ([f"{value:.3f}" for value in dice] for dice in dices)
    assert f"| 52 | {held[0]} | {held[1]} |" in card
    assert f"the same Dice is {known[0]} and {known[1]}" in card.replace("\n", " ")
    every = [Store(RECORDS).get(run) for run in cross_validation.of_hippocampus("study")["3D"]]
    assert record.id == every[0].id  # fold 0
    assert "| 260 | {:.3f} | {:.3f} |\n| the paper".format(*scores.by_case(every).mean()) in card
    assert "table 2, 3D | 260 | {:.3f} | {:.3f} |".format(*published.table_2("Hippocampus").loc["3D"]) in card
    means = [scores.by_case([one]).mean().mean() for one in every]
    assert f"a mean of {min(means):.3f} to {max(means):.3f}" in card
