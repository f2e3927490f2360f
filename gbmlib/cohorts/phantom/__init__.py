"""Phantom cohort: glioblastoma-like cases grown on the MNI152 anatomy, offline and the same on every machine.

``phantom:cases=24,spacing=3,seed=0`` is a cohort of 24 patients at 3 mm. A patient is fixed by (seed, number): the same
one appears at every spacing and in a cohort of any size; only the noise of the scanner differs between spacings. At
1 mm the frame is that of BraTS. The module ``anatomy`` bends the template, ``tumour`` grows a tumour in it, ``scanner``
adds what looks like one but is not, and takes the four images.

Phantoms beside 19 real cases of BraTS 2018, at 3 mm (means over seeds 0 to 3, of 24 cases each): 10th, 50th and 90th
percentile of the whole tumour 41, 85, 139 ml (real 30, 80, 166), of the core 10, 34, 78 (7, 36, 100), of the enhancing
part 2, 14, 47 (6, 23, 44); median z-scores within labels 1, 2, 3 in FLAIR 2.1, 1.6, 2.5 (2.4, 2.0, 2.4), in T1ce -0.6,
0.0, 1.6 (-0.3, 0.0, 1.7); Dice of the best single threshold of FLAIR for all cases 0.49 to 0.56 (0.65).

A case takes about 0.25 s at 3 mm and 4 s at 1 mm on one core; the first also loads the template (about 3 s).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np

from gbmlib.cohorts import nifti
from gbmlib.cohorts.case import Case
from gbmlib.cohorts.cohort import GLIOMA, Cohort
from gbmlib.cohorts.phantom.anatomy import Body, tissue
from gbmlib.cohorts.phantom.fields import VoxelGrid
from gbmlib.cohorts.phantom.scanner import MODALITIES, Scene, acquire, scene
from gbmlib.cohorts.phantom.spec import Spec
from gbmlib.cohorts.phantom.tumour import GROWTH, Tumour, grow
from gbmlib.cohorts.problems import CaseError

#: Bumped by hand whenever the same spec would give other voxels.
GENERATOR = 1

#: Label values in a written file, as BraTS 2018 has them.
STORED = {0: 0, 1: 1, 2: 2, 3: 4}

#: Where the first voxel of a BraTS file lies, in mm to the left and to the front.
_BRATS_ORIGIN = 239.0


def cohort(rest: str) -> Cohort:
    """Open the phantom cohort of a spec without its ``phantom:`` (:class:`Spec`); cases are grown when asked for."""
    spec = Spec.parse(rest)
    return Cohort(
        name=spec.name,
        spec=spec.name,
        cases=tuple(sorted((PhantomCase(spec.seed, n, spec.spacing) for n in range(spec.cases)), key=lambda c: c.id)),
        modalities=MODALITIES,
        labels=GLIOMA,
        convention="phantoms carry the internal labels 1, 2, 3; written files have 4 for enhancing tumour, as in 2018",
        digest=lambda: hashlib.sha256(f"{spec.name} generator {GENERATOR}".encode()).hexdigest()[:16],
        modality_kinds=("MR",) * len(MODALITIES),
    )


@dataclass(frozen=True)
class PhantomCase(Case):
    """One phantom, grown when first asked for; the last few are kept."""

    seed: int
    number: int
    spacing: tuple[float, float, float]
    modalities: tuple[str, ...] = MODALITIES
    has_label = True
    labels = GLIOMA

    @property
    def id(self) -> str:
        return f"phantom-{self.seed:03d}-{self.number:03d}"

    @property
    def patient(self) -> str:
        return self.id

    @property
    def shape(self) -> tuple[int, int, int]:
        return VoxelGrid.of_frame(self.spacing).shape

    @property
    def affine(self) -> np.ndarray:
        grid = VoxelGrid.of_frame(self.spacing)
        affine = np.diag([*grid.spacing[::-1], 1.0])
        affine[:3, 3] = grid.start[::-1]
        affine[0, 3] -= _BRATS_ORIGIN
        return affine

    def content(self) -> str:
        return f"{self!r} generator {GENERATOR}"

    def with_modalities(self, modalities: Sequence[str]) -> PhantomCase:
        return replace(self, modalities=tuple(modalities))

    def images(self) -> np.ndarray:
        """All channels, float32 (channel, z, y, x): whole numbers, positive in the brain and 0 outside."""
        out = np.zeros((len(self.modalities), *self.shape), np.float32)
        for channel, modality in zip(out, self.modalities, strict=True):
            channel[_box(self.seed, self.number, self.spacing)] = _image(self.seed, self.number, self.spacing, modality)
        return out

    def label(self) -> np.ndarray:
        """The label map, uint8 (z, y, x): 1 necrotic and non-enhancing, 2 oedema, 3 enhancing."""
        out = np.zeros(self.shape, np.uint8)
        out[_box(self.seed, self.number, self.spacing)] = _label(self.seed, self.number, self.spacing)
        return out

    def write(self, path: str | Path, label_map: np.ndarray) -> None:
        """Write a label map (z, y, x; internal values) as BraTS 2018 does: LPS, enhancing tumour is 4."""
        if label_map.shape != self.shape:
            raise CaseError(f"case {self.id}: the label map is {label_map.shape}, the case {self.shape} (z, y, x)")
        self.save(path, nifti.translate(label_map, STORED, f"case {self.id}: the label map to write to {path}"))

    def read(self, path: str | Path) -> np.ndarray:
        """Read a label map that :meth:`write` wrote: uint8 (z, y, x), internal values."""
        internal = {stored: value for value, stored in STORED.items()}
        return nifti.translate(nifti.read(Path(path), self.id), internal, f"case {self.id}: {path}")

    def save(self, path: str | Path, volume: np.ndarray) -> None:
        """Write a volume (z, y, x) with the header and in the orientation of BraTS."""
        like = _brats_header(self.affine, self.shape)
        nifti.write(path, nifti.to_file_axes(volume, like), like)


def _brats_header(canonical: np.ndarray, shape: tuple[int, int, int]) -> nib.Nifti1Image:
    """An image without content, with the header and the orientation (LPS) of BraTS's own."""
    turn = np.diag([-1.0, -1.0, 1.0, 1.0])
    turn[:2, 3] = shape[2] - 1, shape[1] - 1
    affine = canonical @ turn
    image = nib.Nifti1Image(np.zeros(shape[::-1], np.int16), affine)
    image.set_sform(affine, "scanner")
    image.set_qform(affine, "aligned")
    image.header.set_xyzt_units("mm")
    return image


@lru_cache(maxsize=8)
def _patient(seed: int, number: int) -> tuple[Body, Tumour]:
    body = Body(seed, number)
    return body, grow(body)


@lru_cache(maxsize=8)
def _box(seed: int, number: int, spacing: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """The part of the frame that holds the brain, with a margin."""
    body, _ = _patient(seed, number)
    brain = np.argwhere(body.depth(GROWTH, body.place(GROWTH)) > -3)
    low, high = (np.array(GROWTH.start) + 3 * edge for edge in (brain.min(0) - 2, brain.max(0) + 2))
    return VoxelGrid.of_frame(spacing).box(low, high)


@lru_cache(maxsize=1)  # at 1 mm a scene takes some 300 MB
def _scene(seed: int, number: int, spacing: tuple[float, float, float]) -> Scene:
    body, tumour = _patient(seed, number)
    grid = VoxelGrid.of_frame(spacing).crop(_box(seed, number, spacing))
    return scene(body, tissue(body, grid, tumour.pushes), tumour)


@lru_cache(maxsize=16)
def _image(seed: int, number: int, spacing: tuple[float, float, float], modality: str) -> np.ndarray:
    return acquire(_scene(seed, number, spacing), modality)


@lru_cache(maxsize=16)
def _label(seed: int, number: int, spacing: tuple[float, float, float]) -> np.ndarray:
    return _scene(seed, number, spacing).label
