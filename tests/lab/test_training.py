"""A training as it goes, by its checkpoint, its lock and its process."""

import json
import subprocess
import sys

import pytest
import torch

from gbmlib.cohorts import CaseError
from gbmlib.study import Experiment
from gbmlib.study.records import Store
from gbmlib.training import tensors

training = pytest.importorskip("gbmlib.lab.training")


def checkpoint(folder, experiment, epochs):
    """What training writes, without a network to speak of."""
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
    store, experiment = Store(tmp_path), training.small_run()
    assert training.unfinished_runs(Store(tmp_path / "none")) == []
    folder = store.unfinished(experiment)
    unfinished = training.unfinished_run(store, experiment.id)
    assert (unfinished.experiment, unfinished.remaining, unfinished.running) == (None, None, False)
    assert "no checkpoint yet" in str(unfinished)
    checkpoint(folder, experiment, 3)
    unfinished = training.unfinished_run(store, experiment.id)
    assert unfinished.experiment == experiment
    assert unfinished.history.train_loss.tolist() == [1, 1 / 2, 1 / 3]
    whole = tensors.load(folder / "checkpoint.safetensors")
    assert unfinished.history.to_dict("records") == whole["history"]
    assert unfinished.remaining == 2.0 * (experiment.epochs - 3)
    assert "interrupted; asked for again, it goes on" in str(unfinished)
    assert training.unfinished_run(store, "vnet-unknown") is None


def test_who_works_on_a_run_is_known_by_its_lock(tmp_path):
    store, first = Store(tmp_path), training.small_run()
    second = first.changed(seed=1)
    for experiment in (first, second):
        checkpoint(store.unfinished(experiment), experiment, 1)
    with store.lock(second):
        several = training.unfinished_runs(store)
    assert [(run.id, run.running) for run in several] == [(second.id, True), (first.id, False)]
    assert not any(run.running for run in training.unfinished_runs(store))
    assert "about 22 s to go" in str(several[0])


def process(code, folder):
    """A training whose process does something else."""
    log = folder / "log"
    with log.open("w") as output:
        return training.TrainingProcess("vnet-0", subprocess.Popen([sys.executable, "-c", code], stderr=output), log)


def test_a_training_that_fails_says_why_and_one_that_is_stopped_is_no_failure(tmp_path):
    child = process("raise OSError('the disk is full: 0 bytes left')", tmp_path)
    child.process.wait(60)
    what, details = child.failure()
    assert what == "The training failed: the disk is full: 0 bytes left"
    assert "Traceback" in details
    child = process("import time; time.sleep(60)", tmp_path)
    assert (child.ended, child.failure()) == (False, ("", ""))
    child.stop()
    assert child.failure()[0].startswith("The training was stopped")
    child = process("pass", tmp_path)
    child.process.wait(60)
    assert child.failure() == ("", "")
    with pytest.raises(CaseError, match="no data set of that name has been opened"):
        training.start(training.small_run().changed(cohort="not-here-3"), Store(tmp_path))


def test_the_small_run_is_a_configuration_that_its_process_reads_back():
    experiment = training.small_run()
    assert Experiment(**json.loads(experiment.model_dump_json(exclude_defaults=True))) == experiment
