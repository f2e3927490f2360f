"""From a configuration to its record: prepare, train, predict every case in native space, measure, keep."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, as_completed
from datetime import UTC, datetime

import pandas as pd
import torch
from filelock import Timeout
from tqdm import tqdm

import gbmlib
from gbmlib import models, preprocess, probabilities, provenance, regions, tensors, training
from gbmlib.cohorts import CaseError, Cohort, open_cohort, place_of
from gbmlib.configuration import Experiment
from gbmlib.experiments.applying import STATISTICS, decide, device_of, measure, predict, prepare, schemes
from gbmlib.folds import split
from gbmlib.memory import keep_freed_memory
from gbmlib.normalise import BY_STATISTICS
from gbmlib.records import HELD_OUT, PREDICTIONS, PROBABILITIES, TRAIN, WEIGHTS, Record, Store
from gbmlib.samples import Sample

#: Seeds and the number of threads belong to the whole process, so a process computes one run at a time.
_one_at_a_time = threading.Lock()


def run(
    experiments: Iterable[Experiment],
    store: Store,
    executor: Executor | None = None,
    device: str | None = None,
    progress: bool = True,
    checkpoint_seconds: float = 60,
) -> list[Record]:
    """The record of each experiment, in order; those that the store lacks are run first.

    Args:
        executor: any ``concurrent.futures`` executor runs the missing ones side by side; here, one after another, by
            default. Its workers need the store's folder and the data under the same paths. Threads of one process take
            turns; a process pool needs ``mp_context=multiprocessing.get_context("spawn")``, since a forked copy of a
            process whose torch has computed hangs.
        device: ``"cpu"``, ``"cuda"``, …; by default the graphics card if there is one.
        progress: show a progress bar for each run, or for all of them where an executor has them.
        checkpoint_seconds: the least time between checkpoints, from which an interrupted run continues.

    Raises:
        CaseError: the data of a cohort is not known here, or lacks what the configuration asks of it.
        TrainingError: a run could not be completed; those that were stay in the store. With an executor the others
            go on, and several failures come together as an ``ExceptionGroup``.
        ValueError: a process pool that forks.
    """
    experiments = list(experiments)
    missing = list({e.id: e for e in experiments if store.get(e) is None}.values())
    tasks = [(e, store, {name: place_of(name) for name in _named(e)}, device) for e in missing]
    if executor is None:
        for number, task in enumerate(tasks, 1):
            if progress:
                tqdm.write(f"run {number} of {len(tasks)}: {task[0].id} (fold {task[0].fold})")
            run_one(*task, progress, checkpoint_seconds)
    else:
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise ValueError('this pool forks; make it with mp_context=multiprocessing.get_context("spawn")')
        waiting = [executor.submit(run_one, *task, False, checkpoint_seconds) for task in tasks]
        done = tqdm(as_completed(waiting), "runs", len(waiting), unit="run", disable=not progress)
        failed = [error for future in done if (error := future.exception()) is not None]
        if len(failed) == 1:
            raise failed[0]
        if failed:
            raise ExceptionGroup(f"{len(failed)} of {len(tasks)} runs failed; the others are in the store", failed)
    return [store.get(experiment) for experiment in experiments]


def run_one(
    experiment: Experiment,
    store: Store,
    places: Mapping[str, str],
    device: str | None = None,
    progress: bool = True,
    checkpoint_seconds: float = 60,
) -> Record:
    """Run one experiment unless its record is there; of two processes that ask at once, one waits for the other.

    ``places`` says where each cohort that the configuration names lies here (:func:`gbmlib.cohorts.place_of`).
    """
    lock = store.lock(experiment)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tqdm.write(f"{experiment.id} is being run by another process; waiting for it")
        lock.acquire()
    with _one_at_a_time:
        try:
            record = store.get(experiment)
            if record is None:
                cohort, *others = (_open(name, places[name], experiment) for name in _named(experiment))
                record = _run(experiment, store, cohort, others, device_of(device), progress, checkpoint_seconds)
            return record
        finally:
            lock.release()


def _statistics(experiment: Experiment, cohort: Cohort, held_in: list[str]) -> preprocess.Statistics | None:
    """Over the training cases alone: those held out must not tell how they are normalised."""
    if experiment.normalisation not in BY_STATISTICS:
        return None
    return preprocess.statistics((cohort[case_id] for case_id in held_in), experiment.normalisation)


def _run(
    experiment: Experiment,
    store: Store,
    cohort: Cohort,
    others: list[Cohort],
    device: torch.device,
    progress: bool,
    checkpoint_seconds: float,
) -> Record:
    keep_freed_memory()
    provenance.forget_peak_memory(device)
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # float32 is to mean float32
    folder = store.unfinished(experiment)
    for left in (*folder.glob(".*"), folder / training.LAST_GOOD):  # by a process that was killed
        left.unlink(missing_ok=True)
    made = provenance.describe(device) | {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": cohort.fingerprint,
        "convention": cohort.convention,
        "cases": len(cohort),
        "elsewhere": {other.name: other.fingerprint for other in others},
    }
    held_in, held_out = split(cohort, experiment.folds, experiment.fold)
    names = list(regions.members(experiment.regions, cohort.labels))
    for other in others:
        if list(regions.members(experiment.regions, other.labels)) != names:
            raise CaseError(f"cohort {other.name} has other regions than {cohort.name}, so it cannot be measured alike")
    clock = _Clock()
    with training.cpu_threads(experiment.threads):
        shown = tqdm([*held_in, *held_out], "preparing", unit="case", disable=not progress, leave=False)
        statistics = _statistics(experiment, cohort, held_in)
        prepared = {case_id: prepare(experiment, cohort[case_id], statistics, store.prepared) for case_id in shown}
        samples = {case_id: _sample(experiment, cohort, of, device) for case_id, of in prepared.items()}
        made["preparing_seconds"] = clock.lap()
        state = training.train(
            experiment,
            [samples[case_id] for case_id in held_in],
            [samples[case_id] for case_id in held_out],
            names,
            folder,
            device,
            checkpoint_seconds,
            progress,
            origin={"numerics": gbmlib.NUMERICS, "fingerprint": cohort.fingerprint, "torch": torch.__version__},
        )
        clock.lap()
        parts = [(cohort, case_id, TRAIN) for case_id in held_in]
        parts += [(cohort, case_id, HELD_OUT) for case_id in held_out]
        parts += [(other, case.id, other.name) for other in others for case in other if case.has_label]
        rows = []
        for of, case_id, part in tqdm(parts, "measuring", unit="case", disable=not progress, leave=False):
            case = of[case_id]
            known = prepared[case_id] if of is cohort else prepare(experiment, case, statistics, store.prepared)
            of_case = predict(state.network, experiment, known)
            label_map = decide(of_case, experiment, of, known)
            if part == HELD_OUT:
                case.write(folder / PREDICTIONS / f"{case_id}.nii.gz", label_map)
                probabilities.save(folder / PROBABILITIES / f"{case_id}.npz", of_case, known)
            for scheme in schemes(experiment, of):
                rows += measure(label_map, case, scheme, of, part)
    made["measuring_seconds"] = clock.lap()
    tensors.save(folder / WEIGHTS, state.network.state_dict())
    if statistics is not None:
        tensors.save(folder / STATISTICS, {name: torch.from_numpy(of) for name, of in statistics.arrays().items()})
    # Training time is that of every process that worked on the run, in case it was interrupted.
    made["training_seconds"] = round(sum(state.seconds), 1)
    made["seconds"] = round(sum(made[f"{part}_seconds"] for part in ("preparing", "training", "measuring")), 1)
    made["epoch_seconds"] = [round(value, 2) for value in state.seconds]
    made["peak_memory_mb"] = provenance.peak_memory_mb(device)
    made["parameters"] = models.parameters(state.network)
    record = store.finish(experiment, pd.DataFrame(state.history), pd.DataFrame(rows), made)
    (record.path / training.CHECKPOINT).unlink(missing_ok=True)
    return record


class _Clock:
    """Seconds since the last lap."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        lap, self._since = now - self._since, now
        return round(lap, 1)


def _sample(experiment: Experiment, cohort: Cohort, prepared: preprocess.Prepared, device: torch.device) -> Sample:
    """A prepared case as training takes it."""
    target = regions.to_channels(prepared.label, experiment.regions, cohort.labels)
    images, target = (torch.from_numpy(volume).to(device) for volume in (prepared.images, target))
    return Sample(prepared.id, images, target)


def _named(experiment: Experiment) -> tuple[str, ...]:
    return (experiment.cohort, *experiment.elsewhere)


def _open(name: str, place: str, experiment: Experiment) -> Cohort:
    cohort = open_cohort(place, experiment.modalities)
    if cohort.name != name:
        raise CaseError(f"the configuration asks for cohort {name!r}; what lies at its place is {cohort.name!r}")
    if "CT" in cohort.modality_kinds and experiment.normalisation not in ("ct", "ct_masked"):
        raise CaseError(
            f"cohort {name} is computed tomography, whose units mean something: normalisation "
            f"{experiment.normalisation!r} would spoil them; use 'ct' or 'ct_masked', as its plan says"
        )
    return cohort
