"""Exploring without a browser: what is offered, predictions made now, a case of one's own, a training as it goes."""

import asyncio
import dataclasses
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from gbmlib.cohorts import GLIOMA, CaseError, open_cohort, phantom
from gbmlib.lab import explore, explore_case, explore_predict, explore_training
from gbmlib.lab.explore_case import Unsuited
from gbmlib.lab.explore_predict import Stopped
from gbmlib.study import Ensemble, Experiment, nnunet, out_of_fold, predicting, run, scales
from gbmlib.study.records import HELD_OUT, TRAIN, Store
from gbmlib.training import tensors

COHORT = "phantom:cases=4,spacing=6,seed=0"


@pytest.fixture(scope="module")
def cohort():
    return open_cohort(COHORT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two seeds and two folds of a small network, their average, a cascade; and a store that has them published."""
    folder = tmp_path_factory.mktemp("explore")
    store = Store(folder / "runs")
    zero, other = (scales.vnet("test", epochs=1, seed=seed)[0] for seed in (0, 1))
    (second,) = scales.vnet("test", folds=(1,), epochs=1)
    wanted = {
        "zero": zero,
        "other": other,
        "second": second,
        "pair": Ensemble(members=(zero, other), single_components=True),
        "cascade": nnunet.glioma("test", "cascade", (0,), cohort=COHORT)[0],
    }
    records = dict(zip(wanted, run(wanted.values(), store, progress=False), strict=True))
    for record in records.values():
        store.publish(record, folder / "published")
    return SimpleNamespace(store=store, bare=Store(folder / "fresh", folder / "published"), **records)


def held(record, cohort):
    return next(case.id for case in cohort if explore_case.part_of(record, cohort, case.id) == HELD_OUT)


# ------------------------------------------------------------------------------------------------------- data and runs


def test_data_opens_by_its_folder_whatever_its_layout(tmp_path, hippocampus_folder):
    folder = phantom.write_brats("cases=2,spacing=6,seed=4", tmp_path / "mine", progress=False)
    assert explore.open_data(f" {folder} ").name == "brats-2"
    assert explore.open_data(str(hippocampus_folder)).name == "msd-task04-hippocampus-260"
    assert explore.open_data(COHORT).name == COHORT


@pytest.mark.parametrize(
    ("place", "says"),
    [("  ", "no data was named"), ("nowhere/at/all", "there is no folder nowhere/at/all"), ("brats:nowhere", "exist")],
)
def test_data_that_does_not_open_says_what_can_be_given(place, says):
    with pytest.raises(CaseError, match=says):
        explore.open_data(place)


def test_runs_of_a_cohort_come_before_those_that_merely_take_its_images(finished, cohort):
    assert {record.id for record in explore.records_for(cohort, finished.store)} >= {finished.zero.id, finished.pair.id}
    other = open_cohort("phantom:cases=2,spacing=6,seed=9")
    found = explore.records_for(other, finished.store)
    assert len(found) == len(finished.store.all())  # all of them can predict its cases
    assert explore.records_for(other, finished.bare) == []  # and without weights have nothing to say of them
    assert len(explore.records_for(cohort, finished.bare)) == len(finished.bare.all())
    assert explore.records_for(other.with_modalities(["flair"]), finished.store) == []


def test_why_a_run_does_not_suit_is_said_at_once(finished, hippocampus_folder):
    data = open_cohort(f"msd:{hippocampus_folder}")
    why = explore.unsuited(finished.zero, data)
    assert "it takes t1ce, flair, which msd-task04-hippocampus-260 lacks" in why
    assert "other structures" in why


def test_names_tell_runs_apart_by_what_differs_and_by_nothing_else(finished, cohort):
    records = [finished.zero, finished.other, finished.second, finished.pair, finished.cascade]
    names = list(explore.named(records, finished.store, cohort.name))
    assert names[0] == "V-Net · fold 0 of 2 · seed 0 · can predict"
    assert names[1] == "V-Net · fold 0 of 2 · seed 1 · can predict"
    assert names[2] == "V-Net · fold 1 of 2 · seed 0 · can predict"
    assert names[3] == "average of V-Net · fold 0 of 2 · seed 0 · can predict"
    assert names[4] == "U-Net cascade · fold 0 of 2 · seed 0 · can predict"
    bare = explore.named(explore.records_for(cohort, finished.bare), finished.bare)
    assert all(name.endswith(f"trained on {COHORT} · numbers only") for name in bare)


@pytest.mark.parametrize("options", [{}, {"filters": 8}])
def test_a_setting_that_is_not_the_usual_one_is_named(options):
    def record(number, **changes):
        experiment = scales.vnet("test", seed=number, **changes)[0]
        return SimpleNamespace(id=str(number), experiment=experiment, weights=None)

    records = [record(0), record(1), record(2, **({"options": options} if options else {"l2": 1e-5}))]
    names = list(explore.named(records, Store("nowhere"), COHORT))
    assert ["filters" in name for name in names] == [False, False, bool(options)]
    assert ["l2 1e-05" in name for name in names] == [False, False, not options]
    assert len(set(names)) == 3


def test_runs_of_one_name_are_told_apart_by_their_id():
    one = SimpleNamespace(id="vnet-1", experiment=scales.vnet("test")[0], weights=None)
    two = SimpleNamespace(id="vnet-2", experiment=scales.vnet("test", threads=2)[0], weights=None)
    assert list(explore.named([one, two], Store("nowhere")))[1].endswith("vnet-2")


def test_the_overview_counts(finished):
    table = explore.overview(finished.store)
    assert table.loc[(COHORT, "V-Net")].tolist() == [3, 3, 3]
    assert explore.overview(finished.bare).loc[(COHORT, "V-Net")].tolist() == [3, 0, 0]
    assert explore.overview(Store("nowhere")).empty


def test_labels_are_known_without_the_data(finished):
    assert explore.labels_of(finished.zero) == GLIOMA
    cases = pd.DataFrame({"region": ["Anterior", "Posterior", "Anterior"]})
    elsewhere = SimpleNamespace(experiment=SimpleNamespace(cohort="not-here-3", regions="labels"), cases=cases)
    assert explore.labels_of(elsewhere) == {1: "Anterior", 2: "Posterior"}
    elsewhere.cases = pd.DataFrame({"region": [*GLIOMA.values(), "WT", "TC", "ET"]})
    assert explore.labels_of(elsewhere) == GLIOMA


# ---------------------------------------------------------------------------------------------- what is there of a case


def test_what_runs_have_of_a_case(finished, cohort):
    case = held(finished.zero, cohort)
    mine = explore_case.offer([finished.zero], cohort, case, finished.store)
    assert (mine.held_out, mine.trained, mine.kept, mine.now, mine.notes) == (1, 0, True, True, ())
    both = explore_case.offer([finished.zero, finished.second], cohort, case, finished.store)
    assert (both.held_out, both.trained, both.kept, both.now) == (1, 1, True, True)
    assert any("1 of these 2 runs were trained on this case" in note for note in both.notes)
    mixed = explore_case.offer([finished.zero, finished.cascade], cohort, case, finished.store)
    assert not mixed.now
    assert any("different regions and kinds of output" in note for note in mixed.notes)


def test_a_published_run_shows_numbers_and_says_how_to_get_more(finished, cohort):
    case = held(finished.zero, cohort)
    record = finished.bare.get(finished.zero.experiment)
    offer = explore_case.offer([record], cohort, case, finished.bare)
    assert (offer.kept, offer.now) == (False, False)
    text = " ".join(offer.notes)
    assert "its prediction is not on this machine" in text
    assert f"-m gbmlib run {COHORT} --ids {record.id}" in text
    assert len(explore_case.recorded([record], cohort, case)) == 3
    with pytest.raises(Unsuited, match=f"none of the chosen runs has a prediction of {case}"):
        explore_case.kept([record], cohort, case)
    with pytest.raises(FileNotFoundError, match=f"weights of {record.id}"):
        explore_predict.predict([record], finished.bare, cohort, case)


def test_a_record_of_other_data_of_the_same_name_is_out_of_date(finished, cohort):
    changed = dataclasses.replace(cohort, digest=lambda: "other")
    offer = explore_case.offer([finished.zero], changed, held(finished.zero, cohort), finished.store)
    assert "is out of date" in offer.notes[0]


def test_recorded_numbers_are_means_over_the_runs_that_have_the_case(finished, cohort):
    case = held(finished.zero, cohort)
    table = explore_case.recorded([finished.zero, finished.other, finished.second], cohort, case)
    assert table.runs.tolist() == [2, 2, 2, 1, 1, 1]
    mine = [
        record.cases[
            (record.cases.case == case) & (record.cases.region == "WT") & (record.cases.metric == "dice")
        ].value
        for record in (finished.zero, finished.other)
    ]
    assert table.loc[(HELD_OUT, "WT"), "Dice"] == np.mean([float(value.iloc[0]) for value in mine])
    assert (TRAIN, "ET") in table.index


def test_numbers_of_another_cohorts_case_of_the_same_name_are_not_shown(finished, cohort):
    other = open_cohort("phantom:cases=5,spacing=6,seed=0")
    case = held(finished.zero, cohort)
    assert case in [of.id for of in other]
    assert explore_case.recorded([finished.zero], other, case).empty


def test_what_was_kept_of_one_run_and_of_several(finished, cohort):
    case = held(finished.zero, cohort)
    one = explore_case.kept([finished.zero, finished.second], cohort, case)  # the second was trained on the case
    assert np.array_equal(one, cohort[case].read(finished.zero.prediction(case)))
    two = explore_case.kept([finished.zero, finished.other], cohort, case)
    mean = out_of_fold.average([out_of_fold.load(r.probabilities(case)) for r in (finished.zero, finished.other)])
    assert np.array_equal(two, predicting.decide(mean[0], finished.zero.experiment, cohort, mean[1]))
    with pytest.raises(Unsuited, match=f"{finished.pair.id} kept no probabilities"):
        explore_case.kept([finished.zero, finished.pair], cohort, case)


def test_a_prediction_is_measured_as_the_record_was(finished, cohort):
    case = held(finished.zero, cohort)
    label_map = explore_case.kept([finished.zero], cohort, case)
    now = explore_case.measured(label_map, cohort, case, "brats")
    then = explore_case.recorded([finished.zero], cohort, case).loc[HELD_OUT]
    pd.testing.assert_frame_equal(now, then[now.columns], check_names=False)


# ------------------------------------------------------------------------------------------------------ predicting now


@pytest.mark.parametrize("name", ["zero", "cascade"])
def test_predicting_now_gives_what_the_run_kept(finished, cohort, name):
    record = getattr(finished, name)
    case, shares = held(record, cohort), []
    found = explore_predict.predict([record], finished.store, cohort, case, shares.append)
    assert np.array_equal(found, explore_case.kept([record], cohort, case))
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


def test_an_average_made_now_is_the_ensembles(finished, cohort):
    """The ensemble averaged what its members kept in half precision: a voxel on the threshold may fall otherwise."""
    case = held(finished.zero, cohort)
    kept = explore_case.kept([finished.pair], cohort, case)
    now = explore_predict.predict([finished.pair], finished.store, cohort, case)
    assert (now != kept).mean() < 1e-3
    assert now.any()
    plain = explore_predict.predict([finished.zero, finished.other], finished.store, cohort, case)
    alone = explore_predict.predict([finished.zero], finished.store, cohort, case)
    assert not np.array_equal(plain, alone)


def test_a_cascade_predicts_a_case_that_no_fold_has_seen(finished):
    other = open_cohort("phantom:cases=2,spacing=6,seed=9")
    found = explore_predict.predict([finished.cascade], finished.store, other, other.cases[0].id)
    assert found.shape == other.cases[0].shape


@pytest.mark.parametrize(
    ("changes", "shape"),
    [({}, (26, 40, 33)), ({"mirrored_inference": True}, (64, 20, 33)), ({"patch_size": (48, 32, 32)}, (50, 32, 70))],
)
def test_the_number_of_passes_is_that_of_the_networks_calls(changes, shape):
    import torch

    calls = []

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, tile):
            calls.append(tile.shape)
            return torch.zeros(len(tile), 3, *tile.shape[2:])

    of = scales.vnet("test", **changes)[0]
    predicting.predict(Network(), of, torch.rand(2, *shape))
    assert len(calls) == explore_predict.passes(of, shape)
    flat = nnunet.glioma("test", 2, (0,), cohort=COHORT, **{k: v for k, v in changes.items() if k[0] == "m"})[0]
    calls.clear()
    predicting.predict(Network(), flat, torch.rand(2, *shape))
    assert len(calls) == explore_predict.passes(flat, shape)


def test_a_prediction_stops_when_it_is_told_to(finished, cohort):
    def tick(share):
        if share > 0:
            raise Stopped

    with pytest.raises(Stopped):
        explore_predict.predict([finished.zero, finished.other], finished.store, cohort, cohort.cases[0].id, tick)


def test_runs_that_cannot_be_averaged_are_refused_with_all_reasons(finished, cohort):
    with pytest.raises(Unsuited, match="different regions and kinds"):
        explore_predict.predict([finished.zero, finished.cascade], finished.store, cohort, cohort.cases[0].id)
    with pytest.raises(Unsuited, match="no run is chosen"):
        explore_predict.predict([], finished.store, cohort, cohort.cases[0].id)
    with pytest.raises(Unsuited, match="takes t1ce"):
        explore_predict.predict([finished.zero], finished.store, cohort.with_modalities(["t2"]), cohort.cases[0].id)


# ------------------------------------------------------------------------------------------------ a case of one's own


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A case as files, in the scanner's orientation, not the library's."""
    folder = phantom.write_brats("cases=2,spacing=6,seed=4", tmp_path_factory.mktemp("own"), progress=False)
    case = open_cohort(f"brats:{folder}").cases[0]
    turned = {}
    for name, file in case.files.items():
        image = nib.load(file.path)
        flipped = nib.as_closest_canonical(image).slicer[::-1]
        turned[name] = folder / f"turned_{name}.nii.gz"
        nib.save(flipped, turned[name])
    return turned


def test_a_case_from_files_is_segmented_and_saved_in_its_own_space(finished, files, tmp_path):
    own, notes = explore_predict.own_case(files, ("t1ce", "flair"), GLIOMA)
    case = own.cases[0]
    assert notes == ()
    assert case.modalities == ("t1ce", "flair")
    label_map = explore_predict.predict([finished.zero], finished.store, own, case.id)
    grown = open_cohort("phantom:cases=2,spacing=6,seed=4")
    assert np.array_equal(label_map, explore_predict.predict([finished.zero], finished.store, grown, grown.cases[0].id))
    label_map[3, 4, 5] = 3
    path = explore_predict.save(label_map, case, tmp_path / "new" / "mine.nii.gz")
    written, source = nib.load(path), nib.load(files["t1ce"])
    assert np.array_equal(written.affine, source.affine)
    assert written.shape == source.shape
    assert nib.aff2axcodes(written.affine)[0] == "L"
    assert np.array_equal(case.read(path), label_map)
    old = explore_predict.CONVENTIONS["1, 2, 4, as BraTS 2017 to 2021"]
    four = explore_predict.save(label_map, case, tmp_path / "four.nii", convention=old)
    assert np.array_equal(np.asarray(nib.load(four).dataobj) == 4, np.asarray(written.dataobj) == 3)
    volumes = explore_predict.volumes(label_map, case, own, "brats")
    assert volumes.loc["ET", "volume (ml)"] == round((label_map == 3).sum() * 0.216, 2)


def test_all_that_is_wrong_with_files_is_said_together(files, tmp_path):
    image = nib.load(files["t2"])
    smaller = tmp_path / "smaller.nii.gz"
    nib.save(image.slicer[1:], smaller)
    data = np.asarray(image.dataobj, np.float32)
    data[2, 3, 4] = np.nan
    nib.save(nib.Nifti1Image(data, image.affine), tmp_path / "broken.nii.gz")
    given = {"t1ce": files["t1ce"], "t2": tmp_path / "broken.nii.gz", "t1": smaller, "flair": " "}
    with pytest.raises(CaseError) as caught:
        explore_predict.own_case(given | {"ct": tmp_path / "absent.nii"}, (*given, "ct"), GLIOMA)
    text = str(caught.value)
    assert "4 problems" in text
    assert "flair: no file is given" in text
    assert "broken.nii.gz: t2 holds voxels that are not finite (1)" in text
    assert "smaller.nii.gz: t1 and" in text
    assert "absent.nii: is missing" in text
    with pytest.raises(CaseError, match="t1ce and flair are the same image"):
        explore_predict.own_case({"t1ce": files["t1"], "flair": files["t1"]}, ("t1ce", "flair"), GLIOMA)


def test_a_skull_is_worth_a_word_for_gliomas_alone(files, tmp_path):
    image = nib.load(files["t1"])
    with_skull = tmp_path / "skull.nii.gz"
    data = np.asarray(image.dataobj, np.float32) - 5
    nib.save(nib.Nifti1Image(data, image.affine), with_skull)
    assert "skull" in explore_predict.own_case({"t1": with_skull}, ("t1",), GLIOMA)[1][0]
    assert explore_predict.own_case({"t1": with_skull}, ("t1",), {1: "Anterior", 2: "Posterior"})[1] == ()


def test_nothing_is_written_over(files, tmp_path):
    own, _ = explore_predict.own_case(files, ("t1ce",), GLIOMA)
    case, empty = own.cases[0], np.zeros(own.cases[0].shape, np.uint8)
    before = files["t1ce"].read_bytes()
    with pytest.raises(CaseError, match="is an image of this case"):
        explore_predict.save(empty, case, files["t1ce"], replace=True)
    assert files["t1ce"].read_bytes() == before
    path = explore_predict.save(empty, case, tmp_path / "a.nii.gz")
    with pytest.raises(CaseError, match="is there already"):
        explore_predict.save(empty, case, path)
    assert explore_predict.save(empty, case, path, replace=True) == path
    for wrong, says in (("  ", "no file is named"), (tmp_path / "a.txt", "as .nii or .nii.gz")):
        with pytest.raises(CaseError, match=says):
            explore_predict.save(empty, case, wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii.gz"]


# ------------------------------------------------------------------------------------------ a training as it goes


def checkpoint(folder, experiment, epochs):
    """What training writes, without a network to speak of."""
    import torch

    history = [{"epoch": e, "train_loss": 1 / (e + 1), "train_dice": 0.1 * e} for e in range(epochs)]
    history = [row | {"val_loss": 2.0, "val_dice": 0.05} for row in history]
    folder.mkdir(parents=True, exist_ok=True)
    content = {"network": {"w": torch.zeros(3)}, "optimiser": {"state": {0: {"step": torch.ones(1)}}}}
    origin = {"configuration": experiment.canonical, "device": "cpu"}
    tensors.save(
        folder / "checkpoint.safetensors",
        content | {"origin": origin, "history": history, "seconds": [2.0] * epochs},
    )


def test_a_training_is_seen_as_its_checkpoint_has_it(tmp_path):
    store, experiment = Store(tmp_path), explore_training.small_run()
    assert explore_training.going_on(Store(tmp_path / "none")) == []
    folder = store.unfinished(experiment)
    going = explore_training.look(store, experiment.id)
    assert (going.experiment, going.remaining, going.running) == (None, None, False)
    assert "no checkpoint yet" in str(going)
    checkpoint(folder, experiment, 3)
    going = explore_training.look(store, experiment.id)
    assert going.experiment == experiment
    assert going.history.train_loss.tolist() == [1, 1 / 2, 1 / 3]
    whole = tensors.load(folder / "checkpoint.safetensors")
    assert going.history.to_dict("records") == whole["history"]
    assert going.remaining == 2.0 * (experiment.epochs - 3)
    assert "interrupted; asked for again, it goes on" in str(going)
    assert explore_training.look(store, "vnet-unknown") is None


def test_who_works_on_a_run_is_known_by_its_lock(tmp_path):
    store, first = Store(tmp_path), explore_training.small_run()
    second = first.changed(seed=1)
    for experiment in (first, second):
        checkpoint(store.unfinished(experiment), experiment, 1)
    with store.lock(second):
        found = explore_training.going_on(store)
    assert [(of.id, of.running) for of in found] == [(second.id, True), (first.id, False)]
    assert not any(of.running for of in explore_training.going_on(store))
    assert "about 22 s to go" in str(dataclasses.replace(found[0]))


def process(code, folder):
    """A training whose process does something else."""
    log = folder / "log"
    with log.open("w") as output:
        return explore_training.Training("vnet-0", subprocess.Popen([sys.executable, "-c", code], stderr=output), log)


def test_a_training_that_fails_says_why_and_one_that_is_stopped_is_no_failure(tmp_path):
    training = process("raise OSError('the disk is full: 0 bytes left')", tmp_path)
    training.process.wait(60)
    what, details = training.failure()
    assert what == "The training failed: the disk is full: 0 bytes left"
    assert "Traceback" in details
    training = process("import time; time.sleep(60)", tmp_path)
    assert (training.over, training.failure()) == (False, ("", ""))
    training.stop()
    assert training.failure()[0].startswith("The training was stopped")
    training = process("pass", tmp_path)
    training.process.wait(60)
    assert training.failure() == ("", "")
    with pytest.raises(CaseError, match="has not opened"):
        explore_training.start(explore_training.small_run().changed(cohort="not-here-3"), Store(tmp_path))


def test_the_small_run_is_a_configuration_that_its_process_reads_back():
    experiment = explore_training.small_run()
    assert Experiment(**json.loads(experiment.model_dump_json(exclude_defaults=True))) == experiment


# --------------------------------------------------------------------------------------------------------- the panels


@pytest.fixture
def shown(finished):
    pytest.importorskip("ipywidgets")
    from gbmlib.lab.explore_panels import panels

    made = panels(finished.store, COHORT)
    yield made
    made.close()


def test_choosing_changes_viewer_numbers_and_curves(shown, finished, cohort):
    case = shown.case
    assert case.status.text == ""
    assert case.cases.options == tuple(of.id for of in cohort)
    assert explore_case.part_of(case.chosen()[0], cohort, case.cases.value) == HELD_OUT
    names = {record.id: name for name, record in case.named.items()}
    case.runs.value = (names[finished.zero.id],)
    before = case.pictures.children[0]
    assert [of["name"] for of in before.spec["overlays"]] == ["gold standard", "prediction"]
    assert "held out" in case.numbers.value
    assert len(case.curves.outputs) == 1
    case.truth.value = False
    assert [of["name"] for of in case.pictures.children[0].spec["overlays"]] == ["prediction"]
    assert case.pictures.children[0].position == before.position
    case.cases.value = next(of.id for of in cohort if of.id != case.cases.value)
    assert case.pictures.children[0].spec["title"].endswith(case.cases.value)
    case.filter.value = "average"
    assert [record.id for record in case.named.values()] == [finished.pair.id]
    assert case.curves.outputs == ()  # an ensemble has no epochs


def test_several_runs_are_predicted_in_the_background(shown, finished, cohort):
    case = shown.case
    names = {record.id: name for name, record in case.named.items()}
    case.runs.value = (names[finished.zero.id], names[finished.other.id])
    case.predict()
    case.work.wait()
    assert case.status.text == ""
    assert [of["name"] for of in case.pictures.children[0].spec["overlays"]][-1] == "predicted now"
    assert "Predicted now" in case.numbers.value
    made = explore_predict.predict([finished.zero, finished.other], finished.store, cohort, case.cases.value)
    assert np.array_equal(case.made[case._key()], made)


def test_what_goes_wrong_is_told_in_the_panel(shown, monkeypatch):
    case = shown.case
    case.place.value = "nowhere/at/all"
    case.open()
    assert case.status.text.startswith("there is no folder nowhere/at/all")
    assert "<details>" not in case.status.widget.value
    monkeypatch.setattr(explore_predict, "predict", lambda *_: 1 / 0)
    case.place.value = COHORT
    case.open()
    case.predict()
    case.work.wait()
    assert case.status.text == "This was not foreseen. ZeroDivisionError: division by zero"
    assert "Traceback" in case.status.widget.value


def test_work_can_be_stopped_and_is_one_at_a_time(shown, monkeypatch):
    begun = threading.Event()

    def endless(records, store, cohort, case_id, tick):
        begun.set()
        while True:
            tick(0.5)
            time.sleep(0.01)

    monkeypatch.setattr(explore_predict, "predict", endless)
    case = shown.case
    case.predict()
    assert begun.wait(10)
    case.predict()
    assert "still at work" in case.status.text
    case.work.button.click()
    case.work.wait()
    assert case.status.text == "Stopped; nothing was kept."
    assert case.work.widget.layout.display == "none"


def test_the_end_of_work_does_not_wait_for_the_loop_of_another_library():
    explore_work = pytest.importorskip("gbmlib.lab.explore_work")
    status = explore_work.Status()

    async def within_a_loop():
        work = explore_work.Work(status)
        work.start("Counting", lambda tick: 3, lambda result: status.say(f"{result} counted"))
        work.wait()
        return status.text

    with ThreadPoolExecutor(1) as elsewhere:  # this thread may have such a loop already, of the browser's driver
        assert elsewhere.submit(asyncio.run, within_a_loop()).result() == "3 counted"


def test_ones_own_files_in_the_panel(shown, files, tmp_path):
    own = shown.own
    own.check()
    assert "2 problems" in own.status.text
    for field in own.files.children:
        field.value = str(files[field.description].parent)
        assert str(files[field.description]) in field.options
        field.value = str(files[field.description])
    own.segment()
    own.work.wait()
    assert own.status.text == ""
    assert "volume (ml)" in own.numbers.value
    own.save()
    assert "no file is named" in own.status.text
    own.path.value = str(tmp_path / "mine.nii.gz")
    own.save()
    assert own.status.text.startswith("Saved as")
    assert (tmp_path / "mine.nii.gz").exists()


@pytest.mark.slow
def test_with_nothing_run_the_panels_say_what_to_run_first(tmp_path):
    pytest.importorskip("ipywidgets")
    from gbmlib.lab.explore_panels import panels

    made = panels(Store(tmp_path / "runs"), profile="test")
    assert "No run here has anything to say" in made.case.notes.value
    assert made.case.predict_button.disabled
    assert "No run with weights" in made.own.status.text
    made.own.segment()
    assert made.own.status.text == "no run is chosen"
    assert made.training.status.text == "Nothing is being trained in this store."
    made.training.small_button.click()
    seen = set()
    for _ in range(2000):
        if not made.training.every.on:
            break
        seen |= {of.running for of in explore_training.going_on(made.case.store)}
        time.sleep(0.1)
    assert True in seen
    assert "is finished after 2 epochs" in made.training.status.text
    assert len(made.training.curves.outputs) == 1
    assert len(made.case.chosen()) == len(made.own.chosen()) == 1
    made.close()
