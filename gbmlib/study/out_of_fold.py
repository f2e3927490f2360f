"""What finished runs made of cases that they were not trained on: the start of a cascade's second network and of
ensembles."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from gbmlib.cohorts import Case, Cohort
from gbmlib.cohorts.folds import split
from gbmlib.preprocess.pipeline import Grid
from gbmlib.study import probabilities
from gbmlib.study.predicting import decide, inputs, load_network, predict, prepare, statistics_of
from gbmlib.study.records import Record, Store
from gbmlib.training.configuration import Experiment
from gbmlib.training.loop import cpu_threads


def label_maps(experiments: Iterable[Experiment], cohort: Cohort, store: Store) -> dict[str, np.ndarray]:
    """The label map (z, y, x) in native space of each case by the run that holds it out, by case.

    Raises:
        FileNotFoundError: a run's predictions are not on this machine.
    """
    found = {}
    for experiment in experiments:
        for case_id in split(cohort, experiment.folds, experiment.fold)[1]:
            path = own(experiment, store).probabilities(case_id)
            if path is None:
                raise FileNotFoundError(f"{experiment.id} has no probabilities of {case_id}; move it away, run it anew")
            volume, grid = probabilities.load(path)
            found[case_id] = decide(volume, experiment, cohort, grid)
    return found


def own(experiment: Experiment, store: Store) -> Record:
    """The record of a run with what it predicted and its weights.

    Raises:
        FileNotFoundError: there is none, or it was published without them.
    """
    record = store.own(experiment)
    if record is None:
        raise FileNotFoundError(f"{experiment.id} has not been run in {store.path}, so its predictions are not there")
    return record


class Predictor:
    """A finished run's network, which predicts cases anew; it is loaded with the first.

    Args:
        mirrored: whether predictions are averaged over mirrorings; None for as the run's own are.
    """

    def __init__(self, experiment: Experiment, store: Store, cohort: Cohort, device: str, mirrored: bool | None = None):
        self.experiment, self.store, self.cohort, self.device = experiment, store, cohort, device
        self.mirrored = experiment.mirrored_inference if mirrored is None else mirrored
        self.record = own(experiment, store)
        self._network: torch.nn.Module | None = None
        self._previous: dict[str, np.ndarray] | None = None

    def __call__(self, case: Case, held_out: bool) -> tuple[np.ndarray, Grid]:
        """Probabilities (channel, z, y, x) of a case and their grid; where the run holds the case out, as it kept them.

        Raises:
            FileNotFoundError: the weights are not on this machine.
        """
        kept = self.record.probabilities(case.id) if held_out else None
        if kept is not None and self.mirrored == self.experiment.mirrored_inference:
            return probabilities.load(kept)
        if self._network is None:
            self._network = load_network(self.record, self.cohort, self.device)
        previous = None
        if self.experiment.previous is not None:
            if self._previous is None:
                self._previous = label_maps(self.experiment.dependencies, self.cohort, self.store)
            previous = self._previous[case.id]
        prepared = prepare(self.experiment, case, statistics_of(self.record), self.store.prepared)
        given = inputs(self.experiment, self.cohort, case, prepared, previous)
        with cpu_threads(self.experiment.threads):
            volume = predict(self._network, self.experiment, given, self.mirrored)
        return volume.cpu().numpy(), prepared.grid
