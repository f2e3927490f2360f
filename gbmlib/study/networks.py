"""The networks that come with the study, to segment with before anything is trained: records with their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from gbmlib.cohorts import Case, Cohort, open_cohort
from gbmlib.files import NETWORKS
from gbmlib.models import TRAINED_ALONE
from gbmlib.study import out_of_fold
from gbmlib.study.records import BOOK, RUNS, WEIGHTS, Record, Store
from gbmlib.training import tensors


def publish(record: Record, folder: str | Path = NETWORKS) -> Path:
    """Copy a record to a folder, with the weights that segmenting needs, as 16-bit numbers.

    Raises:
        FileNotFoundError: the weights are not on this machine.
    """
    if record.weights is None:
        raise FileNotFoundError(f"the weights of {record.id} are not on this machine; run its experiment to make them")
    weights = {
        name: tensor.half() if tensor.dtype is torch.float32 else tensor
        for name, tensor in tensors.load(record.weights).items()
        if not name.startswith(TRAINED_ALONE)
    }
    path = Store(folder).publish(record, folder).path
    tensors.save(path / WEIGHTS, weights)
    return path


def fitting(cohort: Cohort, folder: str | Path = NETWORKS) -> Record:
    """The network that comes with the study and suits a cohort.

    Raises:
        ValueError: there is none, with the reason for each that there is.
    """
    reasons = {record: out_of_fold.unsuitable(record, cohort) for record in Store(folder).all()}
    for record, reason in reasons.items():
        if not reason:
            return record
    why = "".join(f"; {record.id}: {reason}" for record, reason in reasons.items())
    raise ValueError(f"no network that comes with the study suits {cohort.name}: name a run of yours with --run{why}")


def segmented(
    spec: str,
    cases: Sequence[str] | None = None,
    run: str | None = None,
    store: str | Path = RUNS,
    published: str | Path = BOOK,
) -> Iterator[tuple[Case, np.ndarray]]:
    """Cases of a data set, one after another, each with its label map (z, y, x), predicted now.

    Args:
        cases: ids; all by default.
        run: the id of a run; by default the network that comes with the study.
        store, published: the folders of one's own runs, and of published records.

    Raises:
        ValueError: a case that there is not, or no network that fits; and what ``out_of_fold.segment`` raises.
    """
    named = Store(store, published=[NETWORKS, published]).named
    record = named(run) if run else fitting(open_cohort(spec))
    holder = Store(NETWORKS if record.path.parent == NETWORKS else store)
    cohort = open_cohort(spec, record.experiment.modalities)
    if strange := {*(cases or ())} - {case.id for case in cohort}:
        raise ValueError(f"no case {', '.join(sorted(strange))} in {spec}; it has {len(cohort)} others")
    for name in cases or [case.id for case in cohort]:
        yield cohort[name], out_of_fold.segment([record], holder, cohort, name)
