"""The input of a run's network, its prediction for a case, and the metrics of that prediction."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gbmlib import models
from gbmlib.cohorts import Case, CaseError, Cohort, regions
from gbmlib.cohorts.folds import split
from gbmlib.evaluation import metrics, surfaces
from gbmlib.files import few
from gbmlib.preprocess import cache, pipeline
from gbmlib.preprocess.grids import restore, restore_labels
from gbmlib.preprocess.normalise import schemes_of, statistics_kind
from gbmlib.study.records import TRAIN, Record, RecordError
from gbmlib.training import samples, tensors, validation
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble

#: Beside the weights: what the images were normalised with.
STATISTICS = "normalisation.safetensors"


def prepare(
    experiment: Experiment,
    case: Case,
    statistics: pipeline.Statistics | None = None,
    folder: str | Path | None = None,
) -> pipeline.Prepared:
    """A case on the grid that the network of a configuration works on.

    ``statistics`` of the training cases are needed where the configuration does not normalise image by image; a run
    keeps its own (:func:`statistics_of`). ``folder``: of a cache (``preprocess.cache``); None to compute it.

    Raises:
        CaseError: the case has other channels than the configuration, or has them in another order.
        ValueError: statistics are needed and were not given.
    """
    if (statistics is None) != (statistics_kind(experiment.normalisation) is None):
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
    how = {name: getattr(experiment, name) for name in ("spacing", "resampling", "normalisation", "axes", "cropping")}
    how["statistics"] = statistics
    return pipeline.prepare(case, **how) if folder is None else cache.prepared(case, folder, **how)


def statistics_of(record: Record) -> pipeline.Statistics | None:
    """The normalisation statistics of a run's training cases; None where each image is normalised by itself.

    Raises:
        FileNotFoundError: the record was published without them; run its experiment into another store.
    """
    if statistics_kind(record.experiment.normalisation) is None:
        return None
    path = record.path / STATISTICS
    if not path.exists():
        raise FileNotFoundError(f"the normalisation of {record.id} is not on this machine; run its experiment")
    return pipeline.Statistics(**{name: tensor.numpy() for name, tensor in tensors.load(path).items()})


def load_network(record: Record, cohort: Cohort, device: str | None = None) -> torch.nn.Module:
    """The trained network of a record whose weights are on this machine.

    Raises:
        FileNotFoundError: the record was published without its weights; run its experiment into another store.
    """
    if record.weights is None:
        raise FileNotFoundError(f"the weights of {record.id} are not on this machine; run its experiment to make them")
    run = record.experiment
    classes = len(regions.members(run.regions, cohort.labels))
    channels = len(run.modalities) + (classes if run.previous else 0)
    network = models.build(run.model, channels, classes + run.softmax, run.patch_size, **run.options)
    lacking, strange = network.load_state_dict(tensors.load(record.weights), strict=False)
    if wrong := [name for name in (*lacking, *strange) if not name.startswith(models.TRAINED_ALONE)]:
        raise RecordError(f"the weights of {record.id} are not those of its network: {few(wrong)}; run it again")
    return network.to(device_of(device)).eval()


def tomographic(experiment: Experiment) -> set[str]:
    """The modalities that a configuration normalises as computed tomography."""
    schemes = schemes_of(experiment.normalisation, len(experiment.modalities))
    return {name for name, scheme in zip(experiment.modalities, schemes, strict=True) if scheme.startswith("ct")}


def expect_fitting(run: Experiment | Ensemble, *cohorts: Cohort) -> None:
    """Raise :class:`CaseError` with all that cohorts, the run's own first, lack of what the run asks of them."""
    faults = []
    for cohort in (one.with_modalities(run.modalities) for one in cohorts):
        try:
            names = list(regions.members(run.regions, cohort.labels))
            if cohort.name == run.cohort:
                split(cohort, run.folds, run.fold)
            elif names != list(regions.members(run.regions, cohorts[0].labels)):
                faults.append(f"{cohort.name} has other regions than {run.cohort}, so it cannot be measured alike")
        except ValueError as error:
            faults.append(f"{cohort.name}: {error}")
        for one in getattr(run, "members", (run,)):
            if wrong := ", ".join(sorted(cohort.tomographic ^ tomographic(one))):
                faults.append(
                    f"{cohort.name}: normalisation {one.normalisation!r} does not suit {wrong}: it takes 'ct' or "
                    "'ct_masked' where units mean something, in computed tomography, and nowhere else, as the plan does"
                )
    if faults:
        raise CaseError("\n".join(faults))


def inputs(
    experiment: Experiment,
    cohort: Cohort,
    case: Case,
    prepared: pipeline.Prepared,
    previous: np.ndarray | None = None,
) -> torch.Tensor:
    """The network's input (channel, z, y, x) for a prepared case.

    Args:
        previous: for a cascade's second network, what the first one made of the case: a label map in native space.

    Raises:
        ValueError: ``previous`` is missing, or there is one where the network has no use for it.
    """
    images = torch.from_numpy(prepared.images)
    if (previous is None) != (experiment.previous is None):
        what = "the second network of a cascade: give what the first one predicted"
        other = "no second network of a cascade: it takes no prediction of another"
        raise ValueError(f"{experiment.id} is {what if experiment.previous else other}, as previous")
    if previous is None:
        return images
    return samples.with_previous(images, on_grid(experiment, cohort, case, prepared, previous), len(cohort.labels))


def on_grid(
    experiment: Experiment, cohort: Cohort, case: Case, prepared: pipeline.Prepared, label_map: np.ndarray
) -> torch.Tensor:
    """A label map in native space as ``training.samples.Sample.previous`` has it, on the grid of the network."""
    resampled = pipeline.onto(label_map, prepared, experiment.resampling)
    numbered = sum((resampled == value) * np.uint8(number) for number, value in enumerate(sorted(cohort.labels), 1))
    return torch.from_numpy(numbered.astype(np.uint8))


def predict(
    network: torch.nn.Module, experiment: Experiment, network_input: torch.Tensor, mirrored: bool | None = None
) -> torch.Tensor:
    """Probabilities (channel, z, y, x) of a whole case, from what :func:`inputs` gives; on the network's device.

    ``mirrored`` says whether they are averaged over mirrorings; None for as the configuration says.
    """
    mirror_axes = (0, 1, 2) if (experiment.mirrored_inference if mirrored is None else mirrored) else ()
    device = next(network.parameters()).device
    return validation.predict(network, network_input.to(device), experiment, mirror_axes)


def decide(
    probabilities: torch.Tensor | np.ndarray,
    experiment: Experiment,
    cohort: Cohort,
    grid: pipeline.Grid | pipeline.Prepared,
) -> np.ndarray:
    """The label map (z, y, x) in native space of probabilities (channel, z, y, x) on a prepared grid."""
    return decide_channels(probabilities, experiment, cohort, grid)[0]


def decide_channels(
    probabilities: torch.Tensor | np.ndarray,
    experiment: Experiment,
    cohort: Cohort,
    grid: pipeline.Grid | pipeline.Prepared,
) -> tuple[np.ndarray, np.ndarray | None]:
    """:func:`decide`, and the voxels that each channel marks by itself: bool (channel, z, y, x) in native space.

    The channels of a softmax exclude each other, so the label map is all they mark: None in place of them.
    """

    def to_labels(native: np.ndarray) -> np.ndarray:
        return regions.to_labels(native, experiment.regions, cohort.labels, composition=experiment.composition)

    if experiment.softmax:  # of any number of classes, so slab by slab
        return restore_labels(probabilities, grid, to_labels), None
    native = restore(torch.as_tensor(probabilities).cpu().numpy(), grid)
    return to_labels(native), native >= 0.5


@torch.no_grad()
def measure(
    label_map: np.ndarray,
    case: Case,
    scheme: str,
    cohort: Cohort,
    subset: str,
    channels: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Every metric of every region of one case, as lines of ``cases.csv``, in native space.

    Overlap in plain ratios, and for what was not trained on distances in mm (``evaluation.surfaces``). ``share`` is the
    part of all voxels that the region was predicted to hold. ``channels`` (region, z, y, x) are what each channel marks
    by itself; their overlap with the region is ``channel_dice``, which a fault of another channel cannot change.
    """
    predicted, true = (regions.to_channels(volume, scheme, cohort.labels) for volume in (label_map, case.label()))
    rows = []
    for number, (name, p, t) in enumerate(zip(regions.members(scheme, cohort.labels), predicted, true, strict=True)):
        values = metrics.overlap(p, t) | {"share": surfaces.count(p) / p.size}
        if channels is not None:
            values["channel_dice"] = metrics.overlap(channels[number], t)["dice"]
        if subset != TRAIN:
            values |= metrics.distances(p, t, case.spacing)
        rows += [
            {"case": case.id, "split": subset, "region": name, "metric": metric, "value": value}
            for metric, value in values.items()
        ]
    return rows


def schemes(experiment: Experiment | Ensemble, cohort: Cohort) -> tuple[str, ...]:
    """The schemes a run is measured in: its own, and for exclusive labels of a glioma the nested regions too.

    The label map has them all, and only what is measured alike can be compared.
    """
    nested = experiment.regions != "brats" and cohort.is_glioma
    return (experiment.regions, "brats") if nested else (experiment.regions,)


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Let float32 mean float32 in the convolutions of a graphics card, which round to TF32 unless told otherwise.

    Shapes hardly change within a run, so cuDNN may try its algorithms on each once and keep the fastest.
    """
    settings = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn) if device.type == "cuda" else ()
    precisions, tries = [setting.fp32_precision for setting in settings], torch.backends.cudnn.benchmark
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        torch.backends.cudnn.benchmark = tries or device.type == "cuda"
        yield
    finally:
        torch.backends.cudnn.benchmark = tries
        for setting, precision in zip(settings, precisions, strict=True):
            setting.fp32_precision = precision


def device_of(name: str | None) -> torch.device:
    """The device of a name; without one that of ``GBM_DEVICE``, or a graphics card if there is one."""
    name = name or os.environ.get("GBM_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
