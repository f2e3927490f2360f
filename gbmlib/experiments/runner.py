"""From a configuration to its record: prepare, train, predict every case in native space, measure, keep."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from gbmlib import metrics, models, preprocess, provenance, regions, tensors, training
from gbmlib.cohorts import Case, CaseError, Cohort, open_cohort, place_of
from gbmlib.configuration import Experiment
from gbmlib.folds import split
from gbmlib.memory import keep_freed_memory
from gbmlib.records import Record, Store

WEIGHTS = "weights.safetensors"
#: What ``cases.csv`` calls the cases that a run did not train on; those of another cohort go by that cohort's name.
HELD_OUT = "held out"


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
            default. Its workers need the store's folder and the data under the same paths.
        device: ``"cpu"``, ``"cuda"``, …; by default the graphics card if there is one.
        progress: show a progress bar for each run.
        checkpoint_seconds: the least time between checkpoints, from which an interrupted run continues.

    Raises:
        CaseError: the data of a cohort is not known here, or lacks what the configuration asks of it.
        TrainingError: a run could not be completed; those that were stay in the store.
    """
    experiments = list(experiments)
    missing = list({e.id: e for e in experiments if store.get(e) is None}.values())
    if executor is None:
        for number, experiment in enumerate(missing, 1):
            if progress:
                tqdm.write(f"run {number} of {len(missing)}: {experiment.id} (fold {experiment.fold})")
            run_one(experiment, store, _places(experiment), device, progress, checkpoint_seconds)
    else:
        tasks = [executor.submit(run_one, e, store, _places(e), device, False, checkpoint_seconds) for e in missing]
        for task in tasks:
            task.result()
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
    with store.lock(experiment):
        record = store.get(experiment)
        if record is None:
            cohort, *others = (_open(name, places[name], experiment) for name in _named(experiment))
            record = _run(experiment, store, cohort, others, _device(device), progress, checkpoint_seconds)
        return record


def prepare(experiment: Experiment, cohort: Cohort, case_id: str, device: torch.device) -> tuple[training.Sample, Any]:
    """A case as the network of a configuration sees it, and what the way back to native space needs."""
    prepared = preprocess.prepare(cohort[case_id], experiment.spacing, experiment.resampling)
    target = regions.to_channels(prepared.label, experiment.regions, cohort.labels)
    sample = training.Sample(case_id, torch.from_numpy(prepared.images).to(device), torch.from_numpy(target).to(device))
    return sample, prepared


def load_network(record: Record, cohort: Cohort, device: str | None = None) -> torch.nn.Module:
    """The trained network of a record whose weights are on this machine.

    Raises:
        FileNotFoundError: the record was published without its weights; run its experiment into another store.
    """
    if record.weights is None:
        raise FileNotFoundError(f"the weights of {record.id} are not on this machine; run its experiment to make them")
    of = record.experiment
    channels = len(regions.members(of.regions, cohort.labels))
    network = models.build(of.model, len(of.modalities), channels, **of.options)
    network.load_state_dict(tensors.load(record.weights))
    return network.to(_device(device)).eval()


def segment(
    network: torch.nn.Module, experiment: Experiment, cohort: Cohort, case: Case, path: str | Path | None = None
) -> np.ndarray:
    """The label map (z, y, x, internal convention) of a whole case in native space; written as NIfTI if ``path``."""
    device = next(network.parameters()).device
    prepared = preprocess.prepare(case, experiment.spacing, experiment.resampling)
    probabilities = training.predict(network, torch.from_numpy(prepared.images).to(device), experiment)
    native = preprocess.restore(probabilities.cpu().numpy(), prepared)
    label_map = regions.to_labels(native, experiment.regions, cohort.labels)
    if path is not None:
        case.write(path, label_map)
    return label_map


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
    # The commit and the versions are those of the code that computes, so they are read before it does.
    made = provenance.describe(device)
    began, started = datetime.now(UTC), time.monotonic()
    folder = store.unfinished(experiment)
    held_in, held_out = split(cohort, experiment.folds, experiment.fold)
    names = list(regions.members(experiment.regions, cohort.labels))
    with training.cpu_threads(experiment.threads):
        shown = tqdm([*held_in, *held_out], "preparing", unit="case", disable=not progress, leave=False)
        samples = {case_id: prepare(experiment, cohort, case_id, device)[0] for case_id in shown}
        state = training.train(
            experiment,
            [samples[case_id] for case_id in held_in],
            [samples[case_id] for case_id in held_out],
            names,
            folder,
            device,
            checkpoint_seconds,
            progress,
        )
        trained = time.monotonic()
        parts = [(cohort, case_id, "train") for case_id in held_in]
        parts += [(cohort, case_id, HELD_OUT) for case_id in held_out]
        parts += [(other, case.id, other.name) for other in others for case in other if case.has_label]
        rows = []
        for of, case_id, part in tqdm(parts, "measuring", unit="case", disable=not progress, leave=False):
            path = folder / "predictions" / f"{case_id}.nii.gz" if part == HELD_OUT else None
            label_map = segment(state.network, experiment, of, of[case_id], path)
            rows += measure(label_map, of[case_id].label(), experiment.regions, of, case_id, part)
    tensors.save(folder / WEIGHTS, state.network.state_dict())
    made |= {
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
        "training_seconds": round(sum(state.seconds), 1),
        "measuring_seconds": round(time.monotonic() - trained, 1),
        "epoch_seconds": [round(value, 2) for value in state.seconds],
        "peak_memory_mb": provenance.peak_memory_mb(device),
        "parameters": models.parameters(state.network),
        "fingerprint": cohort.fingerprint,
        "convention": cohort.convention,
        "cases": len(cohort),
        "elsewhere": {other.name: other.fingerprint for other in others},
    }
    record = store.finish(experiment, pd.DataFrame(state.history), pd.DataFrame(rows), made)
    (record.path / training.CHECKPOINT).unlink(missing_ok=True)
    return record


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


def _named(experiment: Experiment) -> tuple[str, ...]:
    return (experiment.cohort, *experiment.elsewhere)


def _places(experiment: Experiment) -> dict[str, str]:
    """Where the cohorts of a configuration lie, for a process that has not opened them."""
    return {name: place_of(name) for name in _named(experiment)}


def _open(name: str, place: str, experiment: Experiment) -> Cohort:
    cohort = open_cohort(place, experiment.modalities)
    if cohort.name != name:
        raise CaseError(f"the configuration asks for cohort {name!r}; what lies at its place is {cohort.name!r}")
    return cohort


def _device(name: str | None) -> torch.device:
    name = name or os.environ.get("GBM_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
