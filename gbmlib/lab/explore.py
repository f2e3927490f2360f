"""What there is to look at: data, cases, runs, and what runs have to show of a case.

Plain functions, which the panels of ``lab.explore_panels`` call; they work without a browser just as well.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gbmlib.cohorts import GLIOMA, CaseError, Cohort, open_cohort, regions
from gbmlib.study.records import Record, Store
from gbmlib.training.configuration import Experiment
from gbmlib.training.ensemble import Ensemble

_NETWORKS = {"vnet": "V-Net", "segvae": "SegVAE", "unet": "U-Net"}

#: What a run's name in a list leaves to the words after it, or to the list as a whole.
_UNTOLD = ("model", "cohort", "fold", "folds", "seed", "threads", "previous")


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
    reasons = []
    if missing := [name for name in of.modalities if name not in cohort.modalities]:
        reasons.append(f"it takes {', '.join(missing)}, which {cohort.name} lacks")
    if of.cohort == cohort.name:
        return "; ".join(reasons)
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
        needs: tuple[Record | None, ...] = (record, *(store.local(need) for need in record.experiment.dependencies))
    else:
        needs = tuple(store.local(member) for member in record.experiment.members)
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
        name += " cascade" if of.previous is not None else " 2D" if of.is_2d else " 3D"
    return name


def _settings(of: Experiment | Ensemble) -> dict[str, str]:
    """What a run is set to, field by field, the network's options among them."""
    plain = of.model_dump(mode="json", exclude=set(_UNTOLD) | {"members"})
    plain |= plain.pop("options", {})
    return {field: value if isinstance(value, str) else json.dumps(value) for field, value in plain.items()}


def overview(store: Store, own: bool = True) -> pd.DataFrame:
    """How many runs a store holds: a row for each cohort and network, with how many of them can predict here.

    Args:
        own: whether one's own runs count, or published ones alone.
    """
    rows = [
        {
            "data": record.experiment.cohort,
            "network": network_of(record.experiment),
            "runs": 1,
            "your own": int(not record.published),
            "can predict": int(usable(record, store)),
        }
        for record in store.all()
        if own or record.published
    ]
    if not rows:
        return pd.DataFrame(columns=["runs", "your own", "can predict"])
    return pd.DataFrame(rows).groupby(["data", "network"]).sum()
