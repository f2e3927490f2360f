"""One patient's scans: images, label, affine and spacing, read from NIfTI and written back to it.

Inside the library every volume is in canonical orientation (RAS+) and in the order (z, y, x). NIfTI's own order
(x, y, z), its header and its orientation stay in ``cohorts.nifti``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from gbmlib.cohorts.nifti import Grid, canonical_grid, grid_of, load, read, to_file_axes, translate, volume, write
from gbmlib.cohorts.problems import CaseError, fault

__all__ = ["Case", "CaseError", "FileCase", "ImageFile", "read", "translate", "write"]

ONE_GRID = "resample them to one grid, or fetch the case again"
SET_FINITE = "find out where they come from, and set them to 0 if they are background"


@dataclass(frozen=True)
class ImageFile:
    """Where one channel lies: a NIfTI file and, in a 4-D file, the index of the channel and how many there must be."""

    path: Path
    channel: int | None = None
    channels: int = 1


class Case:
    """What every case offers, whether it comes from files or is grown (``cohorts.phantom``).

    Attributes:
        id: unique within the cohort.
        patient: cases of one patient share it; folds never split a patient.
        modalities: names of the channels of :meth:`images`, in order.
        shape: (z, y, x) in voxels, canonical orientation.
        spacing: (z, y, x) in millimetres.
        affine: 4 x 4, from canonical voxel indices (x, y, z) to millimetres (RAS+).
        has_label: whether :meth:`label` can be called.
    """

    id: str
    patient: str
    modalities: tuple[str, ...]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: np.ndarray
    has_label: bool

    def images(self) -> np.ndarray:
        """All channels, float32 (channel, z, y, x)."""
        raise NotImplementedError

    def label(self) -> np.ndarray:
        """The label map, uint8 (z, y, x), in the cohort's internal convention."""
        raise NotImplementedError

    def write(self, path: str | Path, label_map: np.ndarray) -> None:
        """Write a label map (z, y, x; internal convention) as NIfTI in the case's native space and file convention."""
        raise NotImplementedError

    def read(self, path: str | Path) -> np.ndarray:
        """Read a label map of this case, such as :meth:`write` wrote: uint8 (z, y, x), internal convention."""
        raise NotImplementedError


@dataclass(frozen=True)
class FileCase(Case):
    """A case whose volumes are NIfTI files; nothing is read before it is asked for.

    ``values`` maps each value a label file may hold to the internal one; any other value raises :class:`CaseError`.
    Where several file values share an internal one, the first of them is what :meth:`write` gives back. ``digests`` are
    those of the files as they were released, by modality and "label", where these files are copies in another form
    (``cohorts.packed``).
    """

    id: str
    patient: str
    files: Mapping[str, ImageFile]
    label_file: Path | None
    values: Mapping[int, int] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.files)

    @property
    def has_label(self) -> bool:
        return self.label_file is not None

    @property
    def reference(self) -> Path:
        """The file whose header, orientation and affine a written label map takes over."""
        return next(iter(self.files.values())).path

    @cached_property
    def _grid(self) -> Grid:
        return grid_of(self.reference, self.id)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._grid.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        return self._grid.spacing

    @property
    def affine(self) -> np.ndarray:
        return self._grid.affine.copy()

    def with_modalities(self, modalities: Sequence[str]) -> FileCase:
        """The same case with these channels, in this order."""
        return replace(self, files={name: self.files[name] for name in modalities})

    def images(self) -> np.ndarray:
        """All channels, float32 (channel, z, y, x).

        Raises:
            CaseError: a file is missing, damaged or lies on another grid than the first, or holds voxels that are not
                finite. Where the first file can be read, all others at fault are named together.
        """
        out = np.empty((len(self.files), *self.shape), np.float32)
        problems = []
        for path in dict.fromkeys(file.path for file in self.files.values()):
            here = [(index, file) for index, file in enumerate(self.files.values()) if file.path == path]
            try:
                image = load(path, self.id)
                self._agrees(canonical_grid(image.shape, image.affine, path, self.id), path)
                for index, file in here:
                    expect_channels(image.shape, file, self.id)
                    out[index] = volume(image, path, self.id, file.channel)
                    broken = 0 if image.get_data_dtype().kind in "biu" else int((~np.isfinite(out[index])).sum())
                    if broken:
                        raise fault(self.id, path, f"({self.modalities[index]}) {not_finite(broken)}", SET_FINITE)
            except CaseError as error:
                problems.append(str(error))
        if problems:
            raise CaseError("\n".join(problems))
        return out

    def label(self) -> np.ndarray:
        """The label map, uint8 (z, y, x), in the cohort's internal convention.

        Raises:
            CaseError: there is no label; its file is missing, damaged, on another grid than the images, or holds
                values that the cohort's convention does not know.
        """
        if self.label_file is None:
            raise CaseError(f"case {self.id} has no label file; use case.has_label to ask first")
        return self.read(self.label_file)

    def read(self, path: str | Path) -> np.ndarray:
        """Read a label map of this case, such as :meth:`write` wrote: uint8 (z, y, x), internal convention.

        Raises:
            CaseError: as :meth:`label`.
        """
        path = Path(path)
        image = load(path, self.id)
        self._agrees(canonical_grid(image.shape, image.affine, path, self.id), path)
        return np.ascontiguousarray(translate(volume(image, path, self.id), self.values, f"case {self.id}: {path}"))

    def write(self, path: str | Path, label_map: np.ndarray) -> None:
        """Write a label map (z, y, x; internal convention) as NIfTI in the case's native space and file convention.

        The file takes header, orientation and affine of the case's first image. Nothing is left behind on failure.
        """
        if label_map.shape != self.shape:
            raise CaseError(f"case {self.id}: the label map is {label_map.shape}, the case {self.shape} (z, y, x)")
        back = {internal: stored for stored, internal in reversed(self.values.items())}
        if max(back.values(), default=0) > 255:
            raise CaseError(f"case {self.id}: its label values {sorted(back.values())} do not fit into 8 bits")
        stored = translate(label_map, back, f"case {self.id}: the label map to write to {path}")
        original = load(self.reference, self.id)
        write(path, to_file_axes(stored, original), original)

    def _agrees(self, grid: Grid, path: Path) -> None:
        difference = self._grid.difference(grid)
        if difference:
            raise fault(self.id, path, f"and {self.reference.name} differ in {difference}", ONE_GRID)


def expect_channels(shape: tuple[int, ...], file: ImageFile, case_id: str) -> None:
    """Raise :class:`CaseError` where an image of this shape (x, y, z, …) has not the channels its data set names."""
    found = int(np.prod(shape[3:], dtype=int))
    if found != file.channels:
        what = f"has {found} channel(s), shape {shape}; the data set names {file.channels}"
        raise fault(case_id, file.path, what, "fetch the file again, or correct the names")


def not_finite(count: int) -> str:
    return f"holds voxels that are not finite ({count})"
