"""What there is to choose from, and what runs have to show of a case."""

import dataclasses
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from small_data import write_brats

from gbmlib.cohorts import GLIOMA, CaseError, open_cohort, own_files
from gbmlib.lab import runs
from gbmlib.study import out_of_fold, predicting, scales
from gbmlib.study.out_of_fold import UnsuitableRuns
from gbmlib.study.records import HELD_OUT, TRAIN, Store

COHORT = "phantom:cases=4,spacing=6,seed=0"


@pytest.fixture(scope="module")
def cohort():
    return open_cohort(COHORT)


def held(record, cohort):
    return next(case.id for case in cohort if runs.split_of(record, cohort, case.id) == HELD_OUT)


# ------------------------------------------------------------------------------------------------------- data and runs


def test_data_opens_by_its_folder_whatever_its_layout(tmp_path, hippocampus_folder):
    folder = write_brats("cases=2,spacing=6,seed=4", tmp_path / "mine")
    assert runs.open_data(f" {folder} ").name == "brats-2"
    assert runs.open_data(str(hippocampus_folder)).name == "msd-task04-hippocampus-260"
    assert runs.open_data(COHORT).name == COHORT


@pytest.mark.parametrize(
    ("place", "says"),
    [("  ", "no data was named"), ("nowhere/at/all", "there is no folder nowhere/at/all"), ("brats:nowhere", "exist")],
)
def test_data_that_does_not_open_says_what_can_be_given(place, says):
    with pytest.raises(CaseError, match=says):
        runs.open_data(place)


def test_runs_of_a_cohort_come_before_those_that_merely_take_its_images(small_runs, cohort):
    assert {record.id for record in runs.records_for(cohort, small_runs.store)} >= {
        small_runs.zero.id,
        small_runs.pair.id,
    }
    other = open_cohort("phantom:cases=2,spacing=6,seed=9")
    found = runs.records_for(other, small_runs.store)
    assert len(found) == len(small_runs.store.all())  # all of them can predict its cases
    assert runs.records_for(other, small_runs.bare) == []  # and without weights have nothing to say of them
    assert len(runs.records_for(cohort, small_runs.bare)) == len(small_runs.bare.all())
    assert runs.records_for(other.with_modalities(["flair"]), small_runs.store) == []


def test_names_tell_runs_apart_by_what_differs_and_by_nothing_else(small_runs, cohort):
    records = [small_runs.zero, small_runs.other, small_runs.second, small_runs.pair, small_runs.cascade]
    names = list(runs.by_name(records, small_runs.store, cohort.name))
    assert names[0] == "V-Net · fold 0 of 2 · seed 0 · can predict"
    assert names[1] == "V-Net · fold 0 of 2 · seed 1 · can predict"
    assert names[2] == "V-Net · fold 1 of 2 · seed 0 · can predict"
    assert names[3] == "average of V-Net · fold 0 of 2 · seed 0 · can predict"
    assert names[4] == "U-Net cascade · fold 0 of 2 · seed 0 · can predict"
    bare = runs.by_name(runs.records_for(cohort, small_runs.bare), small_runs.bare)
    assert all(name.endswith(f"trained on {COHORT} · numbers only") for name in bare)


@pytest.mark.parametrize("options", [{}, {"filters": 8}])
def test_a_setting_that_is_not_the_usual_one_is_named(options):
    def record(number, **changes):
        experiment = scales.vnet("test", seed=number, **changes)[0]
        return SimpleNamespace(id=str(number), experiment=experiment, weights=None)

    records = [record(0), record(1), record(2, **({"options": options} if options else {"l2": 1e-5}))]
    names = list(runs.by_name(records, Store("nowhere"), COHORT))
    assert ["filters" in name for name in names] == [False, False, bool(options)]
    assert ["l2 1e-05" in name for name in names] == [False, False, not options]
    assert len(set(names)) == 3


def test_runs_of_one_name_are_told_apart_by_their_id():
    one = SimpleNamespace(id="vnet-1", experiment=scales.vnet("test")[0], weights=None)
    two = SimpleNamespace(id="vnet-2", experiment=scales.vnet("test", threads=2)[0], weights=None)
    assert list(runs.by_name([one, two], Store("nowhere")))[1].endswith("vnet-2")


def test_the_overview_counts(small_runs):
    table = runs.overview(small_runs.store)
    assert table.loc[(COHORT, "V-Net")].tolist() == [3, 3, 3]
    assert runs.overview(small_runs.bare).loc[(COHORT, "V-Net")].tolist() == [3, 0, 0]
    assert runs.overview(Store("nowhere")).empty


def test_labels_are_known_without_the_data(small_runs):
    assert runs.labels_of(small_runs.zero) == GLIOMA
    cases = pd.DataFrame({"region": ["Anterior", "Posterior", "Anterior"]})
    elsewhere = SimpleNamespace(experiment=SimpleNamespace(cohort="not-here-3", regions="labels"), cases=cases)
    assert runs.labels_of(elsewhere) == {1: "Anterior", 2: "Posterior"}
    elsewhere.cases = pd.DataFrame({"region": [*GLIOMA.values(), "WT", "TC", "ET"]})
    assert runs.labels_of(elsewhere) == GLIOMA


# ---------------------------------------------------------------------------------------------- what is there of a case


def test_what_runs_have_of_a_case(small_runs, cohort):
    case = held(small_runs.zero, cohort)
    mine = runs.available([small_runs.zero], cohort, case, small_runs.store)
    assert mine == runs.Available(kept=True, predictable=True, notes=())
    both = runs.available([small_runs.zero, small_runs.second], cohort, case, small_runs.store)
    assert (both.kept, both.predictable) == (True, True)
    assert any("1 of these 2 runs were trained on this case" in note for note in both.notes)
    mixed = runs.available([small_runs.zero, small_runs.cascade], cohort, case, small_runs.store)
    assert not mixed.predictable
    assert any("different regions and kinds of output" in note for note in mixed.notes)


def test_a_published_run_shows_numbers_and_says_how_to_get_more(small_runs, cohort):
    case = held(small_runs.zero, cohort)
    record = small_runs.bare.get(small_runs.zero.experiment)
    available = runs.available([record], cohort, case, small_runs.bare)
    assert (available.kept, available.predictable) == (False, False)
    text = " ".join(available.notes)
    assert "its prediction is not on this machine" in text
    assert f"-m gbmlib run {COHORT} --ids {record.id}" in text
    assert len(runs.recorded([record], cohort, case)) == 3
    with pytest.raises(UnsuitableRuns, match=f"none of the chosen runs has a prediction of {case}"):
        runs.kept_prediction([record], cohort, case)
    with pytest.raises(FileNotFoundError, match=f"{record.id} has not been run"):
        out_of_fold.segment([record], small_runs.bare, cohort, case)


def test_a_record_of_other_data_of_the_same_name_is_out_of_date(small_runs, cohort):
    changed = dataclasses.replace(cohort, digest=lambda: "other")
    available = runs.available([small_runs.zero], changed, held(small_runs.zero, cohort), small_runs.store)
    assert "is out of date" in available.notes[0]


def test_recorded_numbers_are_means_over_the_runs_that_have_the_case(small_runs, cohort):
    case = held(small_runs.zero, cohort)
    table = runs.recorded([small_runs.zero, small_runs.other, small_runs.second], cohort, case)
    assert table.runs.tolist() == [2, 2, 2, 1, 1, 1]
    mine = [
        record.cases[
            (record.cases.case == case) & (record.cases.region == "WT") & (record.cases.metric == "dice")
        ].value
        for record in (small_runs.zero, small_runs.other)
    ]
    assert table.loc[(HELD_OUT, "WT"), "Dice"] == np.mean([float(value.iloc[0]) for value in mine])
    assert (TRAIN, "ET") in table.index


def test_numbers_of_another_cohorts_case_of_the_same_name_are_not_shown(small_runs, cohort):
    other = open_cohort("phantom:cases=5,spacing=6,seed=0")
    case = held(small_runs.zero, cohort)
    assert case in [of.id for of in other]
    assert runs.recorded([small_runs.zero], other, case).empty


def test_what_was_kept_of_one_run_and_of_several(small_runs, cohort):
    case = held(small_runs.zero, cohort)
    one = runs.kept_prediction([small_runs.zero, small_runs.second], cohort, case)  # the second was trained on the case
    assert np.array_equal(one, cohort[case].read(small_runs.zero.prediction(case)))
    two = runs.kept_prediction([small_runs.zero, small_runs.other], cohort, case)
    mean = out_of_fold.average([out_of_fold.load(r.probabilities(case)) for r in (small_runs.zero, small_runs.other)])
    assert np.array_equal(two, predicting.decide(mean[0], small_runs.zero.experiment, cohort, mean[1]))
    with pytest.raises(UnsuitableRuns, match=f"{small_runs.pair.id} kept no probabilities"):
        runs.kept_prediction([small_runs.zero, small_runs.pair], cohort, case)


def test_a_prediction_is_measured_as_the_record_was(small_runs, cohort):
    case = held(small_runs.zero, cohort)
    label_map = runs.kept_prediction([small_runs.zero], cohort, case)
    now = runs.measured(label_map, cohort, case, "brats")
    then = runs.recorded([small_runs.zero], cohort, case).loc[HELD_OUT]
    pd.testing.assert_frame_equal(now, then[now.columns], check_names=False)


def test_volumes_and_a_skull_of_ones_own_case(turned_files, tmp_path):
    own = own_files.own_case(turned_files, ("t1ce", "flair"), GLIOMA)
    label_map = np.zeros(own.cases[0].shape, np.uint8)
    label_map[:2, 0, :5] = 3
    assert runs.volumes(label_map, own.cases[0], own, "brats").loc["ET", "volume (ml)"] == round(10 * 0.216, 2)
    assert runs.skull_warning(own) == ""
    image = nib.load(turned_files["t1"])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj, np.float32) - 5, image.affine), tmp_path / "skull.nii.gz")
    for labels, warned in ((GLIOMA, True), ({1: "Anterior", 2: "Posterior"}, False)):
        warning = runs.skull_warning(own_files.own_case({"t1": tmp_path / "skull.nii.gz"}, ("t1",), labels))
        assert ("t1: the voxels around the head" in warning) is warned


def test_ones_own_latest_run_says_where_to_begin(monkeypatch):
    def record(cohort, began, published=False):
        provenance = {"began": began}
        return SimpleNamespace(experiment=SimpleNamespace(cohort=cohort), provenance=provenance, published=published)

    phantoms = [f"phantom:cases=4,spacing=6,seed={seed}" for seed in range(3)]
    records = [record("not-here-3", "2024"), record(phantoms[0], "2021"), record(phantoms[1], "2023")]
    store = SimpleNamespace(all=lambda: [*records, record(phantoms[2], "2025", published=True)])
    assert runs.places(store, "default") == [phantoms[1], phantoms[0], "default", phantoms[2]]
    store = SimpleNamespace(all=lambda: [record(phantoms[2], "2025", published=True)])
    assert runs.places(store, "default") == ["default", phantoms[2]]
