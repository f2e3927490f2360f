"""Everything that is wrong with a data set, in one report.

:func:`check` reads every file of a data set, also of one that ``cohorts.open_cohort`` refuses, and does not
stop at the first fault. On the command line: ``python -m gbmlib check brats:PATH``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from gbmlib.cohorts import brats, decathlon, layout
from gbmlib.cohorts.case import Case
from gbmlib.cohorts.check.content import Found, examine
from gbmlib.cohorts.layout import Layout
from gbmlib.cohorts.problems import SEVERITIES, CaseError, Problem, Report, few

__all__ = ["Problem", "Report", "check"]

_SCANS: dict[str, Callable[[str], Layout]] = {"brats": brats.scan, "msd": decathlon.scan}

#: Cases read at once; unpacking and hashing run beside each other. A BraTS case takes about 150 MB.
WORKERS = 2


def check(spec: str, progress: bool = True) -> Report:
    """Look for every problem of a data set.

    Errors: a modality or a listed file that is missing; a file that is unreadable, cut short or no image; shapes or
    affines that differ within a case (tolerance: ``cohorts.nifti.GRID_TOLERANCE``); voxels that are not
    finite; images that are empty or constant; label values or a convention that are not known; the same image or label
    under two ids, or the same image as two modalities. Warnings: a label without foreground, or beside its image; a
    structure in no label at all; releases mixed. Notes: cases without a label; labels on zero background; known
    duplicates, which share a patient.

    Args:
        spec: ``brats:PATH``, ``msd:PATH``, ``phantom:…``, or the name of a cohort that is known here.
        progress: show a bar, where the output is a terminal.

    Raises:
        CaseError: the spec is of no known kind. A folder that is missing or wrong is an error in the report.
    """
    from gbmlib.cohorts import open_cohort, place_of  # the package imports this module

    spec = place_of(spec)
    kind, _, path = spec.partition(":")
    if kind not in _SCANS:
        cohort = open_cohort(spec)
        found = _examine_all(cohort.cases, cohort.modality_kinds, progress)
        problems = [
            *_of_cases(found, cohort.cases),
            *_never_seen(found, cohort.labels),
            *_duplicates(found, cohort.cases),
        ]
        return _report(spec, cohort.name, cohort.cases, cohort.convention, problems, None)
    try:
        there = _SCANS[kind](path)
    except CaseError as error:
        problem = Problem("", Path(path), "error", f"cannot be opened: {error}", f"give the right folder to {kind}:")
        return _report(spec, "", (), "", [problem], None)
    found = _examine_all(there.cases, there.modality_kinds, progress)
    convention, of_labels = _labels(there, found)
    problems = [*there.problems, *_of_cases(found, there.cases), *of_labels, *_duplicates(found, there.cases)]
    return _report(there.spec, there.name, there.cases, convention, problems, there.root)


def _examine_all(cases: Sequence[Case], kinds: Sequence[str], progress: bool) -> list[Found]:
    pool = ThreadPoolExecutor(WORKERS)
    try:
        found = pool.map(partial(examine, skull_stripped="CT" not in kinds), cases)
        return list(tqdm(found, "checking", len(cases), unit="case", leave=False, disable=None if progress else True))
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted check does not go on with the cases that wait


def _of_cases(found: Iterable[Found], cases: Iterable[Case]) -> list[Problem]:
    """What was found in each case by itself."""
    problems = []
    for case, one in zip(cases, found, strict=True):
        problems += one.problems
        if not case.has_label:
            remedy = "nothing, if the case is only for prediction"
            problems.append(Problem(case.id, None, "note", "has no label", remedy))
    return problems


def _labels(there: Layout, found: Iterable[Found]) -> tuple[str, list[Problem]]:
    """The convention in words, and the labels that break it."""
    values = {one.case: one.values for one in found if one.values is not None}
    try:
        convention = there.recognise(values.items())
    except CaseError as error:
        remedy = "put the labels right; until then the data set cannot be opened"
        return "", [Problem("", there.root, "error", str(error), remedy)]
    known = set(convention.values)
    foreign = {case: sorted(holds - known) for case, holds in values.items()}
    problems = [layout.strange(case, there, unknown, convention) for case, unknown in foreign.items() if unknown]
    internal = [frozenset(convention.values.get(value, 0) for value in holds) for holds in values.values()]
    return convention.text, [*problems, *_absent(internal, convention.labels)]


def _never_seen(found: Iterable[Found], labels: Mapping[int, str]) -> list[Problem]:
    return _absent([one.values for one in found if one.values is not None], labels)


def _absent(values: Sequence[frozenset[int]], labels: Mapping[int, str]) -> list[Problem]:
    """Structures that no label of the data set holds; labels that are all empty are reported one by one."""
    seen = frozenset().union(*values)
    if not seen - {0}:
        return []
    remedy = "check the labels' origin; a network cannot learn what no label shows"
    return [
        Problem("", None, "warning", f"no label holds {value} ({name})", remedy)
        for value, name in labels.items()
        if value not in seen
    ]


def _duplicates(found: Iterable[Found], cases: Iterable[Case]) -> list[Problem]:
    """Cases with the same image or label content, and modalities of one case that are the same image."""
    patients = {case.id: case.patient for case in cases}
    holders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in found:
        for name, content in one.contents.items():
            holders[content][one.case].append(name)
    problems, shared = [], defaultdict(list)
    for content in holders.values():
        first, *others = content
        for other in others:
            shared[first, other] += content[other]
        for case, names in content.items():
            if len(names) > 1:
                what = f"{' and '.join(names)} are the same image"
                problems.append(Problem(case, None, "error", what, "fetch the right file for each modality"))
    for (first, other), names in shared.items():
        what = f"has the same {few(sorted(set(names)))} as {first}"
        if patients[first] == patients[other]:
            remedy = "nothing: both are of one patient, and folds keep a patient together"
            problems.append(Problem(other, None, "note", what, remedy))
        else:
            remedy = "remove one of the two, or they leak between folds"
            problems.append(Problem(other, None, "error", what, remedy))
    return problems


def _report(
    spec: str, name: str, cases: Sequence[Case], convention: str, problems: Iterable[Problem], root: Path | None
) -> Report:
    ordered = sorted(problems, key=lambda problem: (SEVERITIES.index(problem.severity), problem.case))
    return Report(spec, name, len(cases), sum(case.has_label for case in cases), convention, tuple(ordered), root)
