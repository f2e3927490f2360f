"""The networks that come with the study, to segment with before anything is trained: records with their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gbmlib.cohorts import Case, Cohort, layouts, open_cohort, own_files
from gbmlib.cohorts.opening import spec_of
from gbmlib.files import NETWORKS, listed, sizes
from gbmlib.study import out_of_fold
from gbmlib.study.predicting import tomographic
from gbmlib.study.records import BOOK, RUNS, Record, Store

#: What the networks that come with the study segment, and their runs.
NAMED = {"glioma": "segvae-023fabfca2cc", "hippocampus": "unet-8484642d6003"}

#: No side of an image that the network for the hippocampus has seen is longer than 59 mm. A head is.
LONGEST = 100


def fitting(cohort: Cohort, folder: str | Path = NETWORKS) -> Record:
    """The network that comes with the study and suits a cohort.

    Raises:
        ValueError: there is none, with the reason for each that there is.
    """
    why = ""
    for record in Store(folder).all():
        reason = out_of_fold.unsuitable(record, cohort)
        if not reason:  # the others are not read, so that a page does not name them among its sources
            return record
        why += f"; {record.id}: {reason}"
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
        spec: of a data set; or the path of its folder, or of an image, which needs ``run``.
        cases: ids; all by default.
        run: the id of a run, or a key of :data:`NAMED`; by default the network of these that suits the data.
        store, published: the folders of one's own runs, and of published records.

    Raises:
        ValueError: a case that there is not, or no network that fits; and what ``out_of_fold.segment`` raises.
    """
    record = Store(store, published=[NETWORKS, published]).named(NAMED.get(run, run)) if run else None
    cohort = _opened(spec, record)
    record = record or fitting(cohort)
    holder = Store(NETWORKS if record.path.parent == NETWORKS else store)
    cohort = cohort.with_modalities(record.experiment.modalities)
    if strange := {*(cases or ())} - {case.id for case in cohort}:
        raise ValueError(f"no case {', '.join(sorted(strange))} in {spec}; it has {len(cohort)} others")
    for name in cases or [case.id for case in cohort]:
        yield cohort[name], out_of_fold.segment([record], holder, cohort, name)


def _opened(spec: str, record: Record | None) -> Cohort:
    """The data set of a spec or a folder; of an image a cohort of one case, for the network of a record."""
    path = Path(spec)
    if ":" in spec or not layouts.is_image(path.name):
        return open_cohort(spec_of(path) if path.exists() else spec)
    if record is None:
        advice = "say which network it is for, as in --network hippocampus; for a glioma give the folder of its images"
        raise ValueError(f"{spec} is one image: {advice}")
    names = record.experiment.modalities
    if len(names) > 1:
        raise ValueError(f"{spec} is one image, {record.id} takes {listed(names)}: give the folder of them")
    labels = {int(value): name for value, name in record.provenance.get("labels", {}).items()}
    ct = tomographic(out_of_fold.members(record.experiment)[0])
    cohort = own_files.own_case({names[0]: path}, names, labels, ct)
    extent = np.multiply(cohort.cases[0].shape, cohort.cases[0].spacing)
    if record.id == NAMED["hippocampus"] and extent.max() > LONGEST:
        known = "the network knows images cropped to one hippocampus, about 36 x 50 x 35 mm; crop it alike"
        raise ValueError(f"{spec} is {sizes(extent, 0)} mm (z, y, x), and {known}")
    return cohort
