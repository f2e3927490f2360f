"""A case of one's own from NIfTI files, checked as a cohort's case is, and its segmentation saved beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from gbmlib.cohorts.case import FileCase, ImageFile
from gbmlib.cohorts.check.content import examine
from gbmlib.cohorts.cohort import Cohort
from gbmlib.cohorts.layouts import stem
from gbmlib.cohorts.problems import CaseError, Problem, refuse

#: Label values of a glioma in a file, each to the internal one.
CONVENTIONS = {
    "1, 2, 3, as BraTS from 2023 on": {0: 0, 1: 1, 2: 2, 3: 3},
    "1, 2, 4, as BraTS 2017 to 2021": {0: 0, 1: 1, 2: 2, 4: 3},
}


def own_case(
    files: Mapping[str, str | Path], modalities: Sequence[str], labels: Mapping[int, str], ct: Collection[str] = ()
) -> Cohort:
    """A cohort of one case, from a NIfTI file for each modality.

    Args:
        files: modality to path.
        modalities: the images that the networks take.
        labels: internal label values and their meaning.
        ct: those of the modalities that are computed tomography.

    Raises:
        CaseError: everything that is wrong, together: files that are missing or cannot be read, different grids, voxels
            that are not finite, an image given twice.
    """
    paths = {name: str(files.get(name) or "").strip() for name in modalities}
    problems = [
        Problem("your case", None, "error", f"{name}: no file is given", "give the path of its .nii or .nii.gz file")
        for name, path in paths.items()
        if not path
    ]
    images = {name: ImageFile(Path(path).expanduser()) for name, path in paths.items() if path}
    case_id = stem(next(iter(images.values())).path.name) if images else ""
    case = FileCase(case_id, case_id, images, None, {value: value for value in (0, *labels)}, labels=labels)
    report = examine(case, ["CT" if name in ct else "MR" for name in images])
    problems += report.problems
    alike: dict[str, list[str]] = {}
    for name, digest in report.digests.items():
        alike.setdefault(digest, []).append(name)
    for names in alike.values():
        if len(names) > 1:
            what = f"{' and '.join(names)} are the same image"
            problems.append(Problem(case_id, None, "error", what, "give each modality its own file"))
    refuse("this case cannot be used", problems)
    return Cohort(
        name="your own files",
        spec="",
        cases=(case,),
        modalities=tuple(modalities),
        labels=dict(labels),
        convention=f"written as {sorted(case.values)}",
        digest=lambda: "",
        modality_kinds=tuple("CT" if name in ct else "MR" for name in modalities),
    )


def save(
    label_map: np.ndarray,
    case: FileCase,
    path: str | Path,
    replace: bool = False,
    convention: Mapping[int, int] | None = None,
) -> Path:
    """Write a segmentation (z, y, x; internal values) as NIfTI, whole or not at all, in the space of the first image.

    Args:
        replace: whether a file that is there may be written over.
        convention: file values to internal ones, such as one of :data:`CONVENTIONS`; None for the internal values.

    Raises:
        CaseError: no path, no NIfTI file's name, a file that is there (unless ``replace``), or one of the case's own
            images, which is never written over.
    """
    if not str(path).strip():
        raise CaseError("no file is named to save to; give a path that ends in .nii.gz")
    path = Path(str(path).strip()).expanduser()
    if path.exists() and not replace:
        raise CaseError(f"{path} is there already; choose another name, or allow replacing it")
    (case if convention is None else dataclasses.replace(case, values=convention)).write(path, label_map)
    return path
