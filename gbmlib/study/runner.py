"""Run the configurations that have no record yet, each after the runs that it needs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from datetime import UTC, datetime
from math import isnan, prod
from statistics import median
from typing import Any

import torch
from filelock import Timeout
from tqdm import tqdm

from gbmlib.cohorts import CaseError, Cohort, open_cohort, place_of
from gbmlib.cohorts.opening import opened
from gbmlib.study import provenance
from gbmlib.study.fit import fit_ensemble, fit_network
from gbmlib.study.predicting import device_of, expect_fitting, full_float32
from gbmlib.study.records import Record, Store, voxels_of
from gbmlib.training import batches
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble
from gbmlib.training.memory import keep_freed_memory

#: What can be run.
Run = Experiment | Ensemble

#: Seeds and the number of threads belong to the whole process, so a process computes one run at a time.
_one_at_a_time = threading.Lock()


def run(
    experiments: Iterable[Run],
    store: Store,
    executor: Executor | None = None,
    device: str | None = None,
    progress: bool = True,
    checkpoint_seconds: float = 60,
) -> list[Record]:
    """The record of each experiment or ensemble, in order; those that the store lacks are run first.

    What a missing one needs (:attr:`Experiment.dependencies`) and is not there is run before it.

    Args:
        executor: any ``concurrent.futures`` executor runs the missing ones side by side; here, one after another, by
            default. Its workers need the store's folder and the data under the same paths. Threads of one process take
            turns; a process pool needs ``mp_context=multiprocessing.get_context("spawn")``, since a forked copy of a
            process whose torch has computed hangs. Of a Dask client: ``client.get_executor(retries=…)``.
        device: ``"cpu"``, ``"cuda"``, …; by default the graphics card if there is one.
        progress: show a progress bar for each run, or for all of them where an executor has them.
        checkpoint_seconds: the least time between checkpoints, from which an interrupted run continues.

    Raises:
        CaseError: the data of a cohort is not known here, or lacks what the configuration asks of it.
        RecordError: the store has runs of other data of the name of a cohort.
        TrainingError: a run could not be completed; those that were stay in the store. With an executor the others
            go on, but for those that need it, and several failures come together as an ``ExceptionGroup``.
        ValueError: a process pool that forks.
    """
    experiments = list(experiments)
    missing = ready(experiments, store)
    tasks = {e.id: (e, store, {name: place_of(name) for name in cohorts_of(e)}, device) for e in missing}
    if executor is None:
        records = store.all() if progress and tasks else []
        for number, task in enumerate(tasks.values(), 1):
            if progress:
                expected = expected_seconds(task[0], records)
                minutes = "" if isnan(expected) else f", about {max(1, round(expected / 60))} min"
                tqdm.write(f"run {number} of {len(tasks)}: {described(task[0])}{minutes}", file=sys.stderr)
            run_one(*task, progress, checkpoint_seconds)
    elif tasks:
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise ValueError('this pool forks; make it with mp_context=multiprocessing.get_context("spawn")')
        _side_by_side(tasks, executor, progress, checkpoint_seconds)
    return [store.get(experiment) for experiment in experiments]


def ready(experiments: Sequence[Run], store: Store) -> list[Run]:
    """The runs that are :func:`to_do`, after a check that the data at hand suit them; no image is read.

    Raises:
        CaseError: the data of a cohort is not known here, or lacks what is asked of it; every reason once.
        RecordError: the store has runs of other data of the name of a cohort.
    """
    missing, faults = to_do(experiments, store), {}
    for one in missing:
        try:
            expect_fitting(one, *(opened(name) or open_cohort(name) for name in cohorts_of(one)))
        except CaseError as error:
            faults[str(error)] = None
    if faults:
        raise CaseError("\n".join(faults))
    for cohort in filter(None, map(opened, {name: None for one in experiments for name in cohorts_of(one)})):
        provenance.expect_same_data(cohort, store)
    return missing


def to_do(experiments: Iterable[Run], store: Store) -> list[Run]:
    """The runs that the store lacks of some experiments and of those they need, each after those that it needs.

    A published record is enough to read, but what needs it also needs its weights and predictions: then it is run again
    into the store's own folder.
    """
    order: dict[str, Run] = {}

    def visit(experiment: Run, needed: bool) -> None:
        record = store.local(experiment) if needed else store.get(experiment)
        if experiment.id in order or record is not None:
            return
        for need in experiment.dependencies:
            visit(need, True)
        order[experiment.id] = experiment

    for experiment in experiments:
        visit(experiment, False)
    return list(order.values())


def _side_by_side(tasks: Mapping[str, tuple], executor: Executor, progress: bool, checkpoint_seconds: float) -> None:
    """Hand each run to an executor once those that it needs are there."""
    waiting, running, failed, without = dict(tasks), {}, [], []
    with tqdm(total=len(tasks), desc="runs", unit="run", disable=not progress) as bar:
        while waiting or running:
            ongoing = {*waiting, *running.values()}
            for name, task in list(waiting.items()):
                if not ongoing & {need.id for need in task[0].dependencies}:
                    running[executor.submit(run_one, *waiting.pop(name), False, checkpoint_seconds)] = name
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                bar.update()
                if (error := future.exception()) is not None:
                    failed.append(error)
                    dropped = needing(name, {other: task[0] for other, task in waiting.items()})
                    without += dropped
                    for other in dropped:
                        del waiting[other]
    for error in failed if without else ():
        error.add_note(f"not run, since they need what failed: {', '.join(without)}")
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise ExceptionGroup(f"{len(failed)} of {len(tasks)} runs failed; the others are in the store", failed)


def needing(name: str, waiting: Mapping[str, Run]) -> list[str]:
    """The waiting runs that need one, themselves or through another."""
    dependents: list[str] = []
    for other, run in waiting.items():  # in the order of their needs
        if {need.id for need in run.dependencies} & {name, *dependents}:
            dependents.append(other)
    return dependents


def run_one(
    experiment: Run,
    store: Store,
    places: Mapping[str, str],
    device: str | None = None,
    progress: bool = True,
    checkpoint_seconds: float = 60,
) -> Record:
    """Run one experiment unless its record is there; of two processes that ask at once, one waits for the other.

    ``places`` says where each cohort that the configuration names lies here (``cohorts.place_of``). A
    published record is not looked for: who needs no more than that has it (:func:`to_do`).
    """
    lock = store.lock(experiment)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tqdm.write(f"{experiment.id} is being run by another process; waiting for it", file=sys.stderr)
        lock.acquire()
    with _one_at_a_time:
        try:
            record = store.local(experiment)
            if record is None:
                cohort, *others = (_open(name, places[name], experiment) for name in cohorts_of(experiment))
                expect_fitting(experiment, cohort, *others)
                provenance.expect_same_data(cohort, store)
                record = _run(experiment, store, cohort, others, device_of(device), progress, checkpoint_seconds)
            return record
        finally:
            lock.release()


def _run(
    experiment: Run,
    store: Store,
    cohort: Cohort,
    others: list[Cohort],
    device: torch.device,
    progress: bool,
    checkpoint_seconds: float,
) -> Record:
    keep_freed_memory()
    provenance.forget_peak_memory(device)
    metadata = provenance.describe(device) | {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": cohort.fingerprint,
        "convention": cohort.convention,
        "labels": {str(value): name for value, name in cohort.labels.items()},
        "cases": len(cohort),
        "elsewhere": {other.name: other.fingerprint for other in others},
    }
    with full_float32(device):
        if isinstance(experiment, Ensemble):
            return fit_ensemble(experiment, store, cohort, others, device, progress, metadata)
        return fit_network(experiment, store, cohort, others, device, progress, checkpoint_seconds, metadata)


def cohorts_of(experiment: Run) -> tuple[str, ...]:
    """The names of all cohorts that a run reads, its own first."""
    others = experiment.elsewhere or ()
    return (experiment.cohort, *((others,) if isinstance(others, str) else others))


def _open(name: str, place: str, experiment: Run) -> Cohort:
    cohort = open_cohort(place, experiment.modalities)
    if cohort.name != name:
        raise CaseError(f"the configuration asks for cohort {name!r}; what lies at its place is {cohort.name!r}")
    return cohort


# ------------------------------------------------------------------------------------------------- how long they take


def described(run: Run) -> str:
    """A run in a line."""
    what = f"of {len(run.members)}" if isinstance(run, Ensemble) else f"{run.epochs} epochs  {run.options}"
    return f"{run.id}  {run.cohort}  fold {run.fold}  seed {run.seed}  {what}"


def listing(wanted: Mapping[str, Sequence[Run]], store: Store) -> list[str]:
    """Lines for each family: its missing runs, and their hours in one process where records of such runs tell them."""
    records, listed, lines = store.all(), set(), []
    for name, runs in wanted.items():
        missing = [run for run in to_do(runs, store) if run.id not in listed]
        listed |= {run.id for run in missing}
        expected = [expected_seconds(run, records) for run in missing]
        estimates = [seconds for seconds in expected if not isnan(seconds)]
        times = [f"about {sum(estimates) / 3600:.1f} hours"] if estimates else []
        unknown = len(expected) - len(estimates)
        times += [f"{unknown} for which no record tells how long"] * (unknown > 0)
        hours = f", {len(missing)} to do: {', and '.join(times)}" if expected else ""
        available = sum(store.get(run) is not None for run in runs)
        again = sum(store.get(run) is not None for run in missing)
        weights = f", {again} of other families to be made again for their weights" if again else ""
        lines.append(f"{name}: {available} of {len(runs)} are there{hours}{weights}")
        for run, seconds in zip(missing, expected, strict=True):
            lines.append(f"  {'' if isnan(seconds) else f'{seconds / 60:.0f} min  '}{described(run)}")
    return lines


def expected_seconds(run: Run, records: Iterable[Record], cases: int = 20) -> float:
    """How long a run will take here, going by the records that are most like it.

    A training takes time for every voxel that it sees, at the median rate of the records of its kind; what is made of
    trained networks takes the median of its like. Records of a graphics card say nothing of a processor, nor the other
    way round; those of other data are gone by where there are none of the run's own. NaN where there are neither.

    Args:
        cases: that the run trains on, where an epoch is a pass over them.
    """
    on_card, kind = device_of(None).type != "cpu", _kind(run)
    there = [one for one in records if one.on_graphics_card == on_card and _kind(one.experiment) == kind]
    alike = [one for one in there if one.experiment.cohort == run.cohort] or there
    if not alike:
        return float("nan")
    if isinstance(run, Ensemble):
        return median(record.provenance["seconds"] for record in alike)
    return median(record.provenance["seconds"] / voxels_of(record) for record in alike) * voxels_seen(run, cases)


def voxels_seen(run: Experiment, cases: int) -> int:
    """Voxels of all patches of a training on some cases, to its last epoch."""
    return run.epochs * batches.per_epoch(run, cases) * run.batch_size * prod(run.patch_size)


def _kind(run: Run) -> tuple[Any, ...]:
    """The properties of a run that decide how long a voxel takes."""
    if isinstance(run, Ensemble):
        return "ensemble", run.elsewhere, run.mirrored
    return run.model, run.is_2d, run.options.get("filters"), run.options.get("kernel_size")
