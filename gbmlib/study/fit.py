"""Train and measure a network, or average and measure an ensemble; each run leaves a record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

import gbmlib
from gbmlib import models
from gbmlib.augment.warp import cpu_threads
from gbmlib.cohorts import Case, Cohort, regions
from gbmlib.cohorts.folds import split
from gbmlib.evaluation import components
from gbmlib.preprocess import normalise, pipeline
from gbmlib.preprocess.normalise import statistics_kind
from gbmlib.study import out_of_fold, provenance
from gbmlib.study.out_of_fold import Predictor, average
from gbmlib.study.predicting import STATISTICS, decide_channels, inputs, measure, on_grid, predict, prepare, schemes
from gbmlib.study.records import HELD_OUT, PREDICTIONS, PROBABILITIES, TRAIN, WEIGHTS, Record, Store
from gbmlib.training import loop, tensors
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble
from gbmlib.training.samples import Sample


def fit_network(
    experiment: Experiment,
    store: Store,
    cohort: Cohort,
    others: list[Cohort],
    device: torch.device,
    progress: bool,
    checkpoint_seconds: float,
    metadata: dict[str, Any],
) -> Record:
    """Train the network of a configuration and measure it; its record, with ``metadata`` in its provenance.

    Raises:
        TrainingError: the loss or a gradient is not finite.
        FileNotFoundError: what a cascade's first network predicted is not there.
    """
    folder = store.unfinished(experiment)
    for left in (*folder.glob(".*"), folder / loop.LAST_GOOD):  # by a process that was killed
        left.unlink(missing_ok=True)
    held_in, held_out = split(cohort, experiment.folds, experiment.fold)
    names = list(regions.members(experiment.regions, cohort.labels))
    clock = provenance.Clock()
    with cpu_threads(experiment.threads):
        shown = tqdm([*held_in, *held_out], "preparing", unit="case", disable=not progress, leave=False)
        statistics = _statistics(experiment, cohort, held_in)
        prepared = {case_id: prepare(experiment, cohort[case_id], statistics, store.prepared) for case_id in shown}
        previous = _previous(experiment, cohort, store)
        samples = {
            case_id: _sample(experiment, cohort, cohort[case_id], case, previous.get(case_id), device)
            for case_id, case in prepared.items()
        }
        metadata["preparing_seconds"] = clock.lap()
        state = loop.train(
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
        for source, case_id, subset in tqdm(parts, "measuring", unit="case", disable=not progress, leave=False):
            case, is_own = source[case_id], source is cohort
            prepared_case = prepared[case_id] if is_own else prepare(experiment, case, statistics, store.prepared)
            network_input = inputs(experiment, source, case, prepared_case, previous.get(case_id) if is_own else None)
            predicted = predict(state.network, experiment, network_input)
            label_map, channels = decide_channels(predicted, experiment, source, prepared_case)
            if subset == HELD_OUT:
                case.write(folder / PREDICTIONS / f"{case_id}.nii.gz", label_map)
                out_of_fold.save(folder / PROBABILITIES / f"{case_id}.npz", predicted, prepared_case)
            for scheme in schemes(experiment, source):
                own_scheme = scheme == experiment.regions
                rows += measure(label_map, case, scheme, source, subset, channels if own_scheme else None)
    metadata["measuring_seconds"] = clock.lap()
    tensors.save(folder / WEIGHTS, state.network.state_dict())
    if statistics is not None:
        arrays = statistics.arrays().items()
        tensors.save(folder / STATISTICS, {name: torch.from_numpy(array) for name, array in arrays})
    # Training time is that of every process that worked on the run, in case it was interrupted.
    metadata["training_seconds"] = round(sum(state.seconds), 1)
    phases = ("preparing", "training", "measuring")
    metadata["seconds"] = round(sum(metadata[f"{phase}_seconds"] for phase in phases), 1)
    metadata["epoch_seconds"] = [round(value, 2) for value in state.seconds]
    metadata["peak_memory_mb"] = provenance.peak_memory_mb(device)
    metadata["parameters"] = models.parameters(state.network)
    record = store.finish(experiment, pd.DataFrame(state.history), pd.DataFrame(rows), metadata)
    (record.path / loop.CHECKPOINT).unlink(missing_ok=True)
    return record


def _statistics(experiment: Experiment, cohort: Cohort, held_in: tuple[str, ...]) -> pipeline.Statistics | None:
    """Normalisation statistics of the training cases alone: held-out cases must not influence them."""
    kind = statistics_kind(experiment.normalisation)
    return kind and normalise.statistics((cohort[case_id] for case_id in held_in), kind)


def _previous(experiment: Experiment, cohort: Cohort, store: Store) -> dict[str, np.ndarray]:
    """The predictions of a cascade's first network, by case, in native space; empty without a cascade."""
    return {} if experiment.previous is None else out_of_fold.label_maps(experiment.dependencies, cohort, store)


def _sample(
    experiment: Experiment,
    cohort: Cohort,
    case: Case,
    prepared: pipeline.Prepared,
    previous: np.ndarray | None,
    device: torch.device,
) -> Sample:
    """A prepared case as training takes it."""
    target = regions.to_channels(prepared.label, experiment.regions, cohort.labels)
    images, target = (torch.from_numpy(volume).to(device) for volume in (prepared.images, target))
    previous_on_grid = None if previous is None else on_grid(experiment, cohort, case, prepared, previous).to(device)
    return Sample(prepared.id, images, target, previous_on_grid)


def fit_ensemble(
    ensemble: Ensemble,
    store: Store,
    cohort: Cohort,
    others: list[Cohort],
    device: torch.device,
    progress: bool,
    metadata: dict[str, Any],
) -> Record:
    """Measure an ensemble on the cases that its members hold out, or on another cohort; its record.

    The rule of single components is learned on the labels of the fold's training cases, and on those of all cases where
    another cohort is measured.

    Raises:
        FileNotFoundError: a member's predictions or weights are not on this machine.
    """
    folder, first, clock = store.unfinished(ensemble), ensemble.members[0], provenance.Clock()
    predictors = [Predictor(member, store, cohort, str(device), ensemble.mirrored) for member in ensemble.members]
    held_in, held_out = split(cohort, ensemble.folds, ensemble.fold)
    if others:
        cases = [(others[0], case, others[0].name) for case in others[0] if case.has_label]
        held_in = [case.id for case in cohort if case.has_label]
    else:
        cases = [(cohort, cohort[case_id], HELD_OUT) for case_id in held_out]
    single: tuple[int, ...] = ()
    if ensemble.single_components:
        labels = (cohort[case_id].label() for case_id in held_in)
        single = tuple(components.learn(labels, connectivity=ensemble.connectivity))
    rows = []
    for source, case, subset in tqdm(cases, "measuring", unit="case", disable=not progress, leave=False):
        volume, grid = average([predictor(case, subset == HELD_OUT) for predictor in predictors])
        label_map, channels = decide_channels(volume, first, source, grid)
        label_map = components.apply(label_map, single, ensemble.connectivity)
        if subset == HELD_OUT:
            case.write(folder / PREDICTIONS / f"{case.id}.nii.gz", label_map)
        for scheme in schemes(ensemble, source):
            own_scheme = scheme == ensemble.regions and not single
            rows += measure(label_map, case, scheme, source, subset, channels if own_scheme else None)
    metadata |= {"single_components": list(single), "members": [member.id for member in ensemble.members]}
    metadata |= {"seconds": clock.lap(), "peak_memory_mb": provenance.peak_memory_mb(device)}
    return store.finish(ensemble, pd.DataFrame(columns=["epoch"]), pd.DataFrame(rows), metadata)
