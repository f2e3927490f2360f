"""The anatomy of a phantom: the MNI152 brain that nilearn ships, bent into an individual one.

Source of the anatomy: ICBM 152 nonlinear (Fonov et al., 2009), T1 template, grey- and white-matter maps, 1 mm. The
template is larger than a living brain; the scales below bring it to the size of the brains of BraTS.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache

import nibabel as nib
import numpy as np
from scipy import ndimage

from gbmlib.cohorts.phantom.fields import Field, VoxelGrid, generator, inside, look_up, noise

# Where the template's origin (anterior commissure) lies in the frame, and its size there, (z, y, x): from the extent of
# the brains of 19 BraTS cases.
_ORIGIN = np.array([66.0, 126.5, 119.5])
_SCALE = np.array([0.915, 0.945, 0.98])


@dataclass(frozen=True)
class Atlas:
    """Maps in template space (z, y, x): ``index = (mm - start) / step``.

    ``grey`` and ``white`` are shares of a voxel at 1 mm; ``depth`` (mm below the brain's surface, negative outside) and
    ``ventricle`` (mm from the ventricles, negative inside) are signed distances at 2 mm. ``seeds`` are template
    positions (point, 3) in deep cerebral white matter, ``sulci`` are positions in the fluid between gyri.
    """

    grey: np.ndarray
    white: np.ndarray
    depth: np.ndarray
    ventricle: np.ndarray
    seeds: np.ndarray
    sulci: np.ndarray
    start: np.ndarray

    def at(self, name: str, position: np.ndarray) -> np.ndarray:
        """A map at template positions (3, points) in mm."""
        step = 2.0 if name in ("depth", "ventricle") else 1.0
        return look_up(getattr(self, name), (position - self.start[:, None]) / step)


@lru_cache(maxsize=3)
def atlas(spacing: tuple[float, float, float]) -> Atlas:
    """The template's maps as voxels of a spacing (z, y, x) in mm see them: blurred to their size."""
    sharp = _sharp_atlas()
    # A voxel of s mm averages with variance s^2 / 12; the template's own voxels have done that for 1 mm.
    sigma = [max(step**2 - 1, 0) ** 0.5 / 12**0.5 / scale for step, scale in zip(spacing, _SCALE, strict=True)]
    grey, white = (ndimage.gaussian_filter(volume, sigma, truncate=3.0) for volume in (sharp.grey, sharp.white))
    return Atlas(grey, white, sharp.depth, sharp.ventricle, sharp.seeds, sharp.sulci, sharp.start)


@lru_cache(maxsize=1)
def _sharp_atlas() -> Atlas:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nilearn import datasets

        names = ("template", "gm_template", "wm_template")
        images = [nib.as_closest_canonical(getattr(datasets, f"load_mni152_{name}")(resolution=1)) for name in names]
    t1, grey, white = (np.asarray(image.dataobj, np.float32).transpose(2, 1, 0) for image in images)
    start = np.array(images[0].affine[:3, 3][::-1])
    brain = ndimage.binary_fill_holes(t1 > 0)
    extents = ndimage.find_objects(brain.astype(int))[0]
    box = tuple(slice(max(extent.start - 12, 0), extent.stop + 12) for extent in extents)
    # A template that stops at its own border gets room below, so that distances to the cut are true.
    pad = [(12, 0), (0, 0), (0, 0)]
    grey, white, brain = (np.pad(volume[box], pad) for volume in (grey, white, brain))
    start = start + [extent.start for extent in box] - [12, 0, 0]

    # The maps are averages over many brains. Raising the shares to a power gives back one brain's edges.
    fluid = np.clip(1 - grey - white, 0, 1)
    shares = np.stack([fluid, grey, white]) ** 1.6
    shares /= np.maximum(shares.sum(0), 1e-6)
    fluid, grey, white = shares

    coarse = (slice(None, None, 2),) * 3
    inner = brain[coarse]
    depth = 2 * (ndimage.distance_transform_edt(inner) - ndimage.distance_transform_edt(~inner))
    depth = ndimage.gaussian_filter(depth, 0.7)
    z, y, x = (at + 2 * np.arange(n) for at, n in zip(start, inner.shape, strict=True))
    z, y, x = z[:, None, None], y[:, None], x
    central = (np.abs(x) < 42) & (y > -62) & (y < 42) & (z > -22) & (z < 36) & (depth > 14)
    parts, _ = ndimage.label((fluid[coarse] > 0.5) & central)
    ventricles = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    ventricle = 2 * (ndimage.distance_transform_edt(~ventricles) - ndimage.distance_transform_edt(ventricles))
    ventricle = ndimage.gaussian_filter(ventricle, 0.7)

    cerebrum = (z > -24) & ~((y < -38) & (z < -2)) & (np.abs(x) > 9) & ~((np.abs(x) < 20) & (z < 0))
    deep = (white[coarse] > 0.55) & (depth > 9) & (ventricle > 4) & cerebrum
    seeds = np.argwhere(deep) * 2.0 + start
    sulci = np.argwhere((fluid[coarse] > 0.4) & (depth > 1) & (depth < 16) & (ventricle > 6)) * 2.0 + start
    return Atlas(grey, white, depth.astype(np.float32), ventricle.astype(np.float32), seeds, sulci, start)


@dataclass(frozen=True)
class Push:
    """Mass effect of one focus: tissue around ``centre`` (mm in the frame) moves outward, decaying with ``reach`` mm.

    A point at distance r shows the tissue that was at ``r (1 - share exp(-(r / reach)^2))``: one-to-one for share < 1.
    """

    centre: np.ndarray
    reach: float
    share: float


@dataclass(frozen=True)
class Body:
    """An individual anatomy, fixed by (seed, number)."""

    seed: int
    number: int

    def random(self, purpose: str) -> np.random.Generator:
        return generator(self.seed, self.number, "anatomy", purpose)

    @cached_property
    def _bend(self) -> list[tuple[Field, Field]]:
        random = self.random("bend")
        return [(noise(random, 45, 2.6), noise(random, 22, 0.75)) for _ in range(3)]

    @cached_property
    def _matrix(self) -> np.ndarray:
        """From frame mm, relative to the template's origin there, to template mm."""
        random = self.random("matrix")
        turn = np.eye(3)
        for axes, angle in zip(((0, 1), (0, 2), (1, 2)), np.radians(random.normal(0, 2.5, 3)), strict=True):
            step = np.eye(3)
            step[np.ix_(axes, axes)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            turn = turn @ step
        size = 1 + 0.03 * np.clip(random.standard_normal(), -2, 2) + 0.015 * np.clip(random.standard_normal(3), -2, 2)
        return np.diag(1 / (_SCALE * size)) @ turn

    @cached_property
    def _shift(self) -> np.ndarray:
        return _ORIGIN + np.clip(self.random("shift").normal(0, 1.2, 3), -3, 3)

    @cached_property
    def _edge(self) -> Field:
        return noise(self.random("edge"), 6, 0.6)

    @cached_property
    def ventricle_growth(self) -> float:
        """By how many mm the ventricles are wider than the template's."""
        return float(np.clip(self.random("ventricles").normal(0.6, 1.0), -1, 3.5))

    def place(self, grid: VoxelGrid) -> np.ndarray:
        """Template positions (3, z, y, x) in mm of a grid's voxels, before any mass effect."""
        moved = [
            line + coarse.on(grid) + fine.on(grid) for line, (coarse, fine) in zip(grid.axes(), self._bend, strict=True)
        ]
        centred = np.stack(moved) - self._shift[:, None, None, None]
        return np.tensordot(self._matrix, centred, 1)

    def positions(self, template: np.ndarray) -> np.ndarray:
        """Where in the frame (point, 3; mm) the anatomy shows template positions (point, 3), before any mass effect."""
        coarse, steps = self._coarse
        nearest = [np.argmin(((coarse - point[:, None]) ** 2).sum(0)) for point in np.atleast_2d(template)]
        return steps[nearest] + np.linalg.solve(self._matrix, template.T - coarse[:, nearest]).T

    @cached_property
    def _coarse(self) -> tuple[np.ndarray, np.ndarray]:
        """A coarse grid's voxels: their template positions (3, point), and those in the frame (point, 3)."""
        grid = VoxelGrid.of_frame((5.0, 5.0, 5.0))
        where = np.stack(np.broadcast_arrays(*grid.axes())).reshape(3, -1)
        return self.place(grid).reshape(3, -1), where.T

    def depth(self, grid: VoxelGrid, template: np.ndarray) -> np.ndarray:
        """Depth in mm (z, y, x) below the surface of the stripped brain, whose edge is ragged as a skull-stripper's."""
        distance = atlas(grid.spacing).at("depth", template.reshape(3, -1)).reshape(grid.shape)
        return distance - 1.3 + self._edge.on(grid)

    def pushed(self, grid: VoxelGrid, template: np.ndarray, depth: np.ndarray, pushes: tuple[Push, ...]) -> np.ndarray:
        """Template positions with mass effect; it fades out towards the surface, which bone holds in place."""
        if not pushes:
            return template
        held = np.clip(depth / 14, 0, 1)
        held = held * held * (3 - 2 * held)
        move = np.zeros_like(template)
        for push in pushes:
            away = [line - at for line, at in zip(grid.axes(), push.centre, strict=True)]
            size = push.share * np.exp(-sum(offset**2 for offset in away) / push.reach**2) * held
            for axis in range(3):
                move[axis] -= away[axis] * size
        return template + np.tensordot(self._matrix, move, 1)


@dataclass(frozen=True)
class Tissue:
    """What the voxels of a grid hold: shares of fluid, grey and white matter (z, y, x), which sum to one in the brain.

    ``depth`` and ``ventricle`` are distances in mm; ``template`` (3, z, y, x) is where each voxel is in the
    template.
    """

    grid: VoxelGrid
    fluid: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    depth: np.ndarray
    ventricle: np.ndarray
    template: np.ndarray


def tissue(body: Body, grid: VoxelGrid, pushes: tuple[Push, ...] = ()) -> Tissue:
    """Look at an anatomy, with the mass effect of a tumour, on a grid."""
    maps = atlas(grid.spacing)
    template = body.place(grid)
    depth = body.depth(grid, template)
    template = body.pushed(grid, template, depth, pushes)
    near = depth > -max(grid.spacing)
    points = template[:, near]
    grey, white, ventricle = (maps.at(name, points) for name in ("grey", "white", "ventricle"))
    wet = inside(ventricle - body.ventricle_growth, max(grid.spacing))
    grey, white = grey * (1 - wet), white * (1 - wet)
    out = [np.zeros(grid.shape) for _ in range(4)]
    for volume, values in zip(out, (1 - grey - white, grey, white, ventricle - body.ventricle_growth), strict=True):
        volume[near] = values
    return Tissue(grid, out[0], out[1], out[2], depth, out[3], template)
