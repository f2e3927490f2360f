"""Runs on a Dask cluster: in the order of their needs, and complete although a worker is killed."""

import os
import signal
import threading
import time

import pytest

from gbmlib.study import Ensemble, nnunet, run, runner, scales
from gbmlib.study.records import Store
from gbmlib.training.loop import CHECKPOINT

distributed = pytest.importorskip("distributed", reason="needs the extra test: distributed")

COHORT = "phantom:cases=4,spacing=6,seed=0"
SAME = ("config.json", "history.csv", "cases.csv")


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def kill_once_it_trains(store, experiment, client, killed):
    """Kill the worker that runs an experiment as soon as that has a checkpoint."""
    checkpoint = store.path / f"{experiment.id}.unfinished" / CHECKPOINT
    until = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < until:
        time.sleep(0.02)
    for worker in client.processing().items():
        if any("run_one" in task for task in worker[1]):
            pid = client.run(os.getpid, workers=[worker[0]])[worker[0]]
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            return


@pytest.mark.slow
def test_a_worker_is_killed_and_all_records_are_those_of_a_sequential_run(client, tmp_path):
    wanted = [scales.vnet("test", epochs=12, seed=seed)[0] for seed in (0, 1)]
    store, killed = Store(tmp_path / "cluster"), []
    killer = threading.Thread(target=kill_once_it_trains, args=(store, wanted[0], client, killed))
    killer.start()
    with client.get_executor(retries=2) as executor:
        records = run(wanted, store, executor, progress=False, checkpoint_seconds=0)
    killer.join()
    assert len(killed) == 1
    for record, alone in zip(records, run(wanted, Store(tmp_path / "alone"), progress=False), strict=True):
        for name in SAME:
            assert (record.path / name).read_bytes() == (alone.path / name).read_bytes(), name
    # What had been trained before the worker died was not trained again: the epochs' times are of two processes.
    assert all(len(record.provenance["epoch_seconds"]) == 12 for record in records)
    assert [path.name for path in store.path.glob("*.unfinished")] == []


@pytest.mark.slow
def test_on_a_cluster_runs_wait_for_those_that_they_need(client, tmp_path):
    (cascade,), (three,) = (nnunet.glioma("test", kind, cohort=COHORT) for kind in ("cascade", 3))
    pair = Ensemble(members=(three, cascade))
    store = Store(tmp_path)
    with client.get_executor() as executor:
        (record,) = run([pair], store, executor, progress=False)
    assert record.experiment == pair
    began = {of.id: of.provenance["began"] for of in store.all()}
    assert len(began) == 5
    assert max(began[need.id] for need in cascade.dependencies) <= began[cascade.id] <= began[pair.id]
    assert runner.to_do([pair], store) == []
