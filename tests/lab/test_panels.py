"""The panels without a browser: what choosing, predicting, segmenting and training show."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gbmlib.cohorts import open_cohort
from gbmlib.lab import runs
from gbmlib.study import out_of_fold
from gbmlib.study.records import HELD_OUT, Store

training = pytest.importorskip("gbmlib.lab.training")

COHORT = "phantom:cases=4,spacing=6,seed=0"


@pytest.fixture(scope="module")
def cohort():
    return open_cohort(COHORT)


@pytest.fixture
def shown(small_runs):
    from gbmlib.lab.panels import panels

    made = panels(small_runs.store, COHORT)
    yield made
    made.close()


def test_choosing_changes_viewer_numbers_and_curves(shown, small_runs, cohort):
    case = shown.case
    assert case.status.text == ""
    assert case.cases.options == tuple(of.id for of in cohort)
    assert runs.split_of(case.runs.chosen[0], cohort, case.cases.value) == HELD_OUT
    names = {record.id: name for name, record in case.runs.by_name.items()}
    case.runs.widget.value = (names[small_runs.zero.id],)
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
    assert [record.id for record in case.runs.by_name.values()] == [small_runs.pair.id]
    assert case.curves.outputs == ()  # an ensemble has no epochs


def test_several_runs_are_predicted_in_the_background(shown, small_runs, cohort):
    case = shown.case
    names = {record.id: name for name, record in case.runs.by_name.items()}
    case.runs.widget.value = (names[small_runs.zero.id], names[small_runs.other.id])
    case.predict()
    case.work.wait()
    assert case.status.text == ""
    assert [of["name"] for of in case.pictures.children[0].spec["overlays"]][-1] == "predicted now"
    assert "Predicted now" in case.numbers.value
    made = out_of_fold.segment([small_runs.zero, small_runs.other], small_runs.store, cohort, case.cases.value)
    assert np.array_equal(case.predictions[case._key()], made)


def test_what_goes_wrong_is_told_in_the_panel(shown, monkeypatch):
    case = shown.case
    case.place.value = "nowhere/at/all"
    case.open()
    assert case.status.text.startswith("there is no folder nowhere/at/all")
    assert "<details>" not in case.status.widget.value
    monkeypatch.setattr(out_of_fold, "segment", lambda *_: 1 / 0)
    case.place.value = COHORT
    case.open()
    case.predict()
    case.work.wait()
    assert case.status.text == "This was not foreseen. ZeroDivisionError: division by zero"
    assert "Traceback" in case.status.widget.value


def test_work_can_be_stopped_and_is_one_at_a_time(shown, monkeypatch):
    begun = threading.Event()

    def endless(records, store, cohort, case_id, progress):
        begun.set()
        while True:
            progress(0.5)
            time.sleep(0.01)

    monkeypatch.setattr(out_of_fold, "segment", endless)
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
    widgets = pytest.importorskip("gbmlib.lab.widgets")
    status = widgets.Status()

    async def within_a_loop():
        work = widgets.Work(status)
        work.start("Counting", lambda progress: 3, lambda result: status.say(f"{result} counted"))
        work.wait()
        return status.text

    with ThreadPoolExecutor(1) as elsewhere:  # this thread may have such a loop already, of the browser's driver
        assert elsewhere.submit(asyncio.run, within_a_loop()).result() == "3 counted"


def test_ones_own_files_in_the_panel(shown, turned_files, tmp_path):
    own = shown.own
    own.check()
    assert "2 problems" in own.status.text
    for field in own.files.children:
        field.value = str(turned_files[field.description].parent)
        assert str(turned_files[field.description]) in field.options
        field.value = str(turned_files[field.description])
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
    from gbmlib.lab.panels import panels

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
        if not made.training.repeater.running:
            break
        seen |= {run.running for run in training.unfinished_runs(made.case.store)}
        time.sleep(0.1)
    assert True in seen
    assert "is finished after 2 epochs" in made.training.status.text
    assert len(made.training.curves.outputs) == 1
    assert len(made.case.runs.chosen) == len(made.own.runs.chosen) == 1
    made.close()
