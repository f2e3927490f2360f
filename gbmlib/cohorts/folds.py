"""Cross-validation splits by patient."""

from __future__ import annotations

from collections.abc import Iterable

from sklearn.model_selection import KFold

from gbmlib.cohorts.case import Case
from gbmlib.cohorts.problems import CaseError

#: The seed of nnU-Net's splits (MIC-DKFZ/nnUNet). It sorts cases where this sorts patients, so its folds are the same
#: where both have one order: on the hippocampus, not where a patient's name begins with another's (2013_2, 2013_23).
SPLIT_SEED = 12345


def split(cases: Iterable[Case], folds: int, fold: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Case ids to train on and to validate on in one fold of a cross-validation over the patients of labelled cases.

    Patients are sorted and shuffled with a fixed seed into ``folds`` parts, so the split depends on the patients alone.

    Raises:
        CaseError: fewer than two folds, no such fold, no labelled case, or fewer patients than folds.
    """
    cases = [case for case in cases if case.has_label]
    patients = sorted({case.patient for case in cases})
    faults = []
    if not cases:
        faults.append("none of its cases has a label")
    if len(patients) == 1:
        faults.append("one patient is not enough to train on; a run that is trained already segments it")
    elif folds < 2 or folds > len(patients):
        faults.append(f"{folds} folds of {len(patients)} patients; use 2 to {len(patients)} (--folds, -p n_folds)")
    if not 0 <= fold < folds:
        faults.append(f"fold {fold} of {folds}; they are counted from 0 to {folds - 1}")
    if faults:
        raise CaseError("cannot split the cohort: " + "; ".join(faults))
    parts = list(KFold(folds, shuffle=True, random_state=SPLIT_SEED).split(patients))
    held_out = {patients[index] for index in parts[fold][1]}
    ids = sorted((case.id, case.patient in held_out) for case in cases)
    return tuple(i for i, held in ids if not held), tuple(i for i, held in ids if held)
