"""One patient's scans: images, label, affine and spacing, read from NIfTI and written back to it.

Inside the library every volume is in canonical orientation (RAS+) and in the order (z, y, x). NIfTI's own order
(x, y, z), its header and its orientation stay in ``cohorts.nifti``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from gbmlib.cohorts.nifti import Grid, canonical_grid, grid_of, load, to_file_axes, translate, volume, write
from gbmlib.cohorts.problems import CaseError, fault

ONE_GRID = "resample them to one grid, or fetch the case again"
SET_FINITE = "find out where they come from, and set them to 0 if they are background"

_EDGE = 64 * 1024


@dataclass(frozen=True)
class ImageFile:
    """Where one channel lies: a NIfTI file and, in a 4-D file, the index of the channel and how many there must be."""

    path: Path
    channel: int | None = None
    channels: int = 1


class Case:
    """The interface of every case, whether it comes from files or is grown (``cohorts.phantom``).

    Attributes:
        id: unique within the cohort.
        patient: cases of one patient share it; folds never split a patient.
        modalities: names of the channels of :meth:`images`, in order.
        shape: (z, y, x) in voxels, canonical orientation.
        spacing: (z, y, x) in millimetres.
        affine: 4 x 4, from canonical voxel indices (x, y, z) to millimetres (RAS+).
        has_label: whether :meth:`label` can be called.
        labels: label value to its meaning, as its cohort has them.
    """

    id: str
    patient: str
    modalities: tuple[str, ...]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: np.ndarray
    has_label: bool
    labels: Mapping[int, str]

    def images(self) -> np.ndarray:
        """All channels, float32 (channel, z, y, x)."""
        raise NotImplementedError

    def label(self) -> np.ndarray:
        """The label map, uint8 (z, y, x), in the cohort's internal convention."""
        raise NotImplementedError

    def with_modalities(self, modalities: Sequence[str]) -> Case:
        """The same case with these channels, in this order."""
        raise NotImplementedError

    def write(self, path: str | Path, label_map: np.ndarray) -> None:
        """Write a label map (z, y, x; internal convention) as NIfTI in the case's native space and file convention."""
        raise NotImplementedError

    def read(self, path: str | Path) -> np.ndarray:
        """Read a label map of this case, such as :meth:`write` wrote: uint8 (z, y, x), internal convention."""
        raise NotImplementedError

    def content(self) -> str:
        """What tells this case's voxels from any other's, wherever it lies."""
        total = sha256(f"{self.id} {tuple(self.spacing)}".encode())
        for array in (self.images(), self.label() if self.has_label else np.empty(0)):
            total.update(f"{array.shape}{array.dtype.str}".encode() + np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


@dataclass(frozen=True)
class FileCase(Case):
    """A case whose volumes are NIfTI files; nothing is read before it is asked for.

    ``values`` maps each value a label file may hold to the internal one; any other value raises :class:`CaseError`.
    Where several file values share an internal one, the first of them is what :meth:`write` gives back. ``released``
    holds the digests of the files as they were released, by modality and "label", where these files are copies in
    another form (``cohorts.packed``).
    """

    id: str
    patient: str
    files: Mapping[str, ImageFile]
    label_file: Path | None
    values: Mapping[int, int] = field(default_factory=dict)
    released: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[int, str] = field(default_factory=dict)

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
        return replace(self, files={name: self.files[name] for name in modalities})

    def images(self) -> np.ndarray:
        """As :meth:`Case.images`.

        Raises:
            CaseError: a file is missing, damaged or lies on another grid than the first, or holds voxels that are not
                finite. Where the first file can be read, all others at fault are named together.
        """
        out, problems = None, []
        for path in dict.fromkeys(file.path for file in self.files.values()):
            try:
                image = load(path, self.id)
                self._agrees(canonical_grid(image.header, path, self.id), path)
                if out is None:  # once a file holds what its header announces
                    out = np.empty((len(self.files), *self.shape), np.float32)
                for index, (name, file) in enumerate(self.files.items()):
                    if file.path == path:
                        expect_channels(image.shape, file, self.id)
                        channel = volume(image, path, self.id, file.channel)
                        if what := not_finite(channel):
                            raise fault(self.id, path, f"({name}) {what}", SET_FINITE)
                        out[index] = channel
            except CaseError as error:
                problems.append(str(error))
        if problems:
            raise CaseError("\n".join(problems))
        return out

    def label(self) -> np.ndarray:
        """As :meth:`Case.label`.

        Raises:
            CaseError: there is no label; its file is missing, damaged, on another grid than the images, or holds
                values that the cohort's convention does not know.
        """
        if self.label_file is None:
            raise CaseError(f"case {self.id} has no label file; use case.has_label to ask first")
        return self.read(self.label_file)

    def read(self, path: str | Path) -> np.ndarray:
        """As :meth:`Case.read`; raises :class:`CaseError` as :meth:`label` does."""
        path = Path(path)
        image = load(path, self.id)
        self._agrees(canonical_grid(image.header, path, self.id), path)
        return np.ascontiguousarray(translate(volume(image, path, self.id), self.values, f"case {self.id}: {path}"))

    def write(self, path: str | Path, label_map: np.ndarray) -> None:
        """As :meth:`Case.write`; takes header, orientation and affine of the first image, and replaces no image."""
        if Path(path).resolve() in {file.path.resolve() for file in self.files.values()}:
            raise CaseError(f"{path} is an image of this case; save the segmentation under another name")
        if label_map.shape != self.shape:
            raise CaseError(f"case {self.id}: the label map is {label_map.shape}, the case {self.shape} (z, y, x)")
        back = {internal: stored for stored, internal in reversed(self.values.items())}
        if max(back.values(), default=0) > 255:
            raise CaseError(f"case {self.id}: its label values {sorted(back.values())} do not fit into 8 bits")
        stored = translate(label_map, back, f"case {self.id}: the label map to write to {path}")
        original = load(self.reference, self.id)
        write(path, to_file_axes(stored, original), original)

    def digests(self) -> dict[str, str]:
        """A digest of the content of each file, by modality, and by "label" ("none" where there is none)."""
        if self.released:
            return dict(self.released)
        paths = {**{name: file.path for name, file in self.files.items()}, "label": self.label_file}
        contents = {path: _content(path) for path in set(paths.values()) if path}
        return {name: contents.get(path, "none") for name, path in paths.items()}

    def content(self) -> str:
        channels = [(name, file.channel) for name, file in self.files.items()]
        return f"{digest([self])} {channels} {sorted(self.values.items())}"

    def _agrees(self, grid: Grid, path: Path) -> None:
        difference = self._grid.difference(grid)
        if difference:
            raise fault(self.id, path, f"and {self.reference.name} differ in {difference}", ONE_GRID)


def digest(cases: Iterable[FileCase]) -> str:
    """A digest of the content of all files, wherever they lie.

    Cheap: a gzip stream ends in a checksum of its content, so its size and its first and last 64 KiB pin it; a plain
    file is hashed whole.
    """
    total = sha256()
    for case in cases:
        contents = case.digests()
        for name in (*case.files, "label"):
            total.update(f"{case.id}\0{name}\0{contents[name]}\n".encode())
    return total.hexdigest()[:16]


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_EDGE)
            file.seek(max(_EDGE, size - _EDGE) if head[:2] == b"\x1f\x8b" else _EDGE)
            return sha256(b"%d\0" % size + head + file.read()).hexdigest()
    except OSError as error:
        raise CaseError(f"{path} cannot be read ({error.strerror}); fetch it again") from error


def expect_channels(shape: tuple[int, ...], file: ImageFile, case_id: str) -> None:
    """Raise :class:`CaseError` where an image of this shape (x, y, z, …) has not the channels its data set names."""
    channels = int(np.prod(shape[3:], dtype=int))
    if channels != file.channels:
        what = f"has {channels} channel(s), shape {shape}; the data set names {file.channels}"
        raise fault(case_id, file.path, what, "fetch the file again, or correct the names")


def not_finite(image: np.ndarray) -> str:
    """How many voxels are not finite as 32-bit numbers, in words; empty where all are."""
    if image.dtype.kind in "biu":
        return ""
    with np.errstate(over="ignore"):
        broken = ~np.isfinite(image.astype(np.float32, copy=False))
    if not broken.any():
        return ""
    beyond = np.isfinite(image[broken]).all()
    return f"holds voxels that are {'beyond 32-bit numbers' if beyond else 'not finite'} ({int(broken.sum())})"
