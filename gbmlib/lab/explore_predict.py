"""Predictions made now, of a cohort's case or of a case of one's own from files, with a way to stop them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from math import ceil, prod
from pathlib import Path

import numpy as np
import pandas as pd

from gbmlib.cohorts import Case, CaseError, Cohort, FileCase, ImageFile, Problem, regions
from gbmlib.cohorts.check.content import examine
from gbmlib.cohorts.folds import split
from gbmlib.cohorts.layout import stem
from gbmlib.cohorts.problems import refuse
from gbmlib.evaluation.sliding_window import tile_starts
from gbmlib.evaluation.surfaces import volume_ml
from gbmlib.lab.explore import members
from gbmlib.lab.explore_case import decided, together
from gbmlib.preprocess.pipeline import Grid
from gbmlib.study import out_of_fold, predicting
from gbmlib.study.records import Record, Store
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble
from gbmlib.training.loop import cpu_threads
from gbmlib.training.validation import SLICES
from gbmlib.viewer import sprites

#: Told the share that is done, from 0 to 1; it may raise :class:`Stopped`.
Tick = Callable[[float], None]

#: Label values of a glioma in a file, each to the internal one.
CONVENTIONS = {
    "1, 2, 3, as BraTS from 2023 on": {0: 0, 1: 1, 2: 2, 3: 3},
    "1, 2, 4, as BraTS 2017 to 2021": {0: 0, 1: 1, 2: 2, 4: 3},
}


class Stopped(Exception):
    """The reader stopped the work."""


def predict(
    records: Sequence[Record], store: Store, cohort: Cohort, case_id: str, tick: Tick = lambda share: None
) -> np.ndarray:
    """The label map (z, y, x) of a case, predicted now from weights; of several runs, that of their average.

    Args:
        store: where the networks of ensembles and the first networks of cascades lie.
        tick: called before every tile.

    Raises:
        Unsuited: the runs do not suit the data, or one another.
        FileNotFoundError: weights are not on this machine; names the run.
        CaseError: the case cannot be used.
        Stopped: whatever ``tick`` raises passes through.
    """
    together(records, cohort)
    networks = [(network, record) for record in records for network in _networks(record, store)]
    found = []
    for number, (network, of) in enumerate(networks):
        mirrored = of.experiment.mirrored if isinstance(of.experiment, Ensemble) else None

        def part(share: float, number: int = number) -> None:
            tick((number + share) / len(networks))

        found.append(_probabilities(network, store, cohort, case_id, mirrored, part))
    tick(1.0)
    return decided(out_of_fold.average(found), records, cohort)


def _networks(record: Record, store: Store) -> list[Record]:
    if isinstance(record.experiment, Experiment):
        return [record]
    return [_own(member, store) for member in members(record.experiment)]


def _own(experiment: Experiment, store: Store) -> Record:
    record = store.local(experiment)
    if record is None:
        raise FileNotFoundError(f"{experiment.id} is needed for this and is not in {store.path}; run it first")
    return record


def _probabilities(
    record: Record, store: Store, cohort: Cohort, case_id: str, mirrored: bool | None, tick: Tick
) -> tuple[np.ndarray, Grid]:
    """Probabilities (channel, z, y, x) of a case by one network, and their grid."""
    of = record.experiment
    tick(0.0)
    cohort = cohort.with_modalities(of.modalities)
    case = cohort[case_id]
    network = predicting.load_network(record, cohort)
    first = None
    if of.previous is not None:
        first = _first_of_cascade(of, store, cohort, case, lambda share: tick(share / 2))
    prepared = predicting.prepare(of, case, predicting.statistics_of(record))
    given = predicting.inputs(of, cohort, case, prepared, first)
    total, begun, start = passes(of, given.shape[1:], mirrored), count(), 0.0 if first is None else 0.5
    network.register_forward_pre_hook(lambda *_: tick(start + (1 - start) * min(next(begun) / total, 1.0)))
    with cpu_threads(of.threads):
        volume = predicting.predict(network, of, given, mirrored)
    return volume.cpu().numpy(), prepared.grid


def _first_of_cascade(of: Experiment, store: Store, cohort: Cohort, case: Case, tick: Tick) -> np.ndarray:
    """What a cascade's first networks make of a case: the one that held it out, or for a new case all of them."""
    networks = [_own(need, store) for need in of.dependencies]
    if cohort.name == of.cohort and case.has_label:
        networks = [one for one in networks if case.id in split(cohort, of.folds, one.experiment.fold)[1]]
        if (path := networks[0].probabilities(case.id)) is not None:  # what the second network was trained on
            return decided(out_of_fold.load(path), networks, cohort)
    found = []
    for number, one in enumerate(networks):

        def part(share: float, number: int = number) -> None:
            tick((number + share) / len(networks))

        found.append(_probabilities(one, store, cohort, case.id, None, part))
    return decided(out_of_fold.average(found), networks, cohort)


def passes(of: Experiment, shape: Sequence[int], mirrored: bool | None = None) -> int:
    """How many times a network is called for a prepared volume (z, y, x): its tiles, times its mirrorings."""
    tiles = prod(len(tile_starts(max(size, tile), tile, 0.5)) for size, tile in zip(shape, of.tile, strict=True))
    mirrorings = 2 ** (2 if of.is_2d else 3) if (of.mirrored_inference if mirrored is None else mirrored) else 1
    return ceil(tiles / (SLICES if of.is_2d else 1)) * mirrorings


# ------------------------------------------------------------------------------------------------ a case of one's own


def own_case(
    files: Mapping[str, str | Path],
    modalities: Sequence[str],
    labels: Mapping[int, str],
    kind: str = "MR",
) -> tuple[Cohort, tuple[str, ...]]:
    """A cohort of one case, from a NIfTI file for each modality; and what is no fault but worth knowing.

    It is checked as a cohort's case is: files that can be read, one grid, finite voxels, no image twice.

    Args:
        files: modality to path.
        modalities: what the runs take.
        labels: internal label values and their meaning (``lab.explore.labels_of``).
        kind: "MR" or "CT".

    Raises:
        CaseError: everything that is wrong, together.
    """
    given = {name: str(files.get(name) or "").strip() for name in modalities}
    problems = [
        Problem("your case", None, "error", f"{name}: no file is given", "give the path of its .nii or .nii.gz file")
        for name, path in given.items()
        if not path
    ]
    chosen = {name: ImageFile(Path(path).expanduser()) for name, path in given.items() if path}
    name = stem(next(iter(chosen.values())).path.name) if chosen else ""
    values = {value: value for value in (0, *labels)}
    case = FileCase(name, name, chosen, None, values)
    found = examine(case, skull_stripped=kind != "CT")
    problems += found.problems
    for one, content in found.digests.items():
        twins = [other for other, same in found.digests.items() if same == content]
        if len(twins) > 1 and twins[0] == one:
            what = f"{' and '.join(twins)} are the same image"
            problems.append(Problem(name, None, "error", what, "give each modality its own file"))
    refuse("this case cannot be used", problems)
    cohort = Cohort(
        name="your own files",
        spec="",
        cases=(case,),
        modalities=tuple(modalities),
        labels=dict(labels),
        convention=f"written as {sorted(values)}",
        digest=lambda: "",
        modality_kinds=(kind,) * len(modalities),
    )
    return cohort, _worth_knowing(case, cohort)


def _worth_knowing(case: Case, cohort: Cohort) -> tuple[str, ...]:
    if not cohort.is_glioma or "CT" in cohort.modality_kinds:
        return ()
    pairs = zip(case.modalities, case.images(), strict=True)
    whole = [name for name, image in pairs if not sprites.has_background(image)]
    if not whole:
        return ()
    return (
        f"{', '.join(whole)}: the voxels around the head are not zero. The networks for gliomas learned on images "
        "without the skull; remove it first, or expect little of the result.",
    )


def volumes(label_map: np.ndarray, case: Case, cohort: Cohort, scheme: str) -> pd.DataFrame:
    """Volumes in ml of the regions of a label map (z, y, x): what can be told of a case without a gold standard."""
    channels = regions.to_channels(label_map, scheme, cohort.labels)
    names = regions.members(scheme, cohort.labels)
    rows = {name: round(volume_ml(mask, case.spacing), 2) for name, mask in zip(names, channels, strict=True)}
    return pd.DataFrame({"volume (ml)": rows})


def save(
    label_map: np.ndarray,
    case: FileCase,
    path: str | Path,
    replace: bool = False,
    convention: Mapping[int, int] | None = None,
) -> Path:
    """Write a segmentation (z, y, x; internal values) as NIfTI, whole or not at all, in the space of the first image.

    Args:
        replace: whether a file that is there may be written over.
        convention: file values to internal ones, such as one of :data:`CONVENTIONS`; None for the internal values.

    Raises:
        CaseError: no path, no NIfTI file's name, a file that is there (unless ``replace``), or one of the case's own
            images, which is never written over.
    """
    if not str(path).strip():
        raise CaseError("no file is named to save to; give a path that ends in .nii.gz")
    path = Path(str(path).strip()).expanduser()
    if any(path.resolve() == file.path.resolve() for file in case.files.values()):
        raise CaseError(f"{path} is an image of this case; save the segmentation under another name")
    if path.exists() and not replace:
        raise CaseError(f"{path} is there already; choose another name, or allow replacing it")
    (case if convention is None else dataclasses.replace(case, values=convention)).write(path, label_map)
    return path
