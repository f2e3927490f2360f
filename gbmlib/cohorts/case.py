"""One patient's scans: images, label, affine and spacing, read from NIfTI and written back to it.

Inside the library every volume is in canonical orientation (RAS+) and in the order (z, y, x). NIfTI's own order
(x, y, z), its header and its orientation stay in this file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np


class CaseError(ValueError):
    """A case cannot be used as it is; the message names the case, the file and a remedy."""


@dataclass(frozen=True)
class ImageFile:
    """Where one channel lies: a NIfTI file and, in a 4-D file, the index of the channel."""

    path: Path
    channel: int | None = None


class Case:
    """What every case offers, whether it comes from files or is grown (:mod:`gbmlib.cohorts.phantom`).

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


@dataclass(frozen=True)
class FileCase(Case):
    """A case whose volumes are NIfTI files; nothing is read before it is asked for.

    ``values`` maps each value a label file may hold to the internal one; any other value raises :class:`CaseError`.
    """

    id: str
    patient: str
    files: Mapping[str, ImageFile]
    label_file: Path | None
    values: Mapping[int, int] = field(default_factory=dict)

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
    def _canonical(self) -> nib.Nifti1Image:
        return nib.as_closest_canonical(_open(self.reference, self.id))

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(int(size) for size in self._canonical.shape[:3][::-1])

    @property
    def spacing(self) -> tuple[float, float, float]:
        return tuple(float(step) for step in nib.affines.voxel_sizes(self._canonical.affine)[::-1])

    @property
    def affine(self) -> np.ndarray:
        return np.asarray(self._canonical.affine)

    def images(self) -> np.ndarray:
        volumes = [read(file.path, self.id, file.channel) for file in self.files.values()]
        shapes = {volume.shape for volume in volumes}
        if len(shapes) > 1:
            named = ", ".join(f"{name} {volume.shape}" for name, volume in zip(self.files, volumes, strict=True))
            raise CaseError(f"case {self.id}: its images differ in shape (z, y, x): {named}; resample them to one grid")
        return np.stack(volumes).astype(np.float32, copy=False)

    def label(self) -> np.ndarray:
        if self.label_file is None:
            raise CaseError(f"case {self.id} has no label file; use case.has_label to ask first")
        stored = read(self.label_file, self.id)
        return translate(stored, self.values, f"case {self.id}: {self.label_file}")

    def write(self, path: str | Path, label_map: np.ndarray) -> None:
        if label_map.shape != self.shape:
            raise CaseError(f"case {self.id}: the label map is {label_map.shape}, the case {self.shape} (z, y, x)")
        back = {internal: stored for stored, internal in reversed(self.values.items())}
        stored = translate(label_map, back, f"case {self.id}: the label map to write to {path}")
        original = _open(self.reference, self.id)
        write(path, _to_orientation_of(original, stored), original)


def read(path: Path, case_id: str = "", channel: int | None = None) -> np.ndarray:
    """A volume (z, y, x) in canonical orientation, with the file's scaling applied.

    Raises:
        CaseError: the file is missing, is no NIfTI file, is cut short, or lacks the channel.
    """
    image = nib.as_closest_canonical(_open(path, case_id))
    try:
        if len(image.shape) == 4 and channel is not None:
            data = np.asarray(image.dataobj[..., channel])
        else:
            data = np.asarray(image.dataobj)
    except Exception as error:
        raise CaseError(f"case {case_id}: {path} cannot be read to its end ({error}); fetch it again") from error
    data = data.reshape([size for axis, size in enumerate(data.shape) if axis < 3 or size != 1])
    if data.ndim != 3:
        raise CaseError(f"case {case_id}: {path} has shape {data.shape} (x, y, z), not three axes")
    return np.ascontiguousarray(data.transpose(2, 1, 0))


def write(path: str | Path, data: np.ndarray, like: nib.Nifti1Image) -> None:
    """Write a volume (x, y, z, in the orientation of ``like``) with that image's affine and header, whole or not at all."""
    header = like.header.copy()
    header.set_data_dtype(data.dtype)
    header["scl_slope"], header["scl_inter"], header["cal_max"], header["cal_min"] = 1, 0, 0, 0
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = ".nii.gz" if path.name.endswith(".gz") else ".nii"
    unfinished = path.with_name(f".{path.name}.{os.getpid()}{suffix}")
    nib.save(nib.Nifti1Image(data, like.affine, header), unfinished)
    unfinished.replace(path)


def translate(stored: np.ndarray, values: Mapping[int, int], where: str) -> np.ndarray:
    """Map label values one by one; uint8. A value that the map does not know raises :class:`CaseError`."""
    found = np.unique(stored)
    unknown = [float(value) for value in found if value not in values]
    if unknown:
        raise CaseError(f"{where} holds the label values {unknown}; known here are {sorted(values)}")
    out = np.zeros(stored.shape, np.uint8)
    for value in found:
        if values[int(value)]:
            out[stored == value] = values[int(value)]
    return out


def _open(path: Path, case_id: str) -> nib.Nifti1Image:
    try:
        return nib.load(path)
    except FileNotFoundError:
        raise CaseError(f"case {case_id}: {path} is missing") from None
    except Exception as error:
        raise CaseError(f"case {case_id}: {path} is not a readable NIfTI file ({error}); fetch it again") from error


def _to_orientation_of(original: nib.Nifti1Image, data: np.ndarray) -> np.ndarray:
    """Turn canonical (z, y, x) data back to the axes of ``original`` (x, y, z in the file's own orientation)."""
    canonical = nib.orientations.axcodes2ornt("RAS")
    own = nib.orientations.io_orientation(original.affine)
    turn = nib.orientations.ornt_transform(canonical, own)
    return np.ascontiguousarray(nib.orientations.apply_orientation(data.transpose(2, 1, 0), turn))
