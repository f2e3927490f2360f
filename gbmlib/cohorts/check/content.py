"""What is wrong inside one case: its files, its grids, its voxels, and its label against its images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from gbmlib.cohorts.case import ONE_GRID, SET_FINITE, Case, FileCase, ImageFile, expect_channels, not_finite
from gbmlib.cohorts.check.header import doubts
from gbmlib.cohorts.nifti import INTERPOLATED, Grid, canonical_grid, load, not_whole, volume
from gbmlib.cohorts.problems import CaseError, Problem

_FETCH = "fetch it again"

#: No MR image that is normalised by its mean goes so far down; air in CT has -1000.
HOUNSFIELD = -900


@dataclass
class Contents:
    """The contents of a case.

    Attributes:
        case: its id.
        problems: its faults.
        digests: of each image and of the label, alike for equal voxels whatever the file's type or packing.
        values: the values of the label; None where there is none that can be read.
    """

    case: str
    problems: list[Problem] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
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


def examine(case: Case, kinds: Sequence[str] = (), skull_stripped: bool = False) -> Contents:
    """Read a case whole and look for faults.

    Args:
        case: of a cohort or of a scanned folder; it may be incomplete.
        kinds: "MR" or "CT" for each modality; where none is CT, an image voxel of exactly 0 is background (in CT it is
            water).
        skull_stripped: whether all outside the brain is to be 0.
    """
    contents = Contents(case.id)
    images, label = _from_files(case, contents) if isinstance(case, FileCase) else _from_memory(case, contents)
    for image in images:
        _voxels(image, contents, "CT" not in kinds, skull_stripped)
    _grids([*images, label] if label else images, contents)
    if label:
        _label(label, images, "CT" not in kinds, contents)
    return contents


def _from_files(case: FileCase, contents: Contents) -> tuple[list[Volume], Volume | None]:
    images = []
    for path in dict.fromkeys(file.path for file in case.files.values()):
        images += _opened(path, {name: file for name, file in case.files.items() if file.path == path}, contents)
    label = _opened(case.label_file, {"label": ImageFile(case.label_file)}, contents) if case.label_file else []
    return images, label[0] if label else None


def _opened(path: Path, files: dict[str, ImageFile], contents: Contents) -> list[Volume]:
    try:
        image = load(path, contents.case)
        grid = canonical_grid(image.header, path, contents.case)
        for what, remedy in doubts(image.header):
            contents.add(path, what, remedy, "warning")
        for file in files.values():
            expect_channels(image.shape, file, contents.case)
        return [
            Volume(name, path, volume(image, path, contents.case, file.channel), grid) for name, file in files.items()
        ]
    except CaseError as error:
        contents.problems.append(error.problem)
        return []


def _from_memory(case: Case, contents: Contents) -> tuple[list[Volume], Volume | None]:
    grid = Grid(case.shape, case.affine)
    images = [Volume(name, None, data, grid) for name, data in zip(case.modalities, case.images(), strict=True)]
    return images, Volume("label", None, case.label(), grid) if case.has_label else None


def _voxels(image: Volume, contents: Contents, zero_is_background: bool, skull_stripped: bool) -> None:
    if what := not_finite(image.data):
        contents.add(image.file, f"{image.name} {what}", SET_FINITE)
        return
    low, high = image.data.min(), image.data.max()
    if low == high:
        what = "is empty: every voxel is 0" if low == 0 else f"is constant: every voxel is {low:g}"
        contents.add(image.file, f"{image.name} {what}", _FETCH)
        return
    contents.digests[image.name] = _digest(np.ascontiguousarray(image.data, np.float32))
    if zero_is_background and low <= HOUNSFIELD:
        what = f"{image.name} goes down to {low:g}, as CT does, but is not read as CT"
        contents.add(
            image.file, what, "if its values are Hounsfield units, call the modality CT; else nothing", "warning"
        )
    elif skull_stripped and _border(image.data) > 0.5:
        what = f"{image.name} is not 0 on most of its border: nothing is cropped, and background counts as tissue"
        contents.add(image.file, what, "remove the skull, and set all outside the brain to 0", "warning")


def _border(data: np.ndarray) -> float:
    """The share of a volume's border that is not 0; 0 where the border is most of the volume, as in a close crop."""
    inner = data[1:-1, 1:-1, 1:-1]
    border = data.size - inner.size
    return (np.count_nonzero(data) - np.count_nonzero(inner)) / border if border < inner.size else 0.0


def _grids(volumes: Sequence[Volume], contents: Contents) -> None:
    """Name the volumes that lie on another grid than most."""
    usual = max(volumes, key=lambda one: sum(not one.grid.difference(other.grid) for other in volumes), default=None)
    firsts = {}
    for one in volumes:
        firsts.setdefault(one.file, one)
    for file, one in firsts.items():
        if difference := usual.grid.difference(one.grid):
            contents.add(file, f"{one.name} and {usual.name} differ in {difference}", ONE_GRID)


def _label(label: Volume, images: Iterable[Volume], zero_is_background: bool, contents: Contents) -> None:
    what = not_whole(label.data)
    if what:
        contents.add(label.file, what, INTERPOLATED)
        return
    numbers = np.rint(label.data).astype(np.int32)
    contents.values = frozenset(int(value) for value in np.unique(numbers))
    foreground = numbers != 0
    count = int(foreground.sum())
    if not count:
        contents.add(label.file, "the label holds background only", "check that this is meant", "warning")
        return
    contents.digests["label"] = _digest(numbers)
    beside = {image.name: image.data[foreground] == 0 for image in images if image.data.shape == label.data.shape}
    on_zero = {name: int(zero.sum()) for name, zero in beside.items() if zero.any()}
    if not (zero_is_background and on_zero):
        return
    nowhere = int(np.logical_and.reduce(list(beside.values())).sum())
    if nowhere > count / 2:
        what = f"{nowhere} of {count} label voxels lie where all images are 0"
        contents.add(label.file, what, "check that label and images belong together", "warning")
        return
    named = ", ".join(f"{number} in {name}" for name, number in on_zero.items())
    what = f"of {count} label voxels some lie on zero background: {named}"
    contents.add(label.file, what, "nothing, if an image's field of view is cut; else compare label and image", "note")


def _digest(data: np.ndarray) -> str:
    content = sha256(repr(data.shape).encode())
    content.update(np.ascontiguousarray(data))
    return content.hexdigest()
