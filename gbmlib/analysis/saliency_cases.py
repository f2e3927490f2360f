"""From a finished run, a case and a region to what ``analysis.saliency`` explains."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from gbmlib.analysis.saliency import Subject
from gbmlib.cohorts import Case, Cohort, regions
from gbmlib.preprocess import pipeline
from gbmlib.study import predicting
from gbmlib.study.records import Record
from gbmlib.training.configuration import Experiment


class EmptyRegionError(ValueError):
    """There is no voxel of a region to explain."""


def offered(experiment: Experiment, cohort: Cohort) -> dict[str, tuple[int, ...]]:
    """The regions of a network that can be explained, and the label values that each holds.

    Of sigmoids those that it was trained on; of a softmax over a glioma's labels the nested regions too.
    """
    schemes = predicting.schemes(experiment, cohort) if experiment.softmax else (experiment.regions,)
    return {name: of for scheme in schemes for name, of in regions.members(scheme, cohort.labels).items()}


def subject(
    record: Record,
    cohort: Cohort,
    case: Case,
    region: str,
    label_map: np.ndarray | None = None,
    previous: np.ndarray | None = None,
    network: nn.Module | None = None,
    mirrored: bool = False,
) -> Subject:
    """How the network of a run came to a region in a case: a ``analysis.saliency.Subject``.

    Args:
        case: of any cohort with the modalities that the network was trained on.
        region: one of :func:`offered`.
        label_map: (z, y, x) in native space, whose voxels of the region are to be explained, such as the gold standard;
            None for those where the network itself finds it: its sigmoid reaches 0.5, or the likeliest class is one
            of the region's. (A sigmoid's own decision, before nested regions are laid into each other.)
        previous: of a cascade's second network, what the first one made of the case.
        network: spares loading it again for each case.
        mirrored: whether maps are averaged over mirrorings where the run's predictions are. That takes eight times as
            long; of a network of slices four times.

    Raises:
        ValueError: the network has no such region; lists those that it has.
        EmptyRegionError: the region has no voxel.
        FileNotFoundError: the weights are not on this machine.
    """
    experiment = record.experiment
    known = offered(experiment, cohort)
    if region not in known:
        raise ValueError(f"region {region!r}: the network of {record.id} has {', '.join(known)}")
    network = predicting.load_network(record, cohort) if network is None else network
    prepared = predicting.prepare(experiment, case, predicting.statistics_of(record))
    device, inside = next(network.parameters()).device, _channels(experiment, cohort, region)
    image = predicting.inputs(experiment, cohort, case, prepared, previous).to(device)
    if label_map is None:
        mask = _decided(predicting.predict(network, experiment, image), inside, experiment.softmax)
    else:
        on_grid = pipeline.onto(label_map, prepared, experiment.resampling)
        mask = torch.from_numpy(np.isin(on_grid, known[region])).to(device)
    if not mask.any():
        whose = "the network finds none of it" if label_map is None else "the label map has none"
        raise EmptyRegionError(f"case {case.id} has no {region} to explain: {whose}")
    axes = () if not (mirrored and experiment.mirrored_inference) else (1, 2) if experiment.is_2d else (0, 1, 2)
    return Subject(
        network,
        image,
        mask,
        inside,
        experiment.softmax,
        experiment.tile,
        experiment.precision,
        axes,
        prepared.grid,
    )


def spacing_of(experiment: Experiment, case: Case) -> tuple[float, ...]:
    """The spacing in mm of the grid on which a network sees a case, in the order of that grid's axes."""
    native = experiment.spacing or case.spacing
    return tuple(native[axis] for axis in experiment.axes)


def _decided(probabilities: torch.Tensor, inside: tuple[int, ...], softmax: bool) -> torch.Tensor:
    """Where probabilities (channel, z, y, x) say that the region is: bool (z, y, x)."""
    if not softmax:
        return probabilities[inside[0]] >= 0.5
    return torch.isin(probabilities.argmax(0), torch.tensor(inside, device=probabilities.device))


def _channels(experiment: Experiment, cohort: Cohort, region: str) -> tuple[int, ...]:
    """The output channels of a region; those of a softmax begin with the background."""
    if not experiment.softmax:
        return (list(regions.members(experiment.regions, cohort.labels)).index(region),)
    return tuple(1 + sorted(cohort.labels).index(value) for value in offered(experiment, cohort)[region])
