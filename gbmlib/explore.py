"""What there is to look at: data, cases, runs, and what runs have to show of a case.

Plain functions, which the panels of :mod:`gbmlib.explore_panels` call; they work without a browser just as well.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gbmlib import postprocess, probabilities, regions
from gbmlib.cohorts import GLIOMA, CaseError, Cohort, open_cohort
from gbmlib.configuration import Experiment
from gbmlib.ensemble import Ensemble
from gbmlib.experiments.applying import decide, measure
from gbmlib.records import HELD_OUT, TRAIN, Record, Store

#: What the tables of a case show, in this order.
METRICS = {
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "hausdorff95": "Hausdorff 95 (mm)",
    "surface_dice": "surface Dice",
}

_NETWORKS = {"vnet": "V-Net", "segvae": "SegVAE", "unet": "U-Net"}

#: What a run's name in a list leaves to the words after it, or to the list as a whole.
_UNTOLD = ("model", "cohort", "fold", "folds", "seed", "threads", "previous")


class Unsuited(ValueError):
    """Runs cannot be put to this data, or not be averaged; says why, all reasons together."""


def open_data(place: str) -> Cohort:
    """A cohort by its spec, by a name that is known here, or by the folder that it lies in.

    Raises:
        CaseError: nothing was given, or what was given opens as no cohort; says what a reader can give.
    """
    place = place.strip()
    if not place:
        raise CaseError("no data was named; give a folder, brats:PATH, msd:PATH or phantom:cases=8,spacing=6,seed=0")
    folder = Path(place).expanduser()
    if folder.is_dir():
        return open_cohort(f"{'msd' if (folder / 'dataset.json').exists() else 'brats'}:{folder}")
    if ":" not in place and any(mark in place for mark in "/\\~"):
        raise CaseError(
            f"there is no folder {place}; give the folder of a data set, or brats:PATH, msd:PATH, phantom:…"
        )
    return open_cohort(place)


def records_for(cohort: Cohort, store: Store) -> list[Record]:
    """The runs that have something to say of a cohort, those of this very cohort first, and those that can predict.

    A run of another cohort has something to say if it can predict, and takes the images that this one has.
    """

    def place(record: Record) -> tuple:
        of = record.experiment
        settings = sorted(_settings(of).items())
        return of.cohort != cohort.name, not can[record.id], network_of(of), settings, of.fold, of.seed

    found = store.all()
    can = {record.id: usable(record, store) for record in found}
    known = [record for record in found if record.experiment.cohort == cohort.name or can[record.id]]
    return sorted((record for record in known if not unsuited(record, cohort)), key=place)


def unsuited(record: Record, cohort: Cohort) -> str:
    """Why a run has nothing to say of a cohort; empty where it has."""
    of = record.experiment
    if of.cohort == cohort.name:
        return ""
    reasons = []
    if missing := [name for name in of.modalities if name not in cohort.modalities]:
        reasons.append(f"it takes {', '.join(missing)}, which {cohort.name} lacks")
    if not _structures(of.regions, cohort) <= set(record.cases.region):
        reasons.append(f"it was trained on other structures than {cohort.name} has")
    if ("CT" in cohort.modality_kinds) != any(member.normalisation.startswith("ct") for member in members(of)):
        reasons.append("one of the two is computed tomography, the other is not")
    return "; ".join(reasons)


def _structures(scheme: str, cohort: Cohort) -> set[str | None]:
    """What a cohort's regions of a scheme are called; a name that no record has, where it has no such regions."""
    try:
        return set(regions.members(scheme, cohort.labels))
    except ValueError:
        return {None}


def members(of: Experiment | Ensemble) -> tuple[Experiment, ...]:
    """The networks of a run: its own one, or those that it averages."""
    return of.members if isinstance(of, Ensemble) else (of,)


def usable(record: Record, store: Store) -> bool:
    """Whether the run can predict here: the weights of all its networks are on this machine."""
    if isinstance(record.experiment, Experiment):
        needs: tuple[Record | None, ...] = (record, *(store.own(need) for need in record.experiment.needs))
    else:
        needs = tuple(store.own(member) for member in record.experiment.members)
    return all(need is not None and need.weights is not None for need in needs)


def labels_of(record: Record) -> dict[int, str]:
    """The label values of a run's classes and their meaning, also where its data is not on this machine.

    Then only a glioma's are known for certain; other structures are numbered from 1 in the order of the record.
    """
    of = record.experiment
    try:
        return dict(open_cohort(of.cohort).labels)
    except CaseError:
        names = [name for name in dict.fromkeys(record.cases.region) if name not in regions.BRATS]
        return dict(GLIOMA) if of.regions == "brats" or names == list(GLIOMA.values()) else dict(enumerate(names, 1))


# ------------------------------------------------------------------------------------------------------- runs in words


def named(records: Sequence[Record], store: Store, data: str = "") -> dict[str, Record]:
    """Runs by a name for each that tells it from the others: the network, in what it differs from most, fold and seed.

    A name says what the run was trained on where that is not ``data``, and ends in what the run can do here: predict,
    or show its numbers alone.
    """
    said: dict[str, list[dict[str, str]]] = {}
    for record in records:
        said.setdefault(network_of(record.experiment), []).append(_settings(record.experiment))
    usual = {
        kind: {field: Counter(of.get(field) for of in all_).most_common(1)[0][0] for field in set().union(*all_)}
        for kind, all_ in said.items()
    }
    found: dict[str, Record] = {}
    for record in records:
        of = record.experiment
        kind, own = network_of(of), _settings(of)
        apart = [f"{field} {value}" for field, value in sorted(own.items()) if value != usual[kind][field]]
        words = [kind, *(word.replace("_", " ") for word in apart), f"fold {of.fold} of {of.folds}", f"seed {of.seed}"]
        words += [f"trained on {of.cohort}"] if of.cohort != data else []
        words.append("can predict" if usable(record, store) else "numbers only")
        name = " · ".join(words)
        found[name if name not in found else f"{name} · {record.id}"] = record
    return found


def network_of(of: Experiment | Ensemble) -> str:
    """The network of a run, in a word or two."""
    if isinstance(of, Ensemble):
        kinds = list(dict.fromkeys(map(network_of, of.members)))
        return f"average of {' and '.join(kinds)}" if len(of.members) > 1 else f"{kinds[0]}, variant"
    name = _NETWORKS.get(of.model, of.model)
    if of.model == "unet":
        name += " cascade" if of.previous is not None else " 2D" if of.flat else " 3D"
    return name


def _settings(of: Experiment | Ensemble) -> dict[str, str]:
    """What a run is set to, field by field, the network's options among them."""
    plain = of.model_dump(mode="json", exclude=set(_UNTOLD) | {"members"})
    plain |= plain.pop("options", {})
    return {field: value if isinstance(value, str) else json.dumps(value) for field, value in plain.items()}


def overview(store: Store) -> pd.DataFrame:
    """How many runs a store holds: a row for each cohort and network, with how many of them can predict here."""
    rows = [
        {
            "data": record.experiment.cohort,
            "network": network_of(record.experiment),
            "runs": 1,
            "your own": int(not record.published),
            "can predict": int(usable(record, store)),
        }
        for record in store.all()
    ]
    if not rows:
        return pd.DataFrame(columns=["runs", "your own", "can predict"])
    return pd.DataFrame(rows).groupby(["data", "network"]).sum()


# -------------------------------------------------------------------------------------------- what runs say of a case


@dataclass(frozen=True)
class Offer:
    """What some runs have of a case.

    Attributes:
        held_out, trained: how many of the runs held the case out, and how many were trained on it.
        kept: whether a prediction of a run that held it out lies here.
        now: whether all of the runs can predict it now.
        notes: in plain words, what is not there, why, and how to get it; what the numbers cannot say.
    """

    held_out: int
    trained: int
    kept: bool
    now: bool
    notes: tuple[str, ...]


def offer(records: Sequence[Record], cohort: Cohort, case_id: str, store: Store) -> Offer:
    """What some runs have of a case of a cohort."""
    parts = [part_of(record, cohort, case_id) for record in records]
    held, trained = parts.count(HELD_OUT), parts.count(TRAIN)
    holding = [record for record, part in zip(records, parts, strict=True) if part == HELD_OUT]
    there = any(record.prediction(case_id) for record in holding)
    lacking = [record for record in records if not usable(record, store)]
    notes = [problem for problem in [_apart(records)] if problem]
    for record in records:
        same = record.experiment.cohort == cohort.name
        if stale := record.stale(cohort.fingerprint if same else None):
            notes.append(f"{record.id} is out of date: {'; '.join(stale)}.")
    if trained:
        notes.append(
            f"{'The run was' if len(records) == 1 else f'{trained} of these {len(records)} runs were'} trained on this "
            "case: what is predicted of it shows what was learnt by heart, and is no evidence."
        )
    if elsewhere := [record.experiment.cohort for record in records if record.experiment.cohort != cohort.name]:
        notes.append(f"Trained on {', '.join(dict.fromkeys(elsewhere))}: everything here is new to it.")
    if held and not there:
        notes.append("The case was held out, but its prediction is not on this machine.")
    if lacking:
        first = lacking[0]
        minutes = first.provenance.get("seconds", 0) / 60
        how = f".venv/bin/python -m gbmlib.explore_training {first.id} --cohort {cohort.spec}"
        count = "" if len(records) == 1 else f" {len(lacking)} of these runs:"
        notes.append(
            f"No prediction from weights:{count} records are published as numbers, without the weights. To have them, "
            f"train it here ({minutes:.0f} minutes on {first.provenance.get('device', 'the machine of the record')}): "
            f"{how}"
        )
    return Offer(held, trained, there, not lacking and bool(records) and not _apart(records), tuple(notes))


def part_of(record: Record, cohort: Cohort, case_id: str) -> str:
    """Whether a run held a case out or was trained on it; empty where it has not seen it."""
    if record.experiment.cohort != cohort.name:
        return ""
    splits = record.cases.split[record.cases.case == case_id].unique()
    return next((part for part in (HELD_OUT, TRAIN) if part in splits), "")


def _apart(records: Sequence[Record]) -> str:
    """Why some runs cannot be averaged; empty where they can."""
    faults = []
    for what, of in {"regions": lambda e: e.regions, "kinds of output": lambda e: members(e)[0].softmax}.items():
        if len({of(record.experiment) for record in records}) > 1:
            faults.append(f"they have different {what}")
    return f"These runs cannot be averaged: {' and '.join(faults)}. Choose runs of one kind." if faults else ""


def recorded(records: Sequence[Record], case_id: str) -> pd.DataFrame:
    """What the records say of a case: a row for each split and region, the mean over the runs that have it."""
    tables = [record.cases[record.cases.case == case_id].assign(run=record.id) for record in records]
    cases = pd.concat(tables) if tables else pd.DataFrame(columns=["split", "region", "metric", "value", "run"])
    if cases.empty:
        return pd.DataFrame()
    table = _wide(cases, ["split", "region"])
    table.insert(0, "runs", cases.groupby(["split", "region"], sort=False).run.nunique())
    return table


def measured(label_map: np.ndarray, cohort: Cohort, case_id: str, scheme: str) -> pd.DataFrame:
    """A label map (z, y, x) of a labelled case held against its gold standard: a row a region."""
    rows = pd.DataFrame(measure(label_map, cohort[case_id], scheme, cohort, HELD_OUT))
    return _wide(rows, ["region"])


def _wide(rows: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    table = rows.groupby([*index, "metric"], sort=False).value.mean().unstack("metric")
    order = rows.set_index(index).index.unique()
    return (
        table.reindex(order)[[name for name in METRICS if name in table]]
        .rename(columns=METRICS)
        .rename_axis(columns=None)
    )


def kept(records: Sequence[Record], cohort: Cohort, case_id: str) -> np.ndarray:
    """The label map (z, y, x) that runs which held a case out predicted of it; of several, that of their average.

    Raises:
        Unsuited: no such prediction is here; or of several runs the probabilities are not, so there is no average.
    """
    holding = [
        record
        for record in records
        if part_of(record, cohort, case_id) == HELD_OUT and record.prediction(case_id) is not None
    ]
    if not holding:
        raise Unsuited(f"none of the chosen runs has a prediction of {case_id}, held out, on this machine")
    if len(holding) == 1:
        return cohort[case_id].read(holding[0].prediction(case_id))
    paths = [record.probabilities(case_id) for record in holding]
    if apart := _apart(holding):
        raise Unsuited(apart)
    if lacking := [record.id for record, path in zip(holding, paths, strict=True) if path is None]:
        raise Unsuited(f"{', '.join(lacking)} kept no probabilities of {case_id}; choose one run, or predict it now")
    return decided(probabilities.average([probabilities.load(path) for path in paths]), holding, cohort)


def decided(found: tuple[np.ndarray, Any], records: Sequence[Record], cohort: Cohort) -> np.ndarray:
    """The label map (z, y, x) of averaged probabilities and their grid; post-processed as a lone ensemble is."""
    label_map = decide(found[0], members(records[0].experiment)[0], cohort, found[1])
    single = records[0].provenance.get("single_components", ()) if len(records) == 1 else ()
    return postprocess.apply(label_map, tuple(single))


def together(records: Iterable[Record], cohort: Cohort) -> list[Record]:
    """Runs, if all of them suit a cohort and can be averaged.

    Raises:
        Unsuited: what speaks against it, all reasons together.
    """
    records = list(records)
    faults = [] if records else ["no run is chosen"]
    faults += [f"{record.id}: {why}" for record in records if (why := unsuited(record, cohort))]
    faults += [why for why in [_apart(records)] if why]
    if faults:
        raise Unsuited("; ".join(faults))
    return records
