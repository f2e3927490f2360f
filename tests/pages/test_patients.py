"""The cases that the book carries, and that what it says of them is so."""

import importlib.util
import json
import shutil

import numpy as np
import pytest
from scipy import ndimage

from gbmlib.cohorts import open_cohort, regions
from gbmlib.cohorts.regions import BRATS, members
from gbmlib.evaluation import metrics
from gbmlib.files import CASES, RECORDS
from gbmlib.pages import patients
from gbmlib.study import cross_validation, head_to_head
from gbmlib.study.records import HELD_OUT, Store
from gbmlib.viewer import view

NAMES = sorted(path.name for path in patients.SCANS.iterdir())
TYPICAL, POOR = HIPPOCAMPI = ("hippocampus_107", "hippocampus_164")

#: The challenge's names of the gliomas, as the records have them.
IN_RECORDS = {number: name for name, number in patients.NUMBERS.items()}


def held_out_dice(runs, name):
    """The Dice of a case by the one of some runs that holds it out, by region."""
    tables = [record.cases for record in map(Store(RECORDS).get, runs) if record]
    [table] = [one[(one.case == name) & (one.split == HELD_OUT)] for one in tables if _holds_out(one, name)]
    return table[table.metric == "dice"].set_index("region").value


def _holds_out(table, name):
    return ((table.case == name) & (table.split == HELD_OUT)).any()


@pytest.mark.parametrize("name", NAMES)
def test_each_has_images_labels_and_predictions_that_fit(name):
    patient = patients.case(name)
    assert patient.modalities == ("flair", "t1ce")
    assert patient.spacing == (1, 1, 1)
    truth, drawn = patient.label(), patients.predictions(patient)
    assert set(drawn) >= {"SegVAE, pipeline A", "U-Net, pipeline B", *patients.PLANNED}
    for label_map in drawn.values():
        assert label_map.shape == truth.shape
        assert 0.2 < metrics.dice(label_map > 0, truth > 0) < 1
    # What lies outside of the brain is empty.
    assert not truth[~(patient.images() != 0).any(0)].any()


@pytest.mark.parametrize("name", [*NAMES, *HIPPOCAMPI])
def test_the_dice_that_is_shown_is_the_one_of_the_record(name):
    patient, glioma = patients.case(name), name in NAMES
    planned = cross_validation.networks("study") if glioma else cross_validation.of_hippocampus("study")
    planned |= cross_validation.averages(planned)
    labels = patients.PLANNED if glioma else patients.PLANNED[:2]
    drawn = patients.predictions(patient, labels)
    regions = BRATS if glioma else members("labels", patient.labels)
    shown = view(patient, patient.label(), overlays=drawn, side_by_side=True, mode="static").spec["panels"]
    for label, panel in zip(labels, shown, strict=True):
        recorded = held_out_dice(planned[label], IN_RECORDS.get(name, name))
        for region, values in regions.items():
            dice = metrics.dice(np.isin(drawn[label], list(values)), np.isin(patient.label(), list(values)))
            assert dice == pytest.approx(recorded[region], abs=1e-9), (label, region)
        assert panel["note"] == "Dice " + ", ".join(f"{region} {recorded[region]:.2f}" for region in regions)


def test_what_the_chapter_says_of_the_glioma_is_so():
    planned = cross_validation.networks("study")
    planned |= cross_validation.averages(planned)
    for label in patients.PLANNED:
        dices = {name: held_out_dice(planned[label], of)[list(BRATS)].mean() for name, of in IN_RECORDS.items()}
        assert sorted(dices, key=dices.get)[1] == "BRATS_308"
    patient = patients.case("BRATS_308")
    drawn = patients.predictions(patient, patients.PLANNED)
    pieces = {label: ndimage.label(label_map > 0)[1] for label, label_map in drawn.items()}
    assert [label for label, count in pieces.items() if count == 1] == ["cascade"]
    core = {label: np.count_nonzero(label_map == 1) for label, label_map in drawn.items()}
    assert core.pop("cascade") < min(*core.values(), np.count_nonzero(patient.label() == 1))


def test_what_the_chapter_says_of_the_hippocampus_is_so():
    patient = patients.case(POOR)
    truth = patient.label()
    for label_map in patients.predictions(patient, ("2D", "3D")).values():
        assert metrics.dice(label_map > 0, truth > 0) > 0.92
        ends = [np.flatnonzero((of == 1).any((0, 2)))[0] for of in (truth, label_map)]  # y runs to the front
        assert 3 <= ends[0] - ends[1] <= 6
        for value in patient.labels:
            assert metrics.dice(label_map == value, truth == value) < 0.8


@pytest.fixture
def make():
    spec = importlib.util.spec_from_file_location("make", CASES / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_hippocampi_are_those_that_the_rule_names(make):
    records = [Store(RECORDS).get(run) for run in cross_validation.of_hippocampus("study")["3D"]]
    assert make.typical_and_poor(records) == HIPPOCAMPI
    assert [case.id for case in open_cohort(f"msd:{patients.HIPPOCAMPI}")] == list(HIPPOCAMPI)
    assert json.loads((patients.HIPPOCAMPI / "dataset.json").read_text())["licence"] == "CC-BY-SA 4.0"


def test_they_are_made_again_from_the_data_and_from_label_maps(make, hippocampus_folder, monkeypatch, tmp_path):
    """Of 2D a folder RUN/CASE.nii.gz, of 3D a store as runs leave it behind."""
    for label, folder in {"2D": "", "3D": "predictions"}.items():
        run = cross_validation.of_hippocampus("study")[label][0]
        shutil.copytree(patients.PREDICTIONS / label, tmp_path / "runs" / run.id / folder)
    for name in ("HIPPOCAMPI", "PREDICTIONS"):
        monkeypatch.setattr(patients, name, tmp_path / name)
    make.make_hippocampi(tmp_path / "runs", open_cohort(f"msd:{hippocampus_folder}"))
    made = {path.relative_to(tmp_path / "HIPPOCAMPI") for path in (tmp_path / "HIPPOCAMPI").rglob("*.*")}
    assert len(made) == 5
    for path in made:
        assert (tmp_path / "HIPPOCAMPI" / path).read_bytes() == (CASES / "hippocampi" / path).read_bytes()
    for name in HIPPOCAMPI:
        again = patients.predictions(patients.case(name), ("2D", "3D"))
        for label, label_map in again.items():
            there = patients.case(name).read(CASES / "predictions" / label / f"{name}.nii.gz")
            np.testing.assert_array_equal(label_map, there)


def test_the_epochs_end_with_the_published_network():
    patient, drawn = patients.epochs()
    name, cell = patients.WATCHED
    assert next(iter(drawn)) == "epoch 1"
    [run] = [run for run in head_to_head.cells("study")[cell] if _holds_out(Store(RECORDS).get(run).cases, name)]
    assert list(drawn)[-1] == f"epoch {run.epochs}"
    np.testing.assert_array_equal(
        *patients.predictions(patient, (patients.folder_of(*cell),)).values(), list(drawn.values())[-1]
    )
    dices = [metrics.dice(label_map > 0, patient.label() > 0) for label_map in drawn.values()]
    assert dices[0] < 0.4 < 0.7 < dices[-1]


def test_predictions_come_in_the_order_that_is_asked_for():
    patient = patients.case(NAMES[0])
    drawn = patients.predictions(patient, ("U-Net-B", "SegVAE-A"))
    assert list(drawn) == ["U-Net, pipeline B", "SegVAE, pipeline A"]
    np.testing.assert_array_equal(drawn["U-Net, pipeline B"], patients.predictions(patient)["U-Net, pipeline B"])
    assert patients.folder_of("V-Net, normalised", "A") == "V-Net, normalised-A"
    for name in ("BRATS_000", "hippocampus_000"):
        with pytest.raises(KeyError, match=name):
            patients.case(name)


def test_the_label_maps_have_the_dice_of_the_published_records():
    """So they are of the same networks, and the two names of a patient belong together."""
    assert sorted(patients.NUMBERS.values()) == NAMES
    shown = {cell: runs for cell, runs in head_to_head.cells("study").items() if _folder(cell).exists()}
    assert set(head_to_head.without_vnet("study")) <= set(shown)
    for name, number in patients.NUMBERS.items():
        patient = patients.case(number)
        for cell, runs in shown.items():
            [label_map] = patients.predictions(patient, (patients.folder_of(*cell),)).values()
            drawn, truth = (regions.to_channels(each, "brats", patient.labels) for each in (label_map, patient.label()))
            values = [metrics.dice(one, other) for one, other in zip(drawn, truth, strict=True)]
            assert values == pytest.approx(list(held_out_dice(runs, name)[list(BRATS)]), abs=1e-9), cell


def _folder(cell):
    return patients.PREDICTIONS / patients.folder_of(*cell)


def test_they_are_small_and_say_where_they_come_from():
    assert sum(path.stat().st_size for path in CASES.rglob("*") if path.is_file()) < 12e6
    card = (CASES / "README.md").read_text()
    assert all(said in card for said in ("CC BY-SA 4.0", "Task01", "Task04", "Simpson", *HIPPOCAMPI))
