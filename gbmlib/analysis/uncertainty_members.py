"""Members for ``analysis.uncertainty``: predictions of several networks, or of one under mirrorings, for unseen cases.

Disagreement is honest only on a case that none of the members was trained on, or those that were would be sure for the
wrong reason. The folds of a cross-validation share no such case, so their networks are asked about another cohort:
other phantoms (:func:`elsewhere`). On the held-out cases of a fold there are the networks of that fold, of several
kinds or seeds (:func:`within_folds`). Mirrorings need one network alone (:func:`mirrorings`).

:func:`publish` measures the study's cross-validation, whose weights and predictions lie in a store of one's own, and
writes two small tables for readers without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from gbmlib.analysis import uncertainty
from gbmlib.analysis.cohort_summary import write
from gbmlib.augment.warp import cpu_threads
from gbmlib.cohorts import Case, Cohort, open_cohort, regions
from gbmlib.cohorts.folds import split
from gbmlib.cohorts.phantom.spec import Spec
from gbmlib.evaluation.components import bounding_box
from gbmlib.files import RECORDS
from gbmlib.preprocess.grids import restore
from gbmlib.study import cross_validation
from gbmlib.study.out_of_fold import Predictor, local_record
from gbmlib.study.predicting import device_of, inputs, load_network, prepare, statistics_of
from gbmlib.study.records import Store
from gbmlib.training import validation
from gbmlib.training.configuration import Experiment

#: The probability of each region (z, y, x), float32, in native space.
Member = dict[str, np.ndarray]

#: How much further the seed of phantoms lies that no network has seen.
FURTHER = 1000


@dataclass(frozen=True)
class Source:
    """Where members come from.

    Attributes:
        name: in the tables.
        cohort: whose cases are predicted.
        groups: experiments, and the ids of the cases that none of them was trained on.
        held_out: whether these are the experiments' own held-out cases, whose probabilities they keep.
        mirrored: whether the members are the first experiment's network over all mirrored copies.
    """

    name: str
    cohort: Cohort
    groups: tuple[tuple[tuple[Experiment, ...], tuple[str, ...]], ...]
    held_out: bool
    mirrored: bool = False

    @property
    def size(self) -> int:
        """The number of members in the first group."""
        first = self.groups[0][0]
        return 2 ** len(_axes(first[0])) if self.mirrored else len(first)

    def only(self, case_id: str) -> Source:
        """The source with one of its cases alone.

        Raises:
            ValueError: it is none of this source's.
        """
        groups = tuple((runs, (case_id,)) for runs, ids in self.groups if case_id in ids)
        if not groups:
            case_ids = sorted(name for _, ids in self.groups for name in ids)
            raise ValueError(f"case {case_id!r} is not among those of {self.name}, which are {', '.join(case_ids)}")
        return replace(self, groups=groups)


def elsewhere(cohort: Cohort, cases: int = 6) -> Cohort | None:
    """Further phantoms like these, which no network of the study has seen; None for a cohort of patients."""
    if not cohort.name.startswith("phantom:"):
        return None
    spec = Spec.parse(cohort.name.removeprefix("phantom:"))
    return open_cohort(replace(spec, cases=min(cases, spec.cases), seed=spec.seed + FURTHER).name, cohort.modalities)


def over_folds(name: str, experiments: Iterable[Experiment], unseen: Cohort) -> Source:
    """The networks of several folds and seeds, of one kind or more, on a cohort that none of them has seen."""
    return Source(name, unseen, ((tuple(experiments), tuple(case.id for case in unseen)),), held_out=False)


def within_folds(name: str, experiments: Iterable[Experiment], cohort: Cohort) -> Source:
    """The networks of each fold, of several kinds or seeds, on the cases that this fold holds out."""
    return Source(name, cohort, _by_fold(experiments, cohort), held_out=True)


def mirrorings(name: str, experiments: Iterable[Experiment], cohort: Cohort, unseen: Cohort | None = None) -> Source:
    """The first network of each fold over all mirrored copies of the cases that it holds out; with ``unseen`` the first
    network of all, on that cohort."""
    if unseen is None:
        return Source(name, cohort, _by_fold(experiments, cohort), held_out=True, mirrored=True)
    return replace(over_folds(name, experiments, unseen), mirrored=True)


def _by_fold(experiments: Iterable[Experiment], cohort: Cohort) -> tuple[tuple[tuple[Experiment, ...], ...], ...]:
    groups: dict[tuple[int, int], list[Experiment]] = {}
    for experiment in experiments:
        groups.setdefault((experiment.folds, experiment.fold), []).append(experiment)
    return tuple((tuple(group), split(cohort, *fold)[1]) for fold, group in groups.items())


# -------------------------------------------------------------------------------------------------------------- members


def by_region(volume: np.ndarray, scheme: str, cohort: Cohort) -> Member:
    """The probability of each region from a network's channels (channel, z, y, x); of a glioma the nested ones.

    - Nested channels: a region's is the largest of its own and of those within it, since that is when
      ``cohorts.regions.to_labels`` gives it the voxel.
    - A softmax: the sum over its labels. Where that passes one half, the likeliest single label may still be another.
    - Sigmoids of exclusive labels: the largest of its labels'.
    """
    values = regions.members("brats" if cohort.is_glioma else "labels", cohort.labels)
    if scheme == "brats":
        inner_first = np.maximum.accumulate(volume[::-1])[::-1]
        return dict(zip(values, inner_first, strict=True))
    order = sorted(cohort.labels)
    softmax = len(volume) == len(order) + 1
    channels = {label: volume[number + softmax] for number, label in enumerate(order)}
    join = np.add if softmax else np.maximum
    joined = {name: join.reduce([channels[label] for label in labels]) for name, labels in values.items()}
    return {name: np.clip(volume, 0, 1) for name, volume in joined.items()}  # resampling and sums round


def members(source: Source, store: Store, device: str | None = None) -> Iterator[tuple[Case, list[Member]]]:
    """Each case of a source with its members' predictions.

    Raises:
        FileNotFoundError: a run is not in the store, or was published without its weights.
        ValueError: mirrorings of a cascade's second network, which is given more than the images.
    """
    device = str(device_of(device))
    for experiments, ids in source.groups:
        cohort = source.cohort.with_modalities(experiments[0].modalities)
        predict = _mirrored if source.mirrored else _predicted
        ask = predict(experiments, store, cohort, device, source.held_out)
        yield from ((cohort[case_id], ask(cohort[case_id])) for case_id in ids)


def _predicted(
    experiments: Sequence[Experiment], store: Store, cohort: Cohort, device: str, held_out: bool
) -> Callable[[Case], list[Member]]:
    """A function from a case to the predictions of some networks."""
    predictors = [Predictor(experiment, store, cohort, device) for experiment in experiments]

    def ask(case: Case) -> list[Member]:
        volumes = [restore(*predictor(case, held_out)) for predictor in predictors]
        return [by_region(volume, run.regions, cohort) for volume, run in zip(volumes, experiments, strict=True)]

    return ask


def _mirrored(
    experiments: Sequence[Experiment], store: Store, cohort: Cohort, device: str, held_out: bool
) -> Callable[[Case], list[Member]]:
    """A function from a case to the first network's predictions under each mirroring; unmirrored first."""
    run = experiments[0]
    if run.previous is not None:
        raise ValueError(f"{run.id} is the second network of a cascade; take mirrorings of another network")
    record = local_record(run, store)
    network = load_network(record, cohort, device)
    ways = chain.from_iterable(combinations(_axes(run), number) for number in range(len(_axes(run)) + 1))
    mirrored = [Mirrored(network, way) for way in ways]

    def ask(case: Case) -> list[Member]:
        prepared = prepare(run, case, statistics_of(record), store.prepared if held_out else None)
        network_input = inputs(run, cohort, case, prepared).to(device)
        with cpu_threads(run.threads):
            volumes = [validation.predict(each, network_input, run).cpu().numpy() for each in mirrored]
        return [by_region(restore(volume, prepared.grid), run.regions, cohort) for volume in volumes]

    return ask


class Mirrored(nn.Module):
    """A network that is shown mirrored tiles (batch, channel, z, y, x), and whose answers are mirrored back."""

    def __init__(self, network: nn.Module, axes: Sequence[int]):
        super().__init__()
        self.network, self.dims = network, [axis + 2 for axis in axes]

    def forward(self, tile: Tensor) -> Tensor:
        return self.network(tile.flip(self.dims)).flip(self.dims)


def _axes(experiment: Experiment) -> tuple[int, ...]:
    """The axes that are mirrored: a network of slices is not mirrored across them."""
    return (1, 2) if experiment.is_2d else (0, 1, 2)


# --------------------------------------------------------------------------------------------------------------- tables


def tables(sources: Iterable[Source], store: Store, progress: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``analysis.uncertainty.measure`` of every region of every case of some sources.

    Returns:
        Two tables whose first columns are ``source``, ``members`` (how many), ``case``, ``region``; the first one goes
        on with ``place``, ``detector``, ``measure``, ``value``, the second with ``place``, ``part``, ``voxels``,
        ``predicted``, ``observed``.
    """
    measures, counts = [], []
    for source in sources:
        total = sum(len(ids) for _, ids in source.groups)
        bar = tqdm(members(source, store), source.name, total, unit="case", disable=not progress, leave=False)
        for case, each in bar:
            label, brain = case.label(), (case.images() != 0).any(0)
            truths = regions.to_channels(label, "brats" if source.cohort.is_glioma else "labels", source.cohort.labels)
            # Only the brain is measured, and whatever was labelled or predicted beside it counts in Dice.
            likely = np.any([volume >= 0.5 for member in each for volume in member.values()], axis=0)
            box = bounding_box(brain | (label > 0) | likely)
            for name, truth in zip(each[0], truths, strict=True):
                probabilities = [member[name][box] for member in each]
                named = {"source": source.name, "members": len(each), "case": case.id, "region": name}
                both = uncertainty.measure(probabilities, truth[box], brain[box], case.spacing)
                for rows, table in zip((measures, counts), both, strict=True):
                    rows.append(table.assign(**named)[[*named, *table.columns]])
    return pd.concat(measures, ignore_index=True), pd.concat(counts, ignore_index=True)


def paths_of(cohort_name: str, folder: str | Path) -> tuple[Path, Path]:
    """Where the published tables of a cohort lie, if they do: the measures, and the counts for calibration."""
    return tuple(Path(folder) / f"{what}-{cohort_name}.csv" for what in ("uncertainty", "calibration"))


def published(cohort_name: str, folder: str | Path = RECORDS) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The published tables of a cohort, as :func:`tables` gives them; None where they are not."""
    paths = paths_of(cohort_name, folder)
    if not all(path.exists() for path in paths):
        return None
    names = dict.fromkeys(("source", "case", "region", "place", "detector", "measure"), str)
    # A measure may be no number, while a region may well be called NA: only values have gaps.
    return tuple(pd.read_csv(path, dtype=names, keep_default_na=False, na_values={"value": [""]}) for path in paths)


def study_sources(networks: Mapping[str, Sequence[Experiment]], cohort: Cohort) -> list[Source]:
    """The published sources of a cross-validation: candidates within each fold, and mirrorings of its 3D network."""
    kinds = [label for label in networks if label in cross_validation.CANDIDATES]
    candidates = [experiment for label in kinds for experiment in networks[label]]
    *first, last = kinds
    return [
        within_folds(f"{', '.join(first)} and {last}", candidates, cohort),
        mirrorings("mirrorings of 3D", networks["3D"], cohort),
    ]


def publish(spec: str, store: str | Path, folder: str | Path, profile: str = "study") -> tuple[Path, Path]:
    """Write the tables of a cohort into a folder of published records, from the runs of a store.

    Raises:
        FileNotFoundError: runs that the store lacks, and the command that makes them.
    """
    cohort, local_store = open_cohort(spec), Store(store)
    sources = study_sources(cross_validation.networks(profile, cohort=cohort.name), cohort)
    runs = {experiment.id: experiment for source in sources for group, _ in source.groups for experiment in group}
    if missing := [name for name, experiment in runs.items() if local_store.local(experiment) is None]:
        raise FileNotFoundError(
            f"{len(missing)} of {len(runs)} runs are not in {store}: {', '.join(missing)}; make them with "
            f"python -m gbmlib run {spec} --only crossvalidation --store {store} --published none"
        )
    with torch.no_grad():
        results = tables(sources, local_store)
    return tuple(write(table, path) for table, path in zip(results, paths_of(cohort.name, folder), strict=True))
