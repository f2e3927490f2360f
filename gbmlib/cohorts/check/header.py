"""What is doubtful about the space of an image, as far as its header tells."""

from __future__ import annotations

from collections.abc import Iterator

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from gbmlib.cohorts.nifti import Grid, affine_of, millimetres

#: Voxel sizes of scanners lie within, in mm.
PLAUSIBLE = (0.05, 20.0)

#: Two voxel sizes are one up to this part.
SIZE_TOLERANCE = 0.01

#: Two forms of one file are one up to half a voxel, or up to this turn (radians): near half a turn, as in most scans
#: that are stored from left to right and from front to back, a qform's float32 quaternion is off by up to 1.2e-3.
TURN_TOLERANCE = 2e-3

#: Axes are perpendicular up to this cosine (0.6 degrees): distances are then wrong by half a percent at most.
PERPENDICULAR = 0.01


def doubts(header: nib.Nifti1Header) -> Iterator[tuple[str, str]]:
    """The doubts about a header with three axes and an affine that maps a volume, each with what to do about it."""
    affine, spacing = affine_of(header), voxel_sizes(affine_of(header))
    if not all(PLAUSIBLE[0] <= step <= PLAUSIBLE[1] for step in spacing):
        yield f"has voxels of {_mm(spacing)}", "correct the voxel size or its unit in the header"
    axes = affine[:3, :3] / spacing
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > PERPENDICULAR:
        angle = np.degrees(np.arccos(min(cosine, 1)))
        yield (
            f"has axes that meet at {angle:.0f} degrees, so volumes and distances would be wrong",
            "resample it to perpendicular axes first, all images of the case and the label alike",
        )
    if header["sform_code"] > 0:
        yield from _other_form(header, affine, spacing)
    elif header["qform_code"] <= 0:
        yield (
            "has neither qform nor sform: which side is left is unknown, and only shape and voxel size are compared",
            "make it again from its source, or copy the header of an image whose voxels are in the same order",
        )


def _other_form(header: nib.Nifti1Header, affine: np.ndarray, spacing: np.ndarray) -> Iterator[tuple[str, str]]:
    """Where the qform, or the voxel size that goes with it, says something else than the sform."""
    remedy = "find out which is right (for a scan of known size, say), and set the other alike"
    scale = millimetres(header)
    others = np.abs(header["pixdim"][1:4].astype(float)) * scale
    if not np.allclose(others, spacing, rtol=SIZE_TOLERANCE, atol=0):
        yield f"has voxels of {_mm(spacing)} by its sform, which is used, and {_mm(others)} by its pixdim", remedy
        return
    try:
        qform = header.get_qform(coded=True)[0]
    except ValueError:
        yield "has a qform that cannot be read; its sform is used", "set the qform to the sform"
        return
    if qform is not None:
        shape = header.get_data_shape()[2::-1]
        qform[:3] *= scale
        tolerated = max(0.5, TURN_TOLERANCE * float(np.linalg.norm(spacing * shape[::-1]) / spacing.min()))
        if difference := Grid(shape, affine).difference(Grid(shape, qform), tolerated):
            yield f"has an sform, which is used, and a qform that differ in {difference}", remedy


def _mm(spacing: np.ndarray) -> str:
    """Voxel sizes (x, y, z) in words."""
    return f"{' x '.join(f'{step:.4g}' for step in spacing)} mm"
