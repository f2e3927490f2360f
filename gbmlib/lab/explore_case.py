"""What runs have to show of a case: predictions that lie here, numbers, and what speaks against either."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gbmlib.cohorts import Cohort
from gbmlib.evaluation import components
from gbmlib.lab.explore import members, unsuited, usable
from gbmlib.preprocess.pipeline import Grid
from gbmlib.study import out_of_fold
from gbmlib.study.predicting import decide, measure
from gbmlib.study.records import HELD_OUT, TRAIN, Record, Store

#: What the tables of a case show, in this order.
METRICS = {
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "hausdorff95": "Hausdorff 95 (mm)",
    "surface_dice": "surface Dice",
}


class Unsuited(ValueError):
    """Runs cannot be put to this data, or not be averaged; says why, all reasons together."""


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
        how = f".venv/bin/python -m gbmlib run {cohort.spec} --ids {first.id}"
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
    kinds = {"regions": lambda e: e.regions, "kinds of output": lambda e: members(e)[0].softmax}
    differ = [what for what, of in kinds.items() if len({of(record.experiment) for record in records}) > 1]
    said = " and ".join(differ)
    return f"These runs have different {said}, so they cannot be averaged; choose some of one kind." if said else ""


def recorded(records: Sequence[Record], cohort: Cohort, case_id: str) -> pd.DataFrame:
    """What the records say of a case: a row for each split and region, the mean over the runs that have it."""
    tables = []
    for record in records:
        # Cases of two cohorts may go by one name: a run's own cases, or those of a cohort that it was measured on too.
        splits = (HELD_OUT, TRAIN) if record.experiment.cohort == cohort.name else (cohort.name,)
        of = record.cases[(record.cases.case == case_id) & record.cases.split.isin(splits)]
        tables += [of.assign(run=record.id)] if len(of) else []
    if not tables:
        return pd.DataFrame()
    cases = pd.concat(tables)
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
    return decided(out_of_fold.average([out_of_fold.load(path) for path in paths]), holding, cohort)


def decided(found: tuple[np.ndarray, Grid], records: Sequence[Record], cohort: Cohort) -> np.ndarray:
    """The label map (z, y, x) of averaged probabilities and their grid; post-processed as a lone ensemble is."""
    label_map = decide(found[0], members(records[0].experiment)[0], cohort, found[1])
    single = records[0].provenance.get("single_components", ()) if len(records) == 1 else ()
    return components.apply(label_map, tuple(single))


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
