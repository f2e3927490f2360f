"""From a configuration to its record: prepare, train, predict every case in native space, measure, keep."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import Timeout
from tqdm import tqdm

import gbmlib
from gbmlib import metrics, models, preprocess, provenance, regions, tensors, training, validation
from gbmlib.cohorts import Case, CaseError, Cohort, open_cohort, place_of
from gbmlib.configuration import Experiment
from gbmlib.folds import split
from gbmlib.memory import keep_freed_memory
from gbmlib.normalise import BY_STATISTICS
from gbmlib.records import HELD_OUT, TRAIN, WEIGHTS, Record, Store
from gbmlib.samples import Sample

#: Beside the weights: what the images were normalised with.
STATISTICS = "normalisation.safetensors"

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
                record = _run(experiment, store, cohort, others, _device(device), progress, checkpoint_seconds)
            return record
        finally:
            lock.release()


def prepare(experiment: Experiment, case: Case, statistics: preprocess.Statistics | None = None) -> preprocess.Prepared:
    """A case on the grid that the network of a configuration works on.

    ``statistics`` of the training cases are needed where the configuration does not normalise image by image; a run
    keeps its own (:func:`statistics_of`).

    Raises:
        CaseError: the case has other channels than the configuration, or has them in another order.
        ValueError: statistics are needed and were not given.
    """
    if (statistics is None) == (experiment.normalisation in BY_STATISTICS):
        raise ValueError(
            f"normalisation {experiment.normalisation!r} "
            + (
                "needs no statistics"
                if statistics
                else "needs the statistics of the training cases: statistics_of(record)"
            )
        )
    if tuple(case.modalities) != experiment.modalities:
        raise CaseError(
            f"case {case.id} has the channels {case.modalities}, the configuration {experiment.modalities}; open its "
            "cohort with these modalities"
        )
    return preprocess.prepare(
        case, experiment.spacing, experiment.resampling, statistics, experiment.normalisation, experiment.axes
    )


def statistics_of(record: Record) -> preprocess.Statistics | None:
    """What the training cases of a run were normalised with; None where each image is normalised by itself.

    Raises:
        FileNotFoundError: the record was published without them; run its experiment into another store.
    """
    if record.experiment.normalisation not in BY_STATISTICS:
        return None
    path = record.path / STATISTICS
    if not path.exists():
        raise FileNotFoundError(f"the normalisation of {record.id} is not on this machine; run its experiment")
    return preprocess.Statistics(**{name: kept.numpy() for name, kept in tensors.load(path).items()})


def load_network(record: Record, cohort: Cohort, device: str | None = None) -> torch.nn.Module:
    """The trained network of a record whose weights are on this machine.

    Raises:
        FileNotFoundError: the record was published without its weights; run its experiment into another store.
    """
    if record.weights is None:
        raise FileNotFoundError(f"the weights of {record.id} are not on this machine; run its experiment to make them")
    of = record.experiment
    channels = len(regions.members(of.regions, cohort.labels)) + of.softmax
    network = models.build(of.model, len(of.modalities), channels, of.patch_size, **of.options)
    network.load_state_dict(tensors.load(record.weights))
    return network.to(_device(device)).eval()


def segment(
    network: torch.nn.Module,
    experiment: Experiment,
    cohort: Cohort,
    case: Case,
    path: str | Path | None = None,
    prepared: preprocess.Prepared | None = None,
) -> np.ndarray:
    """The label map (z, y, x, internal convention) of a whole case in native space; written as NIfTI if ``path``.

    ``prepared`` spares preparing the case again where that was done.
    """
    device = next(network.parameters()).device
    prepared = prepared or prepare(experiment, case)
    mirror_axes = (0, 1, 2) if experiment.mirrored_inference else ()
    probabilities = validation.predict(network, torch.from_numpy(prepared.images).to(device), experiment, mirror_axes)

    def to_labels(native: np.ndarray) -> np.ndarray:
        return regions.to_labels(native, experiment.regions, cohort.labels)

    if experiment.softmax:  # of any number of classes, so slab by slab
        label_map = preprocess.restore_labels(probabilities, prepared, to_labels)
    else:
        label_map = to_labels(preprocess.restore(probabilities.cpu().numpy(), prepared))
    if path is not None:
        case.write(path, label_map)
    return label_map


def measure(
    label_map: np.ndarray, truth: np.ndarray, scheme: str, cohort: Cohort, case_id: str, part: str
) -> list[dict[str, Any]]:
    """Every metric of every region of one case, as lines of ``cases.csv`` (plain ratios, native space)."""
    predicted, true = (regions.to_channels(volume, scheme, cohort.labels) for volume in (label_map, truth))
    rows = []
    for name, p, t in zip(regions.members(scheme, cohort.labels), predicted, true, strict=True):
        for metric, value in metrics.every(p, t).items():
            rows.append({"case": case_id, "split": part, "region": name, "metric": metric, "value": value})
    return rows


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
        prepared = {case_id: prepare(experiment, cohort[case_id], statistics) for case_id in shown}
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
            path = folder / "predictions" / f"{case_id}.nii.gz" if part == HELD_OUT else None
            known = prepared[case_id] if of is cohort else prepare(experiment, of[case_id], statistics)
            label_map = segment(state.network, experiment, of, of[case_id], path, known)
            for scheme in _measured(experiment, of):
                rows += measure(label_map, of[case_id].label(), scheme, of, case_id, part)
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


def _statistics(experiment: Experiment, cohort: Cohort, held_in: list[str]) -> preprocess.Statistics | None:
    """Over the training cases alone: those held out must not tell how they are normalised."""
    if experiment.normalisation not in BY_STATISTICS:
        return None
    return preprocess.statistics((cohort[case_id] for case_id in held_in), experiment.normalisation)


def _measured(experiment: Experiment, cohort: Cohort) -> tuple[str, ...]:
    """The schemes a run is measured in: its own, and for exclusive labels of a glioma the nested regions too.

    The label map has them all, and only what is measured alike can be compared.
    """
    nested = experiment.regions != "brats" and cohort.is_glioma
    return (experiment.regions, "brats") if nested else (experiment.regions,)


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


def _device(name: str | None) -> torch.device:
    name = name or os.environ.get("GBM_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
