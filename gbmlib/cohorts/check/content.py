"""What is wrong inside one case: its files, its grids, its voxels, and its label against its images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from gbmlib.cohorts.case import ONE_GRID, SET_FINITE, Case, FileCase, ImageFile, expect_channels, not_finite
from gbmlib.cohorts.nifti import INTERPOLATED, Grid, canonical_grid, load, not_whole, volume
from gbmlib.cohorts.problems import CaseError, Problem

_FETCH = "fetch it again"


@dataclass
class Found:
    """What was found in a case.

    Attributes:
        case: its id.
        problems: its faults.
        contents: a digest of each image and of the label, alike for equal voxels whatever the file's type or packing.
        values: the values of the label; None where there is none that can be read.
    """

    case: str
    problems: list[Problem] = field(default_factory=list)
    contents: dict[str, str] = field(default_factory=dict)
    values: frozenset[int] | None = None

    def add(self, file: Path | None, what: str, remedy: str, severity: str = "error") -> None:
        self.problems.append(Problem(self.case, file, severity, what, remedy))


@dataclass(frozen=True)
class Volume:
    """A channel or label as it is stored: (z, y, x), canonical orientation."""

    name: str
    file: Path | None
    data: np.ndarray
    grid: Grid


def examine(case: Case, skull_stripped: bool = True) -> Found:
    """Read a case whole and look for faults.

    Args:
        case: a case of a cohort, or one that a scan found; it may be incomplete.
        skull_stripped: whether an image voxel of exactly 0 is background (in CT it is water).
    """
    found = Found(case.id)
    images, label = _from_files(case, found) if isinstance(case, FileCase) else _from_memory(case, found)
    for image in images:
        _voxels(image, found)
    _grids([*images, label] if label else images, found)
    if label:
        _label(label, images, skull_stripped, found)
    return found


def _from_files(case: FileCase, found: Found) -> tuple[list[Volume], Volume | None]:
    images = []
    for path in dict.fromkeys(file.path for file in case.files.values()):
        images += _opened(path, {name: file for name, file in case.files.items() if file.path == path}, found)
    label = _opened(case.label_file, {"label": ImageFile(case.label_file)}, found) if case.label_file else []
    return images, label[0] if label else None


def _opened(path: Path, files: dict[str, ImageFile], found: Found) -> list[Volume]:
    try:
        image = load(path, found.case)
        grid = canonical_grid(image.shape, image.affine, path, found.case)
        for file in files.values():
            expect_channels(image.shape, file, found.case)
        return [Volume(name, path, volume(image, path, found.case, file.channel), grid) for name, file in files.items()]
    except CaseError as error:
        found.problems.append(error.problem)
        return []


def _from_memory(case: Case, found: Found) -> tuple[list[Volume], Volume | None]:
    grid = Grid(case.shape, case.affine)
    images = [Volume(name, None, data, grid) for name, data in zip(case.modalities, case.images(), strict=True)]
    return images, Volume("label", None, case.label(), grid) if case.has_label else None


def _voxels(image: Volume, found: Found) -> None:
    broken = 0 if image.data.dtype.kind in "biu" else image.data.size - int(np.isfinite(image.data).sum())
    if broken:
        found.add(image.file, f"{image.name} {not_finite(broken)}", SET_FINITE)
        return
    low, high = image.data.min(), image.data.max()
    if low == high:
        what = "is empty: every voxel is 0" if low == 0 else f"is constant: every voxel is {low:g}"
        found.add(image.file, f"{image.name} {what}", _FETCH)
        return
    found.contents[image.name] = _digest(np.ascontiguousarray(image.data, np.float32))


def _grids(volumes: Sequence[Volume], found: Found) -> None:
    """Name the volumes that lie on another grid than most."""
    usual = max(volumes, key=lambda one: sum(not one.grid.difference(other.grid) for other in volumes), default=None)
    for file in dict.fromkeys(one.file for one in volumes):
        one = next(one for one in volumes if one.file == file)
        difference = usual.grid.difference(one.grid)
        if difference:
            found.add(file, f"{one.name} and {usual.name} differ in {difference}", ONE_GRID)


def _label(label: Volume, images: Iterable[Volume], skull_stripped: bool, found: Found) -> None:
    what = not_whole(label.data)
    if what:
        found.add(label.file, what, INTERPOLATED)
        return
    whole = np.rint(label.data).astype(np.int32)
    found.values = frozenset(int(value) for value in np.unique(whole))
    foreground = whole != 0
    count = int(foreground.sum())
    if not count:
        found.add(label.file, "the label holds background only", "check that this is meant", "warning")
        return
    found.contents["label"] = _digest(whole)
    beside = {image.name: image.data[foreground] == 0 for image in images if image.data.shape == label.data.shape}
    on_zero = {name: int(zero.sum()) for name, zero in beside.items() if zero.any()}
    if not (skull_stripped and on_zero):
        return
    nowhere = int(np.logical_and.reduce(list(beside.values())).sum())
    if nowhere > count / 2:
        what = f"{nowhere} of {count} label voxels lie where all images are 0"
        found.add(label.file, what, "check that label and images belong together", "warning")
        return
    named = ", ".join(f"{number} in {name}" for name, number in on_zero.items())
    what = f"of {count} label voxels some lie on zero background: {named}"
    found.add(label.file, what, "nothing, if an image's field of view is cut; else compare label and image", "note")


def _digest(data: np.ndarray) -> str:
    content = sha256(repr(data.shape).encode())
    content.update(np.ascontiguousarray(data))
    return content.hexdigest()
