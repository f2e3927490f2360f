"""Data, cases and runs to choose from, and what runs have to show of a case: plain functions, which need no browser."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gbmlib.cohorts import GLIOMA, Case, CaseError, Cohort, open_cohort, place_of, regions
from gbmlib.cohorts.opening import spec_of
from gbmlib.evaluation.surfaces import volume_ml
from gbmlib.study import out_of_fold
from gbmlib.study.out_of_fold import UnsuitableRuns
from gbmlib.study.predicting import measure
from gbmlib.study.records import HELD_OUT, TRAIN, Record, Store
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble
from gbmlib.viewer import sprites

_NETWORKS = {"vnet": "V-Net", "segvae": "SegVAE", "unet": "U-Net"}

#: Settings that a run's name in a list leaves out: the words after it, or the list as a whole, say them.
_SAID_ELSEWHERE = {"model", "cohort", "fold", "folds", "seed", "threads", "previous", "members"}

#: The metrics that the tables of a case show, in this order.
METRICS = {
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "hausdorff95": "Hausdorff 95 (mm)",
    "surface_dice": "surface Dice",
}


def open_data(place: str) -> Cohort:
    """A cohort by its spec, by a name that is known here, or by the folder that it lies in.

    Raises:
        CaseError: nothing was given, or what was given opens as no cohort; says what a reader can give.
    """
    place = place.strip()
    if not place:
        raise CaseError("no data was named; give a folder, brats:PATH, msd:PATH or phantom:cases=8,spacing=6,seed=0")
    folder = Path(place).expanduser()
    if folder.is_dir() or folder.suffix == ".csv":
        return open_cohort(spec_of(folder))
    if ":" not in place and any(mark in place for mark in "/\\~"):
        raise CaseError(
            f"there is no folder {place}; give the folder of a data set, or brats:PATH, msd:PATH, phantom:…"
        )
    return open_cohort(place)


def places(store: Store, default: str) -> list[str]:
    """Where the data of runs lies, as far as it is known here: of the reader's own, the latest first, then ``default``,
    then of published ones."""
    records = sorted(store.all(), key=lambda record: record.provenance.get("began", ""), reverse=True)
    by_origin: dict[bool, list[str]] = {False: [], True: []}
    for record in records:
        with contextlib.suppress(CaseError):
            by_origin[record.published].append(place_of(record.experiment.cohort))
    return list(dict.fromkeys([*by_origin[False], default, *by_origin[True]]))


def records_for(cohort: Cohort, store: Store) -> list[Record]:
    """The runs that have something to show of a cohort: its own first, and of these the ones that can predict.

    A run of another cohort is among them if it can predict, and takes the images that this one has.
    """
    records = store.all()
    ready = {record.id: can_predict(record, store) for record in records}

    def order(record: Record) -> tuple:
        run = record.experiment
        settings = sorted(_settings(run).items())
        return run.cohort != cohort.name, not ready[record.id], network_of(run), settings, run.fold, run.seed

    usable = [record for record in records if record.experiment.cohort == cohort.name or ready[record.id]]
    return sorted((record for record in usable if not out_of_fold.unsuitable(record, cohort)), key=order)


def can_predict(record: Record, store: Store) -> bool:
    """Whether the weights of all networks that a run needs are on this machine."""
    if isinstance(record.experiment, Experiment):
        needed: tuple[Record | None, ...] = (record, *(store.local(need) for need in record.experiment.dependencies))
    else:
        needed = tuple(store.local(member) for member in record.experiment.members)
    return all(need is not None and need.weights is not None for need in needed)


def labels_of(record: Record) -> dict[int, str]:
    """The label values of a run's classes and their meaning, also where its data is not on this machine.

    Then only a glioma's are known for certain; other structures are numbered from 1 in the order of the record.
    """
    with contextlib.suppress(CaseError):
        return dict(open_cohort(record.experiment.cohort).labels)
    names = [name for name in dict.fromkeys(record.cases.region) if name not in regions.BRATS]
    glioma = record.experiment.regions == "brats" or names == list(GLIOMA.values())
    return dict(GLIOMA if glioma else enumerate(names, 1))


# ------------------------------------------------------------------------------------------------------- runs in words


def by_name(records: Sequence[Record], store: Store, data: str = "") -> dict[str, Record]:
    """Runs by a name for each that tells it from the others: the network, in what it differs from most, fold and seed.

    A name says what the run was trained on where that is not ``data``, and ends in what the run can do here: predict,
    or show its numbers alone.
    """
    settings: dict[str, list[dict[str, str]]] = {}
    for record in records:
        settings.setdefault(network_of(record.experiment), []).append(_settings(record.experiment))
    usual = {
        network: {
            field: Counter(one.get(field) for one in several).most_common(1)[0][0] for field in set().union(*several)
        }
        for network, several in settings.items()
    }
    names: dict[str, Record] = {}
    for record in records:
        run, network = record.experiment, network_of(record.experiment)
        fields = sorted(_settings(run).items())
        unusual = [f"{field} {value}".replace("_", " ") for field, value in fields if value != usual[network][field]]
        words = [network, *unusual, f"fold {run.fold} of {run.folds}", f"seed {run.seed}"]
        words += [f"trained on {run.cohort}"] if run.cohort != data else []
        words.append("can predict" if can_predict(record, store) else "numbers only")
        name = " · ".join(words)
        names[name if name not in names else f"{name} · {record.id}"] = record
    return names


def network_of(run: Experiment | Ensemble) -> str:
    """The network of a run, in a word or two."""
    if isinstance(run, Ensemble):
        networks = list(dict.fromkeys(map(network_of, run.members)))
        return f"average of {' and '.join(networks)}" if len(run.members) > 1 else f"{networks[0]}, variant"
    name = _NETWORKS.get(run.model, run.model)
    if run.model == "unet":
        name += " cascade" if run.previous is not None else " 2D" if run.is_2d else " 3D"
    return name


def _settings(run: Experiment | Ensemble) -> dict[str, str]:
    """The settings of a run, field by field, the network's options among them."""
    fields = run.model_dump(mode="json", exclude=_SAID_ELSEWHERE)
    fields |= fields.pop("options", {})
    return {field: value if isinstance(value, str) else json.dumps(value) for field, value in fields.items()}


def overview(store: Store, own: bool = True) -> pd.DataFrame:
    """How many runs a store holds: a row for each cohort and network, with how many of them can predict here.

    Args:
        own: whether the reader's own runs count, or published ones alone.
    """
    columns = ["data", "network", "runs", "your own", "can predict"]
    rows = [
        (record.experiment.cohort, network_of(record.experiment), 1, not record.published, can_predict(record, store))
        for record in store.all()
        if own or record.published
    ]
    return pd.DataFrame(rows, columns=columns).groupby(columns[:2]).sum().astype(int)


# ------------------------------------------------------------------------------------------ what runs have of a case


@dataclass(frozen=True)
class Available:
    """What some runs have to show of a case.

    Attributes:
        kept: whether a prediction of a run that held it out is on this machine.
        predictable: whether all of the runs can predict it now.
        notes: in plain words, what is missing, why, and how to get it; what the numbers cannot say.
    """

    kept: bool
    predictable: bool
    notes: tuple[str, ...]


def available(records: Sequence[Record], cohort: Cohort, case_id: str, store: Store) -> Available:
    """What some runs have to show of a case of a cohort."""
    splits = [split_of(record, cohort, case_id) for record in records]
    holding = [record for record, split in zip(records, splits, strict=True) if split == HELD_OUT]
    kept = any(record.prediction(case_id) for record in holding)
    lacking = [record for record in records if not can_predict(record, store)]
    unlike = out_of_fold.unlike(records)
    notes = [unlike] if unlike else []
    for record in records:
        same_cohort = record.experiment.cohort == cohort.name
        if stale := record.stale(cohort.fingerprint if same_cohort else None):
            notes.append(f"{record.id} is out of date: {'; '.join(stale)}.")
    if trained := splits.count(TRAIN):
        notes.append(
            f"{'The run was' if len(records) == 1 else f'{trained} of these {len(records)} runs were'} trained on this "
            "case: what is predicted of it shows what was learnt by heart, and is no evidence."
        )
    if elsewhere := [record.experiment.cohort for record in records if record.experiment.cohort != cohort.name]:
        notes.append(f"Trained on {', '.join(dict.fromkeys(elsewhere))}: everything here is new to it.")
    if holding and not kept:
        notes.append("The case was held out, but its prediction is not on this machine.")
    if lacking:
        first = lacking[0]
        minutes = first.provenance.get("seconds", 0) / 60
        count = "" if len(records) == 1 else f" {len(lacking)} of these runs:"
        notes.append(
            f"No prediction from weights:{count} records are published as numbers, without the weights. To have them, "
            f"train it here ({minutes:.0f} minutes on {first.provenance.get('device', 'the machine of the record')}): "
            f".venv/bin/python -m gbmlib run {cohort.spec} --ids {first.id}"
        )
    return Available(kept, bool(records) and not lacking and not unlike, tuple(notes))


def split_of(record: Record, cohort: Cohort, case_id: str) -> str:
    """Whether a run held a case out or was trained on it; empty where it has not seen it."""
    if record.experiment.cohort != cohort.name:
        return ""
    splits = set(record.cases.split[record.cases.case == case_id])
    return next((split for split in (HELD_OUT, TRAIN) if split in splits), "")


def recorded(records: Sequence[Record], cohort: Cohort, case_id: str) -> pd.DataFrame:
    """What the records say of a case: a row for each split and region, the mean over the runs that have it."""
    tables = []
    for record in records:
        # Cases of two cohorts may go by one name: a run's own cases, or those of a cohort that it was measured on too.
        splits = (HELD_OUT, TRAIN) if record.experiment.cohort == cohort.name else (cohort.name,)
        rows = record.cases[(record.cases.case == case_id) & record.cases.split.isin(splits)]
        tables += [rows.assign(run=record.id)] if len(rows) else []
    if not tables:
        return pd.DataFrame()
    rows = pd.concat(tables)
    table = _wide(rows, ["split", "region"])
    table.insert(0, "runs", rows.groupby(["split", "region"], sort=False).run.nunique())
    return table


def measured(label_map: np.ndarray, cohort: Cohort, case_id: str, scheme: str) -> pd.DataFrame:
    """A label map (z, y, x) of a labelled case measured against its gold standard: a row a region."""
    return _wide(pd.DataFrame(measure(label_map, cohort[case_id], scheme, cohort, HELD_OUT)), ["region"])


def _wide(rows: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    table = rows.groupby([*index, "metric"], sort=False).value.mean().unstack("metric")
    table = table.reindex(rows.set_index(index).index.unique())[[name for name in METRICS if name in table]]
    return table.rename(columns=METRICS).rename_axis(columns=None)


def volumes(label_map: np.ndarray, case: Case, cohort: Cohort, scheme: str) -> pd.DataFrame:
    """Volumes in ml of the regions of a label map (z, y, x): what can be told of a case without a gold standard."""
    channels = regions.to_channels(label_map, scheme, cohort.labels)
    names = regions.members(scheme, cohort.labels)
    rows = {name: round(volume_ml(mask, case.spacing), 2) for name, mask in zip(names, channels, strict=True)}
    return pd.DataFrame({"volume (ml)": rows})


def kept_prediction(records: Sequence[Record], cohort: Cohort, case_id: str) -> np.ndarray:
    """The label map (z, y, x) that runs which held a case out predicted of it; of several, that of their average.

    Raises:
        UnsuitableRuns: no such prediction is here; or of several runs the probabilities are not, or cannot be averaged.
    """
    holding = [
        record for record in records if split_of(record, cohort, case_id) == HELD_OUT and record.prediction(case_id)
    ]
    if not holding:
        raise UnsuitableRuns(f"none of the chosen runs has a prediction of {case_id}, held out, on this machine")
    if len(holding) == 1:
        return cohort[case_id].read(holding[0].prediction(case_id))
    if unlike := out_of_fold.unlike(holding):
        raise UnsuitableRuns(unlike)
    paths = {record.id: record.probabilities(case_id) for record in holding}
    if lacking := ", ".join(name for name, path in paths.items() if path is None):
        raise UnsuitableRuns(f"{lacking} kept no probabilities of {case_id}; choose one run, or predict it now")
    averaged = out_of_fold.average([out_of_fold.load(path) for path in paths.values()])
    return out_of_fold.label_map_of(averaged, holding, cohort)


def skull_warning(cohort: Cohort) -> str:
    """A warning where images of the first case of a glioma cohort are not skull-stripped; empty where they are."""
    case = cohort.cases[0]
    if not cohort.is_glioma or "CT" in cohort.modality_kinds:
        return ""
    pairs = zip(case.modalities, case.images(), strict=True)
    names = ", ".join(name for name, image in pairs if not sprites.has_background(image))
    return names and (
        f"{names}: the voxels around the head are not zero. The networks for gliomas learned on images "
        "without the skull; remove it first, or expect little of the result."
    )
