"""From a folder of NIfTI files to a cohort, in two steps: what lies there (:class:`Layout`), then whether it will do.

A reader (``cohorts.brats``, ``cohorts.decathlon``) scans a folder without opening an image and
notes every fault; :func:`cohort` refuses a layout with faults, all of them in one message, and
``cohorts.check`` goes on where opening stops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from gbmlib.cohorts.case import FileCase, digest
from gbmlib.cohorts.cohort import Cohort
from gbmlib.cohorts.nifti import label_values, read
from gbmlib.cohorts.problems import CaseError, Problem, refuse
from gbmlib.files import few


@dataclass(frozen=True)
class Convention:
    """What label files hold: each value of a file to the internal one, the internal meanings, and a sentence."""

    values: Mapping[int, int]
    labels: Mapping[int, str]
    text: str


@dataclass(frozen=True)
class Layout:
    """What lies in a folder.

    Attributes:
        kind: "brats" or "msd".
        root: the folder, absolute.
        family: the cohort's name without its number of cases.
        cases: sorted by id; a case may lack files, and its ``values`` are not settled yet.
        modalities: what a case must have, in order.
        modality_kinds: "MR" or "CT" for each.
        problems: the faults that show without opening an image.
        recognise: tells the convention from the values of each label, given as pairs of case id and values; takes
            only as many as it needs, and raises :class:`CaseError` where they fit no convention.
    """

    kind: str
    root: Path
    family: str
    cases: tuple[FileCase, ...]
    modalities: tuple[str, ...]
    modality_kinds: tuple[str, ...]
    problems: tuple[Problem, ...]
    recognise: Callable[[Iterable[tuple[str, frozenset[int]]]], Convention]

    @property
    def spec(self) -> str:
        return f"{self.kind}:{self.root}"

    @property
    def labelled(self) -> tuple[FileCase, ...]:
        return tuple(case for case in self.cases if case.has_label)

    @property
    def name(self) -> str:
        """The family and the number of labelled cases: with or without the test set, a cohort has one name."""
        return f"{self.family}-{len(self.labelled or self.cases)}"


def cohort(layout: Layout) -> Cohort:
    """The cohort of a layout.

    Raises:
        CaseError: the layout has faults (all are listed), or its labels follow no convention that is known.
    """
    _refuse(layout, layout.problems, "looks deeper")
    convention = _settled(layout)
    return Cohort(
        name=layout.name,
        spec=layout.spec,
        cases=tuple(replace(case, values=convention.values, labels=convention.labels) for case in layout.cases),
        modalities=layout.modalities,
        labels=convention.labels,
        convention=convention.text,
        digest=cache(lambda: digest(layout.labelled or layout.cases)),
        modality_kinds=layout.modality_kinds,
    )


def _settled(layout: Layout) -> Convention:
    """Recognise the convention from as few labels as it takes, from all over the cohort, and hold those to it."""
    labelled = layout.labelled
    step = max(1, len(labelled) // 5)
    spread = [*labelled[::step], *(case for index, case in enumerate(labelled) if index % step)]
    seen: dict[str, frozenset[int]] = {}

    def values() -> Iterator[tuple[str, frozenset[int]]]:
        for case in spread:
            seen[case.id] = label_values(read(case.label_file, case.id), f"case {case.id}: {case.label_file}")
            yield case.id, seen[case.id]

    convention = layout.recognise(values())
    _refuse(layout, strange_values(layout, seen, convention), "reads every label")
    return convention


def _refuse(layout: Layout, problems: Iterable[Problem], does: str) -> None:
    refuse(f"{layout.spec} cannot be opened", problems, f"gbmlib.cohorts.check({layout.spec!r}) {does}.")


def strange_values(layout: Layout, seen: Mapping[str, frozenset[int]], convention: Convention) -> list[Problem]:
    """The labels, values by case id, that hold values their cohort's convention does not know."""
    files, known = {case.id: case.label_file for case in layout.cases}, set(convention.values)
    what = "holds the label values {}; the cohort's convention knows " + str(sorted(known))
    remedy = "fetch the label again, or keep other conventions in a cohort apart"
    return [
        Problem(case_id, files[case_id], "error", what.format(sorted(values - known)), remedy)
        for case_id, values in seen.items()
        if values - known
    ]


def existing(path: str, kind: str) -> Path:
    """The folder that a spec names, absolute.

    Raises:
        CaseError: there is no such folder, or it is empty; says what the nearest folder holds.
    """
    if not path.strip():
        raise CaseError(f"{kind}: needs the path of a folder, as in {kind}:data/BraTS2018")
    root = Path(os.path.abspath(Path(path.strip()).expanduser()))
    if not root.exists():
        near = next(parent for parent in root.parents if parent.exists())
        raise CaseError(f"{kind}:{path}: the folder {root} does not exist; {near} holds {listing(near)}")
    if not root.is_dir():
        raise CaseError(f"{kind}:{path}: {root} is a file; give the folder of the data set")
    if not any(root.iterdir()):
        raise CaseError(f"{kind}:{path}: the folder {root} is empty; unpack the data set into it")
    return root


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Folders under a root, each with its folders and files, sorted; what macOS and others leave behind is left out."""
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _litter(name))
        yield Path(folder), folders, sorted(name for name in files if not _litter(name))


def stem(name: str) -> str:
    """A file name without .nii or .nii.gz."""
    return name.removesuffix(".gz").removesuffix(".nii")


def listing(folder: Path) -> str:
    """What a folder holds, in a few words."""
    names = sorted(child.name + "/" * child.is_dir() for child in folder.iterdir() if not _litter(child.name))
    return few(names, 8) or "nothing"


def _litter(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
