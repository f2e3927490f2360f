"""Everything that is wrong with a data set, in one report.

:func:`check` reads every file of a data set, also of one that ``cohorts.open_cohort`` refuses, and does not
stop at the first fault: faults inside one case are in ``check.content``, faults between cases here. On the command
line: ``python -m gbmlib check brats:PATH``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from gbmlib.cohorts.case import Case
from gbmlib.cohorts.check.content import Contents, examine
from gbmlib.cohorts.layouts import Convention, Layout, strange_values
from gbmlib.cohorts.opening import open_cohort, place_of, reader_of
from gbmlib.cohorts.problems import SEVERITIES, CaseError, Problem, Report
from gbmlib.files import few

#: Cases read at once; unpacking and hashing run beside each other. A BraTS case takes about 150 MB.
WORKERS = 2


def check(spec: str, progress: bool = True) -> Report:
    """Look for every problem of a data set.

    Errors: a modality or a listed file that is missing; a file that is unreadable, cut short or no image; shapes or
    affines that differ within a case (tolerance: ``cohorts.nifti.GRID_TOLERANCE``); voxels that are not
    finite; images that are empty or constant; label values or a convention that are not known; the same image or label
    under two ids, or the same image as two modalities. Warnings: a label without foreground, or beside its image; a
    structure in no label at all; releases mixed; images that are not read; what may be CT under another name; a
    background that is not 0 where the skull should be removed; what is doubtful in a header (``check.header``). Notes:
    cases without a label; labels on zero background; what a description names and is not read; known duplicates, which
    share a patient.

    Args:
        spec: as ``cohorts.open_cohort`` takes it, or the name of a cohort that is known here.
        progress: show a bar, where the output is a terminal.

    Raises:
        CaseError: the spec is of no known kind. A folder that is missing or wrong is an error in the report.
    """
    spec = place_of(spec)
    kind, _, path = spec.partition(":")
    reader = reader_of(spec)
    if hasattr(reader, "scan"):
        try:
            layout = reader.scan(path)
        except CaseError as error:
            what, remedy = f"cannot be opened: {error}", f"give the right folder to {kind}:"
            return _report(spec, "", (), "", [Problem("", Path(path), "error", what, remedy)], None)
        contents = _examine_all(layout.cases, layout.modality_kinds, layout.skull_stripped, progress)
        convention, problems = _labels(layout, contents)
        problems = [*layout.problems, *_each(contents, layout.cases), *problems, *_duplicates(contents, layout.cases)]
        return _report(layout.spec, layout.name, layout.cases, convention, problems, layout.root)
    cohort = open_cohort(spec)
    contents = _examine_all(cohort.cases, cohort.modality_kinds, cohort.is_glioma, progress)
    stored = getattr(cohort.cases[0], "values", {value: value for value in cohort.labels})
    absent = _absent(contents, Convention(stored, cohort.labels, cohort.convention))
    problems = [*_each(contents, cohort.cases), *absent, *_duplicates(contents, cohort.cases)]
    return _report(spec, cohort.name, cohort.cases, cohort.convention, problems, None)


def _examine_all(cases: Sequence[Case], kinds: Sequence[str], skull_stripped: bool, progress: bool) -> list[Contents]:
    pool = ThreadPoolExecutor(WORKERS)
    try:
        contents = pool.map(partial(examine, kinds=kinds, skull_stripped=skull_stripped), cases)
        return list(
            tqdm(contents, "checking", len(cases), unit="case", leave=False, disable=None if progress else True)
        )
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupted check does not go on with the cases that wait


def _each(contents: Iterable[Contents], cases: Iterable[Case]) -> list[Problem]:
    """Faults of each case by itself."""
    remedy = "nothing, if the case is only for prediction"
    unlabelled = [Problem(case.id, None, "note", "has no label", remedy) for case in cases if not case.has_label]
    return [*(problem for content in contents for problem in content.problems), *unlabelled]


def _labels(layout: Layout, contents: Iterable[Contents]) -> tuple[str, list[Problem]]:
    """The convention in words, and the labels that break it."""
    values = {content.case: content.values for content in contents if content.values is not None}
    try:
        convention = layout.recognise(values.items())
    except CaseError as error:
        remedy = "put the labels right; until then the data set cannot be opened"
        return "", [Problem("", layout.root, "error", str(error), remedy)]
    return convention.text, [*strange_values(layout, values, convention), *_absent(contents, convention)]


def _absent(contents: Iterable[Contents], convention: Convention) -> list[Problem]:
    """Structures that no label of the data set holds; labels that are all empty are reported one by one."""
    stored = frozenset().union(*(content.values or () for content in contents))
    seen = {convention.values.get(value, 0) for value in stored}
    if not seen - {0}:
        return []
    remedy = "check the labels' origin; a network cannot learn what no label shows"
    return [
        Problem("", None, "warning", f"no label holds {value} ({name})", remedy)
        for value, name in convention.labels.items()
        if value not in seen
    ]


def _duplicates(contents: Iterable[Contents], cases: Iterable[Case]) -> list[Problem]:
    """Cases with the same image or label content, and modalities of one case that are the same image."""
    patients = {case.id: case.patient for case in cases}
    holders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for content in contents:
        for name, digest in content.digests.items():
            holders[digest][content.case].append(name)
    problems, shared = [], defaultdict(list)
    for holder in holders.values():
        first, *others = holder
        for other in others:
            shared[first, other] += holder[other]
        for case, names in holder.items():
            if len(names) > 1:
                what = f"{' and '.join(names)} are the same image"
                problems.append(Problem(case, None, "error", what, "fetch the right file for each modality"))
    for (first, other), names in shared.items():
        severity, remedy = "error", "remove one of the two, or they leak between folds"
        if patients[first] == patients[other]:
            severity, remedy = "note", "nothing: both are of one patient, and folds keep a patient together"
        problems.append(Problem(other, None, severity, f"has the same {few(sorted(set(names)))} as {first}", remedy))
    return problems


def _report(
    spec: str, name: str, cases: Sequence[Case], convention: str, problems: Iterable[Problem], root: Path | None
) -> Report:
    ordered = sorted(problems, key=lambda problem: (SEVERITIES.index(problem.severity), problem.case))
    return Report(spec, name, len(cases), sum(case.has_label for case in cases), convention, tuple(ordered), root)
