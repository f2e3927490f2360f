"""Splits by patient."""

from types import SimpleNamespace

import pytest
from sklearn.model_selection import KFold

from gbmlib.cohorts import CaseError
from gbmlib.cohorts.folds import split


def cases(patients, labelled=True):
    return [
        SimpleNamespace(id=f"{patient}-{visit}", patient=patient, has_label=labelled)
        for patient, visits in patients.items()
        for visit in range(visits)
    ]


def test_each_patient_is_held_out_once_and_never_on_both_sides():
    cohort = cases({"a": 1, "b": 3, "c": 2, "d": 1, "e": 1, "f": 2, "g": 1})
    seen = []
    for fold in range(3):
        held_in, held_out = split(cohort, 3, fold)
        assert sorted((*held_in, *held_out)) == sorted(case.id for case in cohort)
        assert not {i.split("-")[0] for i in held_in} & {i.split("-")[0] for i in held_out}
        seen += held_out
    assert sorted(seen) == sorted(case.id for case in cohort)


def test_it_is_nnunets_split_and_independent_of_order():
    cohort = cases({f"case{number:02}": 1 for number in range(19)})
    ids = sorted(case.id for case in cohort)
    for fold, (_, held) in enumerate(KFold(5, shuffle=True, random_state=12345).split(ids)):
        assert split(reversed(cohort), 5, fold)[1] == tuple(ids[index] for index in held)


def test_refusals_are_told_together():
    with pytest.raises(CaseError, match=r"5 folds of 2 patients; use 2 to 2.*fold 7 of 5"):
        split(cases({"a": 1, "b": 1}), 5, 7)
    with pytest.raises(CaseError, match="none of its cases has a label"):
        split(cases({"a": 1, "b": 1}, labelled=False), 2, 0)


def test_cases_without_a_label_are_passed_over():
    labelled = cases({"a": 1, "b": 1, "c": 1})
    assert split([*labelled, *cases({"d": 2}, labelled=False)], 3, 1) == split(labelled, 3, 1)
