"""From a folder of NIfTI files to a cohort, in two steps: what lies there (:class:`Layout`), then whether it will do.

A reader (``brats``, ``decathlon``, ``nnunet``, ``table``) scans a folder without opening an image and notes
every fault; :func:`cohort` refuses a layout with faults, all of them in one message, and ``cohorts.check`` goes on
where opening stops.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from gbmlib.cohorts.case import FileCase, digest
from gbmlib.cohorts.cohort import Cohort
from gbmlib.cohorts.layouts import naming
from gbmlib.cohorts.layouts.naming import Convention
from gbmlib.cohorts.nifti import label_values, read, strange
from gbmlib.cohorts.problems import CaseError, Problem, refuse
from gbmlib.files import counted, few


@dataclass(frozen=True)
class Layout:
    """The cases and files that lie in a folder.

    Attributes:
        kind: that of its spec, such as "brats".
        place: what opens it, absolute: the folder, or the file of a table.
        family: the cohort's name without its number of cases.
        cases: sorted by id; a case may lack files, and its ``values`` are not settled yet.
        modalities: what a case must have, in order.
        problems: the faults that show without opening an image.
        recognise: tells the convention from the values of each label, given as pairs of case id and values; takes
            only as many as it needs, and raises :class:`CaseError` where they fit no convention.
        skull_stripped: whether all outside the brain is to be 0.
    """

    kind: str
    place: Path
    family: str
    cases: tuple[FileCase, ...]
    modalities: tuple[str, ...]
    problems: tuple[Problem, ...]
    recognise: Callable[[Iterable[tuple[str, frozenset[int]]]], Convention]
    skull_stripped: bool = False

    @property
    def spec(self) -> str:
        return f"{self.kind}:{self.place}"

    @property
    def root(self) -> Path:
        return self.place.parent if self.place.is_file() else self.place

    @property
    def modality_kinds(self) -> tuple[str, ...]:
        """For each modality "CT", or "MR" for all else."""
        return tuple(naming.kind(name) for name in self.modalities)

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
    remedy = "fetch the label again, or keep other conventions in a cohort apart"
    odd = {case_id: strange(values - known) for case_id, values in seen.items() if values - known}
    return [
        Problem(case_id, files[case_id], "error", f"{what}; the cohort's convention knows {sorted(known)}", remedy)
        for case_id, what in odd.items()
    ]


def listed_cases(root: Path, source: Path, cases: Iterable[FileCase]) -> tuple[tuple[FileCase, ...], list[Problem]]:
    """The cases that a list names, sorted, with the files that exist, and what is missing or named twice.

    Args:
        root: what the list's paths are relative to.
        source: the file that holds the list.
        cases: with the paths that :func:`placed` gives.
    """
    out: dict[str, FileCase] = {}
    problems = []
    for case in cases:
        one = len({file.path for file in case.files.values()}) == 1
        names = {file.path: "image" if one else name for name, file in case.files.items()}
        names |= {case.label_file: "label"} if case.label_file else {}
        paths = {path: present(path) for path in names}
        for path, name in names.items():
            if paths[path]:
                continue
            what, remedy = f"the {name} is missing", f"fetch it again, or take the case out of {source.name}"
            if not path.is_relative_to(root):
                what, remedy = (
                    f"{what}: an absolute path, of another machine perhaps",
                    f"name it relative to {source.name}",
                )
            problems.append(Problem(case.id, path, "error", what, remedy))
        if case.id in out:
            what = f"{source.name} names two cases of this id"
            problems.append(Problem(case.id, source, "error", what, "keep one entry, or rename one of the files"))
            continue
        files = {name: replace(file, path=paths[file.path]) for name, file in case.files.items() if paths[file.path]}
        out[case.id] = replace(case, files=files, label_file=paths.get(case.label_file))
    return tuple(out[case_id] for case_id in sorted(out)), problems


def placed(root: Path, path: str) -> Path:
    """Where a path of a list leads, written with slashes or with backslashes."""
    path = path.strip().replace("\\", "/")
    return Path(path) if re.match("[A-Za-z]:/", path) else root / path


def present(file: Path) -> Path | None:
    """The file, or the same one packed or unpacked."""
    other = file.with_name(file.name.removesuffix(".gz") if file.suffix == ".gz" else file.name + ".gz")
    return next((path for path in (file, other) if path.is_file()), None)


def doubtful_modalities(source: Path, modalities: Iterable[str]) -> list[Problem]:
    """Modalities that are not read as CT but may be."""
    remedy = "if its values are Hounsfield units, call it CT; else nothing"
    return [
        Problem("", source, "warning", f"the modality {name!r} is not read as CT", remedy)
        for name in modalities
        if naming.perhaps_ct(name)
    ]


def labels_of_tests(count: int, source: Path) -> list[Problem]:
    """A note on test cases that have labels: whatever is known of them, they stay out of the folds."""
    what = f"{counted(count, 'test case')} with a label, which is not read: test cases are in no fold"
    remedy = "to measure networks on them, list them as training in a data set of their own"
    return [Problem("", source, "note", what, remedy)] if count else []


def unread(root: Path, files: Iterable[Path], known: str) -> list[Problem]:
    """One warning that names the images that are not read, with what their names seem to mean, and the known names."""
    meant = {str(file.relative_to(root)): naming.likely(stem(file.name)) for file in files}
    if not meant:
        return []
    named = [f"{name} (the {meaning}?)" if meaning else name for name, meaning in meant.items()]
    named.sort(key=lambda name: not name.endswith("?)"))
    remedy = f"call them {known} where they are one of these; else nothing"
    return [Problem("", None, "warning", f"{counted(len(meant), 'image file')} not read: {few(named)}", remedy)]


def is_image(name: str) -> bool:
    return name.endswith((".nii", ".nii.gz")) and not _litter(name)


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
