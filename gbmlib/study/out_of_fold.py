"""Out-of-fold predictions of finished runs: what ensembles average and the second network of a cascade starts from.

A file holds the probabilities of one case on the grid of its network, with what the way back to native space needs.
Half precision, as in nnU-Net: they are within 0.0005 of what was computed, and take half of the space.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from gbmlib.cohorts import Case, Cohort
from gbmlib.cohorts.folds import split
from gbmlib.files import written
from gbmlib.preprocess.grids import Grid, Prepared, restore
from gbmlib.study.predicting import decide, inputs, load_network, predict, prepare, statistics_of
from gbmlib.study.records import Record, Store
from gbmlib.training.configuration import Experiment
from gbmlib.training.loop import cpu_threads


def save(path: str | Path, probabilities: torch.Tensor | np.ndarray, grid: Grid | Prepared) -> None:
    """Write probabilities (channel, z, y, x) on a prepared grid; whole or not at all.

    Raises:
        ValueError: they are not on the grid.
    """
    path, volume = Path(path), torch.as_tensor(probabilities).detach().cpu()
    if tuple(volume.shape[1:]) != tuple(grid.shape):
        raise ValueError(f"case {grid.id}: probabilities of shape {tuple(volume.shape)} on a grid of {grid.shape}")
    place = {
        "id": grid.id,
        "box": [[part.start, part.stop] for part in grid.box],
        "native_shape": list(grid.native_shape),
        "axes": list(grid.axes),
    }
    with written(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, probabilities=volume.half().numpy(), grid=json.dumps(place))


def load(path: str | Path) -> tuple[np.ndarray, Grid]:
    """What :func:`save` wrote: probabilities (channel, z, y, x), float32, and their grid.

    Raises:
        ValueError: the file is damaged; names it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            volume, place = file["probabilities"].astype(np.float32), json.loads(str(file["grid"]))
    except (BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); delete it, and it is computed anew") from error
    box = tuple(slice(*ends) for ends in place["box"])
    return volume, Grid(place["id"], volume.shape[1:], box, tuple(place["native_shape"]), tuple(place["axes"]))


def average(members: Sequence[tuple[np.ndarray, Grid]]) -> tuple[np.ndarray, Grid]:
    """The mean of several networks' probabilities for one case, and the grid that it is on.

    On their own grid where they share one; otherwise each is brought back to native space first, since networks of
    different spacing or order of axes have no other grid in common.

    Raises:
        ValueError: none, different cases, or different numbers of channels.
    """
    if not members:
        raise ValueError("there are no probabilities to average")
    first = members[0][1]
    kinds = {(grid.id, grid.native_shape, len(volume)) for volume, grid in members}
    if len(kinds) > 1:
        raise ValueError(f"only one case's probabilities, of the same classes, can be averaged, not {sorted(kinds)}")
    alike = all(grid == first for _, grid in members)
    total: np.ndarray | None = None
    for volume, grid in members:
        volume = volume if alike else restore(volume, grid)
        total = volume.astype(np.float32) if total is None else total + volume
    whole = tuple(slice(0, n) for n in first.native_shape)
    return total / len(members), first if alike else Grid(first.id, first.native_shape, whole, first.native_shape)


def label_maps(experiments: Iterable[Experiment], cohort: Cohort, store: Store) -> dict[str, np.ndarray]:
    """The label map (z, y, x) in native space of each case by the run that holds it out, by case.

    Raises:
        FileNotFoundError: a run's predictions are not on this machine.
    """
    maps = {}
    for experiment in experiments:
        for case_id in split(cohort, experiment.folds, experiment.fold)[1]:
            path = local_record(experiment, store).probabilities(case_id)
            if path is None:
                raise FileNotFoundError(f"{experiment.id} has no probabilities of {case_id}; move it away, run it anew")
            volume, grid = load(path)
            maps[case_id] = decide(volume, experiment, cohort, grid)
    return maps


def local_record(experiment: Experiment, store: Store) -> Record:
    """The record of a run with what it predicted and its weights.

    Raises:
        FileNotFoundError: there is none, or it was published without them.
    """
    record = store.local(experiment)
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
        self.record = local_record(experiment, store)
        self._network: torch.nn.Module | None = None
        self._previous: dict[str, np.ndarray] | None = None

    def __call__(self, case: Case, held_out: bool) -> tuple[np.ndarray, Grid]:
        """Probabilities (channel, z, y, x) of a case and their grid; where the run holds the case out, as it kept them.

        Raises:
            FileNotFoundError: the weights are not on this machine.
        """
        kept = self.record.probabilities(case.id) if held_out else None
        if kept is not None and self.mirrored == self.experiment.mirrored_inference:
            return load(kept)
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
