"""The run of an ensemble: average what its members predict, decide, post-process, measure, keep."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from gbmlib.cohorts import Cohort
from gbmlib.cohorts.folds import split
from gbmlib.evaluation import components
from gbmlib.study import provenance
from gbmlib.study.out_of_fold import Predictor, average
from gbmlib.study.predicting import decide_channels, measure, schemes
from gbmlib.study.records import HELD_OUT, PREDICTIONS, Record, Store
from gbmlib.training.ensemble import Ensemble


def fit_ensemble(
    ensemble: Ensemble,
    store: Store,
    cohort: Cohort,
    others: list[Cohort],
    device: torch.device,
    progress: bool,
    made: dict[str, Any],
) -> Record:
    """Measure an ensemble on the cases that its members hold out, or on another cohort; its record.

    The rule of single components is learned on the labels of the fold's training cases, and on those of all cases where
    another cohort is measured.

    Raises:
        FileNotFoundError: a member's predictions or weights are not on this machine.
    """
    folder, first, clock = store.unfinished(ensemble), ensemble.members[0], provenance.Clock()
    predictors = [Predictor(member, store, cohort, str(device), ensemble.mirrored) for member in ensemble.members]
    held_in, held_out = split(cohort, ensemble.folds, ensemble.fold)
    if others:
        cases = [(others[0], case, others[0].name) for case in others[0] if case.has_label]
        held_in = [case.id for case in cohort if case.has_label]
    else:
        cases = [(cohort, cohort[case_id], HELD_OUT) for case_id in held_out]
    single: tuple[int, ...] = ()
    if ensemble.single_components:
        labels = (cohort[case_id].label() for case_id in held_in)
        single = tuple(components.learn(labels, connectivity=ensemble.connectivity))
    rows = []
    for of, case, part in tqdm(cases, "measuring", unit="case", disable=not progress, leave=False):
        volume, grid = average([predictor(case, part == HELD_OUT) for predictor in predictors])
        label_map, channels = decide_channels(volume, first, of, grid)
        label_map = components.apply(label_map, single, ensemble.connectivity)
        if part == HELD_OUT:
            case.write(folder / PREDICTIONS / f"{case.id}.nii.gz", label_map)
        for scheme in schemes(ensemble, of):
            own_scheme = scheme == ensemble.regions and not single
            rows += measure(label_map, case, scheme, of, part, channels if own_scheme else None)
    made |= {"single_components": list(single), "members": [member.id for member in ensemble.members]}
    made |= {"seconds": clock.lap(), "peak_memory_mb": provenance.peak_memory_mb(device)}
    return store.finish(ensemble, pd.DataFrame(columns=["epoch"]), pd.DataFrame(rows), made)
