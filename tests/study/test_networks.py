"""The networks that come with the study."""

import numpy as np
import pytest
import torch

from gbmlib import cohorts
from gbmlib.evaluation import metrics
from gbmlib.files import NETWORKS
from gbmlib.pages import patients
from gbmlib.study import networks, predicting, run, scales
from gbmlib.study.records import RecordError, Store
from gbmlib.training import tensors

COHORT = "phantom:cases=4,spacing=6,seed=0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("trained"))
    (record,) = run(scales.paper_a("test", cohort=COHORT, epochs=1)[:1], store, progress=False)
    return record


def test_a_published_network_predicts_as_its_run_does_and_lacks_what_only_training_needs(trained, tmp_path):
    path = networks.publish(trained, tmp_path)
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
    path = networks.publish(trained, tmp_path)
    kept = tensors.load(path / "weights.safetensors")
    tensors.save(path / "weights.safetensors", {name: kept[name] for name in list(kept)[1:]})
    with pytest.raises(
        RecordError, match=f"the weights of {trained.id} are not those of its network: {next(iter(kept))}"
    ):
        predicting.load_network(Store(tmp_path).named(trained.id), cohorts.open_cohort(COHORT))


def test_without_a_network_that_suits_the_data_the_reason_is_said():
    [record] = Store(NETWORKS).all()
    with pytest.raises(ValueError, match=rf"name a run of yours with --run; {record.id}: it takes t1ce"):
        networks.fitting(cohorts.open_cohort(COHORT, ("flair", "t1")))
    with pytest.raises(FileNotFoundError, match="are not on this machine"):
        networks.publish(Store("none", published="book/records").named("segvae-023fabfca2cc"))


def test_it_finds_the_tumour_of_a_patient_and_is_small():
    [(patient, label_map)] = networks.segmented(f"brats:{patients.SCANS}", ["BRATS_308"])
    assert metrics.dice(label_map > 0, patient.label() > 0) > 0.7
    assert set(np.unique(label_map)) == {0, 1, 2, 3}
    assert sum(path.stat().st_size for path in NETWORKS.rglob("*") if path.is_file()) < 9e6
