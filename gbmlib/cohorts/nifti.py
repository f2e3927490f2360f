"""NIfTI in and out: the only place that knows the order (x, y, z), file orientations and headers.

Outside, every volume is (z, y, x) in canonical orientation (RAS+: x grows to the right, y to the front, z upwards).
A file is read whole before anything is made of it, so a gzip stream's checksum is always verified and a download that
was cut short never passes for an image.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
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


@dataclass(frozen=True)
class Grid:
    """Where the voxels lie: shape (z, y, x), and the affine from canonical indices (x, y, z) to millimetres."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(z, y, x) in millimetres."""
        return tuple(float(step) for step in nib.affines.voxel_sizes(self.affine)[::-1])

    def difference(self, other: Grid) -> str:
        """How another grid differs, in words; empty where it is the same up to :data:`GRID_TOLERANCE`."""
        if self.shape != other.shape:
            return f"shape {other.shape} against {self.shape} (z, y, x)"
        corners = np.stack(np.meshgrid(*[(0, size - 1) for size in self.shape[::-1]]), -1).reshape(-1, 3)
        ours, theirs = (nib.affines.apply_affine(grid.affine, corners) for grid in (self, other))
        moved = float(np.linalg.norm(ours - theirs, axis=1).max())
        if moved < GRID_TOLERANCE * min(self.spacing):
            return ""
        return f"affine: a corner of the volume lies {moved:.3g} mm away (tolerated: {GRID_TOLERANCE} voxel)"


def load(path: Path, case_id: str = "") -> nib.Nifti1Image:
    """A NIfTI file, read whole and verified (gzip or not, NIfTI-1 or -2), as a nibabel image in memory.

    Raises:
        CaseError: the file is missing, empty, cut short, damaged, or no NIfTI file.
    """
    content = _unpack(path, case_id)
    kind = _header_type(content, path, case_id)
    image_type = nib.Nifti1Image if kind is nib.Nifti1Header else nib.Nifti2Image
    try:
        image = image_type.from_bytes(content)
        end = image.dataobj.offset + image.get_data_dtype().itemsize * int(np.prod(image.shape, dtype=np.int64))
    except Exception as error:
        raise _unreadable(path, case_id, f"is not a readable NIfTI file ({error})") from error
    if len(content) < end:
        raise _unreadable(path, case_id, f"is cut short: {len(content)} bytes of the {end} that its header announces")
    if image.get_data_dtype().kind not in "biuf":
        raise _unreadable(path, case_id, f"holds {image.get_data_dtype()} voxels, not plain numbers")
    return image


def grid_of(path: Path, case_id: str = "") -> Grid:
    """The canonical grid of a file; reads no more of it than the header."""
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
        return canonical_grid(header.get_data_shape(), header.get_best_affine(), path, case_id)
    except nib.spatialimages.HeaderDataError as error:
        raise _unreadable(path, case_id, f"has a header that cannot be read ({error})") from error


def canonical_grid(shape: tuple[int, ...], affine: np.ndarray, path: Path, case_id: str = "") -> Grid:
    """The grid after turning an array of this shape (x, y, z, …) to canonical orientation."""
    if len(shape) < 3 or min(shape[:3]) < 1:
        raise fault(case_id, path, f"has shape {shape} (x, y, z), not three axes", "fetch the volume again")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise fault(case_id, path, "has an affine that maps no volume", "set its sform, or fetch it again")
    own = io_orientation(affine)
    turned = np.empty(3, int)
    turned[own[:, 0].astype(int)] = shape[:3]
    return Grid(tuple(int(size) for size in turned[::-1]), affine @ inv_ornt_aff(own, shape[:3]))


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
    canonical_grid(image.shape, image.affine, path, case_id)
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
        off = ~(np.abs(stored - np.rint(stored)) <= LABEL_TOLERANCE)  # written so that NaN is caught too
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
    whole = whole_numbers(stored, where)
    out, known = np.zeros_like(whole, np.uint8), 0
    for value, internal in values.items():
        here = whole == value
        known += np.count_nonzero(here)
        if internal:
            out |= here * np.uint8(internal)
    if known < whole.size:
        unknown = [int(value) for value in np.unique(whole) if int(value) not in values]
        raise CaseError(
            f"{where} holds the label values {unknown}; the convention of its cohort knows {sorted(values)}; "
            "fetch the file again, or keep data of another convention in a cohort of its own"
        )
    return out


def _unpack(path: Path, case_id: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise fault(case_id, path, "is missing", "fetch it again") from None
    except OSError as error:
        raise fault(case_id, path, f"cannot be read ({error.strerror})", "check its permissions") from error
    if not content:
        raise _unreadable(path, case_id, "is empty (0 bytes)")
    if content[:256].lstrip().startswith(b"<"):
        raise _unreadable(path, case_id, "is a web page, not an image: a download that failed or asked for a login")
    if content[:2] != _GZIP:
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, case_id, f"is cut short or damaged ({error})") from error


def _header_type(start: bytes, path: Path, case_id: str) -> type[nib.Nifti1Header] | type[nib.Nifti2Header]:
    for kind, size in ((nib.Nifti1Header, _NIFTI1), (nib.Nifti2Header, _NIFTI2)):
        if start[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")) and len(start) >= size:
            return kind
    raise _unreadable(path, case_id, "is not a NIfTI file: it does not begin with a NIfTI header")


def _unreadable(path: Path, case_id: str, what: str) -> CaseError:
    return fault(case_id, path, what, "fetch it again")
