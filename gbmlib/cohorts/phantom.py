"""Phantom cohort: glioblastoma-like cases grown on the MNI152 anatomy, offline and the same on every machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np

from gbmlib.cohorts import case as case_module
from gbmlib.cohorts.anatomy import Body, Grid, tissue
from gbmlib.cohorts.case import Case, CaseError
from gbmlib.cohorts.cohort import GLIOMA, Cohort
from gbmlib.cohorts.scanner import MODALITIES, Scene, acquire, scene
from gbmlib.cohorts.tumour import GROWTH, Tumour, grow

#: Bumped by hand whenever the same spec would give other voxels.
GENERATOR = 1


@dataclass(frozen=True)
class Spec:
    """What ``phantom:`` stands for."""

    cases: int = 24
    spacing: tuple[float, float, float] = (3.0, 3.0, 3.0)
    seed: int = 0

    @classmethod
    def parse(cls, rest: str) -> Spec:
        """Read ``cases=24,spacing=3,seed=0``, any part of it in any order; all problems are reported together."""
        values, problems = {}, []
        for item in filter(None, (part.strip() for part in rest.split(","))):
            key, _, text = (part.strip() for part in item.partition("="))
            try:
                if key in values:
                    raise ValueError("is given twice")
                values[key] = _READERS[key](text)
            except KeyError:
                problems.append(f"{key!r} is unknown")
            except ValueError as error:
                problems.append(f"{key}={text!r} {error}")
        if problems:
            raise CaseError(
                f"phantom:{rest}: {'; '.join(problems)}. Allowed are cases=N (1 to 100000), spacing=MM (0.5 to 10; "
                "or three, z x y x x, as 3x1x1) and seed=N (0 or more), as in phantom:cases=24,spacing=3,seed=0"
            )
        return cls(**values)

    @property
    def name(self) -> str:
        """The canonical form, whatever the order in which it was written."""
        steps = [f"{step:g}" for step in self.spacing]
        spacing = steps[0] if len(set(steps)) == 1 else "x".join(steps)
        return f"phantom:cases={self.cases},spacing={spacing},seed={self.seed}"


def _count(low: int, high: int):
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"is not a whole number from {low} to {high}")
        return int(text)

    return read


def _spacing(text: str) -> tuple[float, float, float]:
    try:
        steps = [float(part) for part in text.split("x")]
    except ValueError:
        steps = []
    if len(steps) not in (1, 3) or not all(0.5 <= step <= 10 for step in steps):
        raise ValueError("is not one or three numbers from 0.5 to 10")
    return tuple(steps * 3) if len(steps) == 1 else tuple(steps)


_READERS = {"cases": _count(1, 100_000), "spacing": _spacing, "seed": _count(0, 2**63)}


@dataclass(frozen=True)
class PhantomCase(Case):
    """One phantom; grown when first asked for."""

    seed: int
    number: int
    spacing: tuple[float, float, float]
    modalities: tuple[str, ...] = MODALITIES

    @property
    def id(self) -> str:
        return f"phantom-{self.seed:03d}-{self.number:03d}"

    @property
    def patient(self) -> str:
        return self.id

    @property
    def has_label(self) -> bool:
        return True

    @property
    def grid(self) -> Grid:
        return Grid.of_frame(self.spacing)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.grid.shape

    @property
    def affine(self) -> np.ndarray:
        step, start = self.grid.spacing[::-1], self.grid.start[::-1]
        affine = np.diag([*step, 1.0])
        # BraTS puts the first voxel of its LPS files at (0, 239, 0) mm.
        affine[:3, 3] = start[0] - 239, start[1], start[2]
        return affine

    def images(self) -> np.ndarray:
        _, box = _view(self.seed, self.number, self.spacing)
        out = np.zeros((len(self.modalities), *self.shape), np.float32)
        for channel, modality in zip(out, self.modalities, strict=True):
            channel[box] = _image(self.seed, self.number, self.spacing, modality)
        return out

    def label(self) -> np.ndarray:
        view, box = _view(self.seed, self.number, self.spacing)
        out = np.zeros(self.shape, np.uint8)
        out[box] = view.label
        return out

    def write(self, path: str | Path, label_map: np.ndarray) -> None:
        if label_map.shape != self.shape:
            raise CaseError(f"case {self.id}: the label map is {label_map.shape}, the case {self.shape} (z, y, x)")
        stored = case_module.translate(
            label_map, {0: 0, 1: 1, 2: 2, 3: 4}, f"case {self.id}: the label map to write to {path}"
        )
        self.save(path, stored)

    def save(self, path: str | Path, volume: np.ndarray) -> None:
        """Write a volume (z, y, x) as BraTS has them: LPS, the origin at the frame's left and front."""
        turned = np.ascontiguousarray(volume.transpose(2, 1, 0)[::-1, ::-1])
        case_module.write(path, turned, _header(self.spacing))


def _header(spacing: tuple[float, float, float]) -> nib.Nifti1Image:
    grid = Grid.of_frame(spacing)
    step, start = np.array(grid.spacing[::-1]), np.array(grid.start[::-1])
    last = start + step * (np.array(grid.shape[::-1]) - 1)
    affine = np.diag([-step[0], -step[1], step[2], 1.0])
    affine[:3, 3] = last[0] - 239, last[1], start[2]
    image = nib.Nifti1Image(np.zeros((1, 1, 1), np.int16), affine)
    image.set_sform(affine, "scanner")
    image.set_qform(affine, "aligned")
    image.header.set_xyzt_units("mm")
    return image


@lru_cache(maxsize=4)
def _tumour(seed: int, number: int) -> tuple[Body, Tumour]:
    body = Body(seed, number)
    return body, grow(body)


@lru_cache(maxsize=2)
def _view(seed: int, number: int, spacing: tuple[float, float, float]) -> tuple[Scene, tuple[slice, slice, slice]]:
    body, tumour = _tumour(seed, number)
    brain = np.argwhere(body.depth(GROWTH, body.place(GROWTH)) > -3)
    low, high = (np.array(GROWTH.start) + 3 * edge for edge in (brain.min(0) - 2, brain.max(0) + 2))
    grid = Grid.of_frame(spacing)
    box = grid.box(low, high)
    return scene(body, tissue(body, grid.crop(box), tumour.pushes), tumour), box


@lru_cache(maxsize=8)
def _image(seed: int, number: int, spacing: tuple[float, float, float], modality: str) -> np.ndarray:
    return acquire(_view(seed, number, spacing)[0], modality)


def _select(case: PhantomCase, modalities: tuple[str, ...]) -> PhantomCase:
    return replace(case, modalities=modalities)


def cohort(rest: str) -> Cohort:
    """The phantom cohort of a spec such as ``cases=24,spacing=3,seed=0`` (without ``phantom:``)."""
    spec = Spec.parse(rest)
    return Cohort(
        name=spec.name,
        spec=spec.name,
        cases=tuple(PhantomCase(spec.seed, number, spec.spacing) for number in range(spec.cases)),
        modalities=MODALITIES,
        labels=GLIOMA,
        convention="Phantoms carry the internal labels 1, 2, 3; written out, enhancing tumour is 4 as in BraTS 2018.",
        select=_select,
        digest=lambda: hashlib.sha256(f"{spec.name} generator {GENERATOR}".encode()).hexdigest(),
        modality_kinds=("MR",) * len(MODALITIES),
    )
