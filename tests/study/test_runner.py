"""Running experiments: trained once, the same every time, and as if nothing had happened when killed in between."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from small_data import write_brats

from gbmlib.cohorts import CaseError, open_cohort, opening, regions
from gbmlib.evaluation.metrics import DISTANCES, NAMES
from gbmlib.preprocess import normalise
from gbmlib.study import Experiment, fit, out_of_fold, predicting, run, scales
from gbmlib.study.records import RecordError, Store
from gbmlib.training import loop

SAME = ("config.json", "history.csv", "cases.csv")


def tiny(**changes):
    return scales.vnet("test", **changes)[0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store with one finished run, and its record."""
    store = Store(tmp_path_factory.mktemp("runs"))
    return store, run([tiny()], store, progress=False)[0]


def assert_same(one, other):
    for name in SAME:
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name


def test_a_run_is_named_with_its_minutes_before_it_begins(finished, tmp_path, capsys):
    store, _ = finished
    other = Store(tmp_path, published=store.path)
    run([tiny(), tiny(seed=1, epochs=1)], other)  # the first is there
    said = capsys.readouterr().err
    assert f"run 1 of 1: {tiny(seed=1, epochs=1).id}" in said
    assert "fold 0  seed 1  1 epochs" in said
    assert re.search(r", about \d+ min$", said.splitlines()[0])


def test_a_record_holds_what_it_says(finished):
    _, record = finished
    experiment, cohort = record.experiment, open_cohort(record.experiment.cohort)
    assert record.experiment == tiny()
    assert list(record.history.epoch) == [0, 1]
    held_out = record.cases[record.cases.split == "held out"].case.nunique()
    overlap = (*NAMES, "share", "channel_dice")
    assert len(record.cases) == 3 * (len(cohort) * len(overlap) + held_out * len(DISTANCES))
    assert set(record.cases.region) == {"WT", "TC", "ET"}
    held_out = record.cases[record.cases.split == "held out"].case.unique()
    assert len(held_out) == len(cohort) // experiment.folds
    assert record.provenance["fingerprint"] == cohort.fingerprint
    assert record.stale(cohort.fingerprint) == []
    assert record.stale("other data") == [f"made from data {cohort.fingerprint}, this data is other data"]
    assert {"seconds", "device", "commit", "peak_memory_mb", "packages"} <= set(record.provenance)
    assert not (record.path / loop.CHECKPOINT).exists()


def test_predictions_are_in_native_space_and_are_what_the_cases_table_measures(finished):
    _, record = finished
    cohort = open_cohort(record.experiment.cohort)
    case_id = record.cases[record.cases.split == "held out"].case.iloc[0]
    case, image = cohort[case_id], nib.load(record.prediction(case_id))
    canonical = nib.as_closest_canonical(image)
    assert canonical.shape[::-1] == case.shape
    np.testing.assert_allclose(canonical.affine, case.affine)
    stored = np.asarray(canonical.dataobj).transpose(2, 1, 0)
    assert set(np.unique(stored)) <= {0, 1, 2, 4}
    predicted = regions.to_channels(np.where(stored == 4, 3, stored), "brats")[0]
    truth = case.label() > 0
    dice = 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())
    of = record.cases.query("case == @case_id and region == 'WT' and metric == 'dice'")
    assert of.value.item() == pytest.approx(dice)


def test_the_stored_weights_segment_as_the_run_did(finished, tmp_path):
    store, record = finished
    cohort = open_cohort(record.experiment.cohort, record.experiment.modalities)
    case = cohort[record.cases[record.cases.split == "held out"].case.iloc[0]]
    case.write(tmp_path / "again.nii.gz", out_of_fold.segment([record], store, cohort, case.id))
    first, again = (np.asarray(nib.load(p).dataobj) for p in (record.prediction(case.id), tmp_path / "again.nii.gz"))
    np.testing.assert_array_equal(first, again)


def test_asked_twice_it_is_trained_once(finished, monkeypatch):
    store, record = finished
    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained again"))
    assert run([tiny(), tiny()], store, progress=False)[1].path == record.path


def test_the_same_configuration_gives_the_same_record(finished, tmp_path):
    _, record = finished
    assert_same(run([tiny()], Store(tmp_path), progress=False)[0], record)
    other = run([tiny(seed=1)], Store(tmp_path), progress=False)[0]
    assert other.id != record.id
    assert not other.history.train_loss.equals(record.history.train_loss)


def test_an_executor_gives_the_same_records(finished, tmp_path):
    _, record = finished
    store = Store(tmp_path)
    with ThreadPoolExecutor(1) as executor:
        assert_same(run([tiny()], store, executor, progress=False)[0], record)


def _one(folder):
    return run([tiny()], Store(folder), progress=False)[0].provenance["began"]


def test_two_processes_that_ask_at_once_do_the_run_once(tmp_path):
    with ProcessPoolExecutor(2, mp_context=__import__("multiprocessing").get_context("spawn")) as executor:
        began = list(executor.map(_one, [tmp_path, tmp_path]))
    assert began[0] == began[1]
    assert [path.name for path in tmp_path.glob("vnet-*")] == [tiny().id]


PROGRAM = """
    from gbmlib.study import run, scales
    from gbmlib.study.records import Store
    run(scales.vnet("test", epochs=12, learning_rate=1e-3), Store({folder!r}), progress=False, checkpoint_seconds=0)
"""


def test_killed_and_asked_for_again_it_ends_in_the_same_record(tmp_path):
    experiment = tiny(epochs=12, learning_rate=1e-3)
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")
    run([experiment], whole, progress=False)
    checkpoint = broken.path / f"{experiment.id}.unfinished" / loop.CHECKPOINT
    program = textwrap.dedent(PROGRAM.format(folder=str(broken.path)))
    process = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 120
    while not checkpoint.exists():
        assert process.poll() is None, "it ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(random.uniform(0, 1.5))  # anywhere: between checkpoints, while one is written, while measuring
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if broken.get(experiment) is None:
        assert loop.tensors.load(checkpoint)["history"], "the checkpoint is readable at any moment"
    assert_same(run([experiment], broken, progress=False)[0], whole.get(experiment))


def test_a_loss_that_is_not_finite_stops_with_the_cause_and_keeps_the_weights(tmp_path, monkeypatch):
    calls = []

    def breaks(logits, target):
        calls.append(1)
        return logits.sum() * (float("nan") if len(calls) > 1 else 0)

    monkeypatch.setitem(loop.LOSSES, "dice", breaks)
    store = Store(tmp_path)
    with pytest.raises(
        loop.TrainingError, match=r"epoch 0, patch of phantom-\S+: the loss is nan.*learning_rate.*last_good"
    ):
        run([tiny()], store, progress=False)
    kept = loop.tensors.load(store.unfinished(tiny()) / "last_good.safetensors")
    assert all(torch.isfinite(value).all() for value in kept.values())
    assert store.get(tiny()) is None


def test_early_stopping_waits_for_its_patience():
    losses = [3, 2, 2.5, 2.4, 2.1]
    history = [{"val_loss": loss} for loss in losses]
    patient, endless = tiny(patience=3), tiny()
    assert [loop._has_ended(history[:n], patient) for n in range(6)] == [False] * 5 + [True]
    assert not loop._has_ended(history, endless)


def test_computed_tomography_is_not_normalised_as_if_it_had_no_units():
    scans = replace(open_cohort(tiny().cohort), modality_kinds=("CT",) * 4)
    for wrong, of in (("image", "flair, t1ce"), (("ct", "whole"), "flair")):
        with pytest.raises(CaseError, match=f"does not suit {of}: it takes 'ct' or 'ct_masked'"):
            predicting.expect_fitting(tiny(normalisation=wrong), scans)
    predicting.expect_fitting(tiny(normalisation="ct"), scans)
    mixed = replace(scans, modality_kinds=("MR", "MR", "CT", "MR"))
    predicting.expect_fitting(tiny(normalisation=("ct", "whole")), mixed)
    with pytest.raises(CaseError, match=r"does not suit flair, t1ce"):
        predicting.expect_fitting(tiny(normalisation=("whole", "ct")), mixed)


def test_exclusive_labels_of_another_cohort(hippocampus_folder, tmp_path):
    cohort = open_cohort(f"msd:{hippocampus_folder}")
    assert len(cohort) == 260
    fields = {"cohort": cohort.name, "modalities": cohort.modalities, "regions": "labels", "spacing": 4}
    experiment = tiny(**fields, patch_size=16, epochs=1)
    prepared = predicting.prepare(experiment, cohort.cases[0])
    sample = fit._sample(experiment, cohort, cohort.cases[0], prepared, None, torch.device("cpu"))
    assert sample.target.shape == (2, *prepared.images.shape[1:])


def test_what_the_data_lacks_is_told_before_training(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(CaseError, match="no modality"):
        run([tiny(modalities=("t1ce", "pet"))], store, progress=False)
    two, one = (f"phantom:cases={number},spacing=6,seed=0" for number in (2, 1))
    asked = [tiny(cohort=cohort, seed=seed, n_folds=3) for cohort in (two, one) for seed in range(3)]
    with pytest.raises(CaseError) as fault:
        run(asked, store, progress=False)
    few, alone = str(fault.value).splitlines()  # each reason once, however many runs have it
    assert "3 folds of 2 patients; use 2 to 2 (--folds, -p n_folds)" in few
    assert "one patient is not enough to train on; a run that is trained already segments it" in alone
    assert not list(tmp_path.iterdir())
    with pytest.raises(CaseError, match=r"'brats2099-7' is .*open_cohort|open it by its place"):
        run([tiny(cohort="brats2099-7")], store, progress=False)


def test_a_written_phantom_cohort_trains_like_any_other(tmp_path):
    write_brats("cases=4,spacing=6,seed=0", tmp_path / "data")
    cohort = open_cohort(f"brats:{tmp_path / 'data'}")
    record = run([tiny(cohort=cohort.name, epochs=1)], Store(tmp_path / "runs"), progress=False)[0]
    assert record.provenance["cases"] == 4
    assert run([record.experiment], Store(tmp_path / "runs"), progress=False)[0].path == record.path


def test_a_record_of_other_data_under_the_same_name_is_not_taken(finished, tmp_path):
    store, record = finished
    shutil.copytree(record.path, tmp_path / record.id)
    path = tmp_path / record.id / "provenance.json"
    path.write_text(path.read_text().replace(record.provenance["fingerprint"], "0123456789abcdef"))
    beside = record.experiment.changed(fold=1)  # one more fold would mix two versions of the data
    for asked in (record.experiment, beside):
        with pytest.raises(
            RecordError, match=r"is other data than 1 runs of phantom:.*move their folders away.*--store"
        ):
            run([asked], Store(tmp_path), progress=False)
    with pytest.raises(RecordError, match=r"give this data set a name of its own.*--published none"):
        run([beside], Store(tmp_path / "new", published=tmp_path), progress=False)
    assert not list(tmp_path.glob("*.unfinished"))
    opening._opened.pop(record.experiment.cohort)  # who does not have the data reads the published records as ever
    assert run([record.experiment], Store(tmp_path / "new", published=tmp_path), progress=False)[0].published
    assert run([record.experiment], store, progress=False) == [record]


def test_a_record_of_another_configuration_is_not_taken(finished, tmp_path):
    _, record = finished
    store = Store(tmp_path)
    other = tiny(seed=7)
    (tmp_path / other.id).mkdir()
    for name in (*SAME, "provenance.json"):
        (tmp_path / other.id / name).write_bytes((record.path / name).read_bytes())
    with pytest.raises(RecordError, match=r"another configuration.*seed.*\(0, 7\)"):
        store.get(other)
    (tmp_path / other.id / "cases.csv").unlink()
    with pytest.raises(RecordError, match=r"lacks \['cases.csv'\]"):
        store.get(other)


def test_published_records_are_found_and_hold_the_small_files_alone(finished, tmp_path):
    store, record = finished
    published = store.publish(record, tmp_path / "records")
    assert sorted(path.name for path in published.path.iterdir()) == sorted((*SAME, "provenance.json"))
    reader = Store(tmp_path / "none", published=tmp_path / "records")
    found = run([tiny()], reader, progress=False)[0]
    assert found.published
    assert found.weights is None
    assert found.prediction("any") is None
    pd.testing.assert_frame_equal(found.cases, record.cases)
    assert [r.id for r in reader.all()] == [record.id]
    with pytest.raises(FileNotFoundError, match="weights"):
        predicting.load_network(found, open_cohort(tiny().cohort))


def a_segvae(**changes):
    return scales.paper_a("test", **changes)[0]


def test_exclusive_labels_of_a_glioma_are_measured_as_nested_regions_too(tmp_path):
    record = run([a_segvae(regions="labels", epochs=1)], Store(tmp_path), progress=False)[0]
    names = list(regions.members("labels", open_cohort(record.experiment.cohort).labels))
    assert list(record.cases.region.unique()) == [*names, "WT", "TC", "ET"]
    case = record.cases[record.cases.split == "held out"].case.iloc[0]
    cohort = open_cohort(record.experiment.cohort, record.experiment.modalities)
    label_map = cohort[case].read(record.prediction(case))
    expected = predicting.measure(label_map, cohort[case], "brats", cohort, "held out")
    kept = record.cases[(record.cases.case == case) & record.cases.region.isin(("WT", "TC", "ET"))]
    assert kept.value.to_list() == pytest.approx([row["value"] for row in expected])


@pytest.mark.parametrize("kind", ["dataset", "position"])
def test_statistics_come_from_the_training_cases_and_stay_with_the_run(kind, tmp_path):
    record = run([a_segvae(normalisation=kind, epochs=1)], Store(tmp_path), progress=False)[0]
    cohort = open_cohort(record.experiment.cohort, record.experiment.modalities)
    trained = record.cases[record.cases.split == "train"].case.unique()
    kept = predicting.statistics_of(record)
    again = normalise.statistics((cohort[case] for case in sorted(trained)), kind)
    np.testing.assert_allclose(kept.mean, again.mean, rtol=1e-6)
    np.testing.assert_allclose(kept.deviation, again.deviation, rtol=1e-6)
    # What the run wrote can be predicted again with them, and not without.
    held_out = record.cases[record.cases.split == "held out"].case.iloc[0]
    label_map = out_of_fold.segment([record], Store(tmp_path), cohort, held_out)
    np.testing.assert_array_equal(label_map, cohort[held_out].read(record.prediction(held_out)))
    with pytest.raises(ValueError, match="statistics of the training cases"):
        predicting.prepare(record.experiment, cohort[held_out])


def test_image_by_image_there_are_no_statistics(finished):
    _, record = finished
    assert predicting.statistics_of(record) is None


def test_killed_and_asked_for_again_a_branch_draws_the_same_noise(tmp_path):
    """The VAE samples from torch's own generator, whose state the checkpoint carries."""
    experiment = a_segvae(epochs=3)
    whole = run([experiment], Store(tmp_path / "whole"), progress=False)[0]

    def stop(network, *given):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return validate(network, *given)

    calls, validate = [], loop.validate
    store = Store(tmp_path / "parts")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "validate", stop)
        with pytest.raises(KeyboardInterrupt):
            run([experiment], store, progress=False, checkpoint_seconds=0)
    assert_same(whole, run([experiment], store, progress=False)[0])


def test_every_profile_is_valid():
    for profile in scales.PROFILES:
        for experiment in (*scales.vnet(profile, folds=range(2)), *scales.paper_a(profile, folds=range(2))):
            assert isinstance(experiment, Experiment)
