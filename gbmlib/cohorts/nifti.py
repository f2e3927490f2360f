"""NIfTI in and out: the only place that knows the order (x, y, z), file orientations and headers.

Outside, every volume is (z, y, x) in canonical orientation (RAS+: x grows to the right, y to the front, z upwards).
A file is read whole before anything is made of it, so a gzip stream's checksum is always verified and a download that
was cut short never passes for an image.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from gbmlib.cohorts.problems import CaseError, fault
from gbmlib.files import written

#: Two grids are one if no corner of the volume moves by this part of a voxel or more. Rounding noise stays below: an
#: origin cut to two decimals moves by 0.005 mm, and float32 quaternions turn by up to 3e-4 rad, 0.08 voxels over 240.
#: Real differences lie above: a half-voxel shift between conventions, another crop, another scan.
GRID_TOLERANCE = 0.1

#: A label may miss a whole number by this much: storing labels 0 to 4 through an 8-bit scaling leaves up to 0.008,
#: while an interpolated label map holds values all over.
LABEL_TOLERANCE = 0.02

INTERPOLATED = "fetch it again; a label map that was resampled has to be made with nearest neighbours"

_GZIP, _NIFTI1, _NIFTI2 = b"\x1f\x8b", 348, 540

#: What a byte of a gzip stream can unpack to at most.
_GZIP_RATIO = 1032

#: Millimetres of NIfTI's units of length, by their code; files that name none mean millimetres.
_MILLIMETRES = {1: 1000.0, 3: 0.001}


@dataclass(frozen=True)
class Grid:
    """Where the voxels lie: shape (z, y, x), and the affine from canonical indices (x, y, z) to millimetres."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(z, y, x) in millimetres."""
        return tuple(float(step) for step in nib.affines.voxel_sizes(self.affine)[::-1])

    def difference(self, other: Grid, tolerance: float = GRID_TOLERANCE) -> str:
        """How another grid differs, in words; empty where it is the same up to a part of a voxel."""
        if self.shape != other.shape:
            return f"shape {other.shape} against {self.shape} (z, y, x)"
        corners = np.stack(np.meshgrid(*[(0, size - 1) for size in self.shape[::-1]]), -1).reshape(-1, 3)
        ours, theirs = (nib.affines.apply_affine(grid.affine, corners) for grid in (self, other))
        moved = float(np.linalg.norm(ours - theirs, axis=1).max())
        if moved < tolerance * min(self.spacing):
            return ""
        return f"affine: a corner of the volume lies {moved:.3g} mm away (tolerated: {tolerance:.2g} voxel)"


def load(path: Path, case_id: str = "") -> nib.Nifti1Image:
    """A NIfTI file, read whole and verified (gzip or not, NIfTI-1 or -2), as a nibabel image in memory.

    The image's own affine is in the file's units; :func:`canonical_grid` is in millimetres.

    Raises:
        CaseError: the file is missing, empty, cut short, damaged, or no NIfTI file.
    """
    header = _header(path, case_id)
    content = _unpack(path, case_id)
    image_type = nib.Nifti1Image if type(header) is nib.Nifti1Header else nib.Nifti2Image
    try:
        image = image_type.from_bytes(content)
    except Exception as error:
        raise _unreadable(path, case_id, f"is not a readable NIfTI file ({error})") from error
    if len(content) < _end(header):
        raise _cut(len(content), header, path, case_id)
    if image.get_data_dtype().kind not in "biuf":
        raise _unreadable(path, case_id, f"holds {image.get_data_dtype()} voxels, not plain numbers")
    return image


def grid_of(path: Path, case_id: str = "") -> Grid:
    """The canonical grid of a file; reads no more of it than the header."""
    return canonical_grid(_header(path, case_id), path, case_id)


def affine_of(header: nib.Nifti1Header) -> np.ndarray:
    """From voxel indices (x, y, z) to millimetres: by the sform, else by the qform, else by the voxel sizes alone."""
    return np.array([[millimetres(header)]] * 3 + [[1.0]]) * header.get_best_affine()


def millimetres(header: nib.Nifti1Header) -> float:
    """How many millimetres a header's unit of length is."""
    return _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)


def canonical_grid(header: nib.Nifti1Header, path: Path, case_id: str = "") -> Grid:
    """The grid after turning the array of a header to canonical orientation."""
    shape = header.get_data_shape()
    if len(shape) < 3 or min(shape) < 1:
        raise fault(case_id, path, f"has shape {shape} (x, y, z), not three axes", "fetch the volume again")
    affine = affine_of(header)
    with np.errstate(all="ignore"):
        maps = np.isfinite(affine).all() and 1e-12 <= abs(np.linalg.det(affine[:3, :3])) < np.inf
        orientation = io_orientation(affine) if maps else np.full((3, 2), np.nan)
    if not np.isfinite(orientation).all():  # an axis is lost beside the others
        raise fault(case_id, path, "has an affine that maps no volume", "set its sform, or fetch it again")
    turned = np.empty(3, int)
    turned[orientation[:, 0].astype(int)] = shape[:3]
    return Grid(tuple(int(size) for size in turned[::-1]), affine @ inv_ornt_aff(orientation, shape[:3]))


def volume(image: nib.Nifti1Image, path: Path, case_id: str = "", channel: int | None = None) -> np.ndarray:
    """One channel of an image as (z, y, x) in canonical orientation, with the file's scaling applied; a view."""
    shape = image.shape
    while len(shape) > 3 + (channel is not None) and shape[-1] == 1:
        shape = shape[:-1]
    wanted = "three axes" if channel is None else f"a fourth axis with channel {channel}"
    if len(shape) != 3 + (channel is not None) or (channel is not None and channel >= shape[3]):
        what = f"has shape {image.shape} (x, y, z, …), not {wanted}"
        raise fault(case_id, path, what, "check that the file is the one that is meant")
    data = np.asarray(image.dataobj).reshape(shape, order="F")
    data = data if channel is None else data[..., channel]
    return apply_orientation(data, io_orientation(image.affine)).transpose(2, 1, 0)


def read(path: Path, case_id: str = "", channel: int | None = None) -> np.ndarray:
    """A volume (z, y, x) in canonical orientation, with the file's scaling applied.

    Raises:
        CaseError: the file is missing, is no NIfTI file, is cut short, or lacks the channel.
    """
    image = load(path, case_id)
    canonical_grid(image.header, path, case_id)
    return np.ascontiguousarray(volume(image, path, case_id, channel))


def to_file_axes(data: np.ndarray, like: nib.Nifti1Image) -> np.ndarray:
    """Turn canonical (z, y, x) data back to the axes of a file: (x, y, z) in that file's own orientation."""
    canonical = np.array([[0, 1], [1, 1], [2, 1]])
    turn = ornt_transform(canonical, io_orientation(like.affine))
    return np.asfortranarray(apply_orientation(data.transpose(2, 1, 0), turn))


def write(path: str | Path, data: np.ndarray, like: nib.Nifti1Image) -> None:
    """Write a volume (x, y, z, oriented as ``like``) with that image's affine and header, whole or not at all."""
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise CaseError(f"a volume is written as .nii or .nii.gz, not as {path.name}")
    header = like.header.copy()
    header.set_data_dtype(data.dtype)
    header["scl_slope"], header["scl_inter"], header["cal_max"], header["cal_min"] = 1, 0, 0, 0
    with written(path) as unfinished:
        nib.save(type(like)(data, like.affine, header), unfinished)


def not_whole(stored: np.ndarray) -> str:
    """Which values of a label map are no labels, in words; empty where all are (see :data:`LABEL_TOLERANCE`)."""
    if stored.dtype.kind in "biu":
        return ""
    with np.errstate(invalid="ignore"):
        is_whole = (np.abs(stored - np.rint(stored)) <= LABEL_TOLERANCE) & (np.abs(stored) < 2**31)
    off = ~is_whole  # which NaN is too
    if not off.any():
        return ""
    examples = ", ".join(f"{value:.4g}" for value in np.unique(stored[off])[:5])
    return f"holds values that are no labels in {int(off.sum())} voxels, such as {examples}"


def whole_numbers(stored: np.ndarray, where: str) -> np.ndarray:
    """A label map as integers, whatever type its file has."""
    what = not_whole(stored)
    if what:
        raise CaseError(f"{where} {what}; {INTERPOLATED}")
    return stored if stored.dtype.kind in "biu" else np.rint(stored).astype(np.int64)


def label_values(stored: np.ndarray, where: str) -> frozenset[int]:
    """The values that a label map holds."""
    return frozenset(int(value) for value in np.unique(whole_numbers(stored, where)))


def translate(stored: np.ndarray, values: Mapping[int, int], where: str) -> np.ndarray:
    """Map label values one by one; uint8. A value that the map does not know raises :class:`CaseError`."""
    labels = whole_numbers(stored, where)
    out, translated = np.zeros_like(labels, np.uint8), 0
    for value, internal in values.items():
        here = labels == value
        translated += np.count_nonzero(here)
        if internal:
            out |= here * np.uint8(internal)
    if translated < labels.size:
        unknown = {int(value) for value in np.unique(labels)} - {*values}
        raise CaseError(
            f"{where} {strange(unknown)}; the convention of its cohort knows {sorted(values)}; "
            "fetch the file again, or keep data of another convention in a cohort of its own"
        )
    return out


def strange(values: Collection[int]) -> str:
    """Label values that are not known, in words; of many no more than their range."""
    if len(values) <= 10:
        return f"holds the label values {sorted(values)}"
    return f"holds {len(values):,} values from {min(values)} to {max(values)} (is this the image?)"


def _header(path: Path, case_id: str) -> nib.Nifti1Header | nib.Nifti2Header:
    """The header of a file; one too short for what it announces is refused, as far as that shows without unpacking."""
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP
            with gzip.open(raw) if packed else raw as stream:
                start = stream.read(_NIFTI2)
    except (OSError, EOFError, zlib.error) as error:
        _unpack(path, case_id)  # says more exactly what is wrong with the file as a whole
        raise _unreadable(path, case_id, f"cannot be read ({error})") from error
    kind = _header_type(start, path, case_id)
    try:
        header = kind(start[: kind.template_dtype.itemsize])
        header.get_best_affine()
        end = _end(header)
    except Exception as error:
        raise _unreadable(path, case_id, f"has a header that cannot be read ({error})") from error
    size = path.stat().st_size
    if size * (_GZIP_RATIO if packed else 1) < end:
        raise _cut(size, header, path, case_id)
    return header


def _end(header: nib.Nifti1Header) -> int:
    """How many bytes a header announces, its own among them."""
    return header.get_data_offset() + header.get_data_dtype().itemsize * math.prod(map(int, header.get_data_shape()))


def _cut(size: int, header: nib.Nifti1Header, path: Path, case_id: str) -> CaseError:
    return _unreadable(path, case_id, f"is cut short: {size} bytes of the {_end(header)} that its header announces")


def _unpack(path: Path, case_id: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise fault(case_id, path, "is missing", "fetch it again") from None
    except OSError as error:
        raise fault(case_id, path, f"cannot be read ({error.strerror})", "check its permissions") from error
    if content[:2] != _GZIP:
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, case_id, f"is cut short or damaged ({error})") from error


def _header_type(start: bytes, path: Path, case_id: str) -> type[nib.Nifti1Header] | type[nib.Nifti2Header]:
    if not start:
        raise _unreadable(path, case_id, "is empty (0 bytes)")
    if start[:256].lstrip().startswith(b"<"):
        raise _unreadable(path, case_id, "is a web page, not an image: a download that failed or asked for a login")
    for kind, size in ((nib.Nifti1Header, _NIFTI1), (nib.Nifti2Header, _NIFTI2)):
        if start[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")) and len(start) >= size:
            return kind
    raise _unreadable(path, case_id, "is not a NIfTI file: it does not begin with a NIfTI header")


def _unreadable(path: Path, case_id: str, what: str) -> CaseError:
    return fault(case_id, path, what, "fetch it again")
