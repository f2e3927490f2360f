"""Predictions of finished runs: the out-of-fold ones that they kept, and new ones from their weights.

Ensembles average what networks kept, and the second network of a cascade starts from it. A file holds the probabilities
of one case on the grid of its network, with what the way back to native space needs, in half precision as in nnU-Net:
within 0.0005 of what was computed, in half of the space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from math import ceil, prod
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from gbmlib.augment.warp import cpu_threads
from gbmlib.cohorts import Case, Cohort, regions
from gbmlib.cohorts.folds import split
from gbmlib.evaluation import components
from gbmlib.evaluation.sliding_window import tile_starts
from gbmlib.files import written
from gbmlib.preprocess.grids import Grid, Prepared, restore
from gbmlib.study.predicting import decide, inputs, load_network, predict, prepare, statistics_of, tomographic
from gbmlib.study.records import Record, Store
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble
from gbmlib.training.validation import SLICES

#: Called with the share of a prediction that is done, from 0 to 1; whatever it raises ends the prediction.
Progress = Callable[[float], None]


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
        "box": [[extent.start, extent.stop] for extent in grid.box],
        "native_shape": list(grid.native_shape),
        "axes": list(grid.axes),
    }
    with written(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, probabilities=volume.half().numpy(), grid=json.dumps(place))


def load(path: str | Path) -> tuple[np.ndarray, Grid]:
    """Read what :func:`save` wrote: probabilities (channel, z, y, x), float32, and their grid.

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
    box = tuple(slice(0, n) for n in first.native_shape)
    return total / len(members), first if alike else Grid(first.id, first.native_shape, box, first.native_shape)


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
    """The record of a run whose predictions and weights are on this machine.

    Raises:
        FileNotFoundError: there is none, or it was published without them.
    """
    record = store.local(experiment)
    if record is None:
        raise FileNotFoundError(f"{experiment.id} has not been run in {store.path}, so its weights are not there")
    return record


class Predictor:
    """A finished run's network, which predicts cases anew; it is loaded for the first case.

    Args:
        device: by default as ``study.predicting.device_of`` chooses.
        mirrored: whether predictions are averaged over mirrorings; None for as the run's own are.
        cache: whether prepared cases are kept in the store.
    """

    def __init__(
        self,
        experiment: Experiment,
        store: Store,
        cohort: Cohort,
        device: str | None = None,
        mirrored: bool | None = None,
        cache: bool = True,
    ):
        self.experiment, self.store, self.cohort, self.device, self.cache = experiment, store, cohort, device, cache
        self.mirrored = experiment.mirrored_inference if mirrored is None else mirrored
        self.record = local_record(experiment, store)
        self._network: torch.nn.Module | None = None
        self._first_networks: dict[str, Predictor] = {}

    def __call__(self, case: Case, held_out: bool, progress: Progress = lambda share: None) -> tuple[np.ndarray, Grid]:
        """Probabilities (channel, z, y, x) of a case and their grid; the stored ones where the run holds the case out.

        Raises:
            FileNotFoundError: the weights are not on this machine.
        """
        path = self.record.probabilities(case.id) if held_out else None
        if path is not None and self.mirrored == self.experiment.mirrored_inference:
            return load(path)
        progress(0.0)
        if self._network is None:
            self._network = load_network(self.record, self.cohort, self.device)
        previous, begin = None, 0.0
        if self.experiment.previous is not None:
            previous, begin = self._previous(case, lambda share: progress(share / 2)), 0.5
        folder = self.store.prepared if self.cache else None
        prepared = prepare(self.experiment, case, statistics_of(self.record), folder)
        network_input = inputs(self.experiment, self.cohort, case, prepared, previous)
        total, number = calls(self.experiment, network_input.shape[1:], self.mirrored), count()

        def before_call(*_: object) -> None:
            progress(begin + (1 - begin) * min(next(number) / total, 1.0))

        with cpu_threads(self.experiment.threads), self._network.register_forward_pre_hook(before_call):
            volume = predict(self._network, self.experiment, network_input, self.mirrored)
        return volume.cpu().numpy(), prepared.grid

    def _previous(self, case: Case, progress: Progress) -> np.ndarray:
        """The label map that a cascade's second network starts from: of the first network that held the case out, or
        for a new case of the average of all first networks."""
        experiments = self.experiment.dependencies
        in_folds = self.cohort.name == self.experiment.cohort and case.has_label
        if in_folds:
            experiments = [one for one in experiments if case.id in split(self.cohort, one.folds, one.fold)[1]]
        predicted = []
        for number, one in enumerate(experiments):
            if one.id not in self._first_networks:
                self._first_networks[one.id] = Predictor(one, self.store, self.cohort, self.device, cache=self.cache)
            predictor = self._first_networks[one.id]
            predicted.append(predictor(case, in_folds, _share_of(progress, number, len(experiments))))
        volume, grid = average(predicted)
        return decide(volume, experiments[0], self.cohort, grid)


def calls(experiment: Experiment, shape: Sequence[int], mirrored: bool) -> int:
    """How often a network is called for a prepared volume (z, y, x): its tiles, times its mirrorings."""
    sizes = zip(shape, experiment.tile, strict=True)
    tiles = prod(len(tile_starts(max(size, tile), tile, 0.5)) for size, tile in sizes)
    mirrorings = 2 ** (2 if experiment.is_2d else 3) if mirrored else 1
    return ceil(tiles / (SLICES if experiment.is_2d else 1)) * mirrorings


def _share_of(progress: Progress, number: int, total: int) -> Progress:
    """The progress of one of several equal steps, reported as progress of all of them."""
    return lambda share: progress((number + share) / total)


# --------------------------------------------------------------------------------- segmenting with any finished runs


class UnsuitableRuns(ValueError):
    """Runs cannot predict this data, or cannot be averaged; says why, all reasons together."""


def members(run: Experiment | Ensemble) -> tuple[Experiment, ...]:
    """The networks of a run: its own one, or those that it averages."""
    return run.members if isinstance(run, Ensemble) else (run,)


def segment(
    records: Sequence[Record], store: Store, cohort: Cohort, case_id: str, progress: Progress = lambda share: None
) -> np.ndarray:
    """The label map (z, y, x) of a case, predicted now from weights; of several runs, that of their average.

    Args:
        store: where the networks of ensembles and the first networks of cascades lie.
        progress: called before each call of a network.

    Raises:
        UnsuitableRuns: the runs do not suit the data, or one another.
        FileNotFoundError: weights are not on this machine; names the run.
        CaseError: the case cannot be used.
    """
    expect_suitable(records, cohort)
    predictors = []
    for run in (record.experiment for record in records):
        mirrored, cases = getattr(run, "mirrored", None), cohort.with_modalities(run.modalities)
        predictors += [Predictor(one, store, cases, mirrored=mirrored, cache=False) for one in members(run)]
    predicted = [
        predictor(predictor.cohort[case_id], False, _share_of(progress, number, len(predictors)))
        for number, predictor in enumerate(predictors)
    ]
    progress(1.0)
    return label_map_of(average(predicted), records, cohort)


def label_map_of(averaged: tuple[np.ndarray, Grid], records: Sequence[Record], cohort: Cohort) -> np.ndarray:
    """The label map (z, y, x) of averaged probabilities and their grid; of a single ensemble it is post-processed."""
    (volume, grid), run = averaged, records[0].experiment
    label_map = decide(volume, members(run)[0], cohort, grid)
    provenance = records[0].provenance if len(records) == 1 else {}
    single = tuple(provenance.get("single_components", ()))
    return components.apply(label_map, single, getattr(run, "connectivity", components.CONNECTIVITY))


def expect_suitable(records: Sequence[Record], cohort: Cohort) -> None:
    """Raise :class:`UnsuitableRuns` where some runs do not suit a cohort or cannot be averaged, with all reasons."""
    faults = [] if records else ["no run is chosen"]
    faults += [f"{record.id}: {reason}" for record in records if (reason := unsuitable(record, cohort))]
    if faults := [*faults, *filter(None, [unlike(records)])]:
        raise UnsuitableRuns("; ".join(faults))


def unsuitable(record: Record, cohort: Cohort) -> str:
    """Why a run cannot predict the cases of a cohort; empty where it can."""
    run, reasons = record.experiment, []
    if missing := [name for name in run.modalities if name not in cohort.modalities]:
        reasons.append(f"it takes {', '.join(missing)}, which {cohort.name} lacks")
    if run.cohort != cohort.name:
        try:
            structures = set(regions.members(run.regions, cohort.labels))
        except ValueError:  # the cohort has no such regions
            structures = {None}
        if not structures <= set(record.cases.region):
            reasons.append(f"it was trained on other structures than {cohort.name} has")
        if any(tomographic(one) != cohort.tomographic & set(run.modalities) for one in members(run)):
            reasons.append("one of the two is computed tomography, the other is not")
    return "; ".join(reasons)


def unlike(records: Sequence[Record]) -> str:
    """Why some runs cannot be averaged; empty where they can."""
    kinds = {
        "regions": {record.experiment.regions for record in records},
        "kinds of output": {members(record.experiment)[0].softmax for record in records},
    }
    different = " and ".join(name for name, values in kinds.items() if len(values) > 1)
    return (
        f"These runs have different {different}, so they cannot be averaged; choose some of one kind."
        if different
        else ""
    )
