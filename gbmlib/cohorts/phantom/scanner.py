"""Simulated scans of a phantom: four contrasts, distractors, blur, bias and noise.

Intensities are ratios to normal white matter until the last step, which scales them to integers as BraTS has them. The
table of contrasts was read off 19 BraTS 2018 cases (medians within tissues and labels, spread between cases).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from gbmlib.cohorts.phantom.anatomy import Body, Tissue, atlas
from gbmlib.cohorts.phantom.fields import generator, inside, noise
from gbmlib.cohorts.phantom.tumour import Tumour

MODALITIES = ("flair", "t1", "t1ce", "t2")

#: For each contrast, mean and spread between cases of the intensity of a pure tissue, as a ratio to white matter.
CONTRAST = {
    #         fluid         grey          liquid        solid         rim           oedema
    "flair": ((0.45, 0.14), (1.12, 0.15), (1.75, 0.55), (1.75, 0.35), (1.80, 0.42), (1.75, 0.33)),
    "t1": ((0.40, 0.10), (0.76, 0.07), (0.66, 0.12), (0.78, 0.10), (0.82, 0.10), (0.84, 0.08)),
    "t1ce": ((0.44, 0.10), (0.80, 0.08), (0.66, 0.12), (0.86, 0.10), (1.21, 0.18), (0.84, 0.08)),
    "t2": ((2.90, 0.60), (1.26, 0.22), (2.35, 0.45), (1.90, 0.35), (1.85, 0.33), (1.85, 0.32)),
}
TISSUES = ("fluid", "grey", "liquid", "solid", "rim", "oedema")

#: Bias field (standard deviation of its logarithm), texture (relative to FLAIR's), noise at 1 mm as a ratio to white
#: matter, and the intensity of white matter in the file (both as median, and spread of the logarithm between cases).
DEVICE = {
    "flair": (0.13, 1.0, (0.060, 0.4), (210, 0.45)),
    "t1": (0.06, 0.5, (0.028, 0.4), (430, 0.50)),
    "t1ce": (0.08, 0.6, (0.040, 0.4), (420, 0.60)),
    "t2": (0.11, 1.0, (0.060, 0.4), (290, 0.60)),
}


@dataclass(frozen=True)
class Scene:
    """All that is in view: shares (z, y, x) of tissues and lesions in each voxel of a grid, and the label map."""

    key: tuple[int, int]
    tissues: Tissue
    inside: np.ndarray
    coverage: np.ndarray
    parts: dict[str, np.ndarray]
    label: np.ndarray


def scene(body: Body, tissues: Tissue, tumour: Tumour) -> Scene:
    """Put the tumour and the distractors into an anatomy."""

    def random(purpose: str) -> np.random.Generator:
        return generator(body.seed, body.number, "scene", purpose)

    grid = tissues.grid
    width = float(np.mean(grid.spacing))
    brain = tissues.depth > 0
    label = np.zeros(grid.shape, np.uint8)
    parts = {name: np.zeros(grid.shape) for name in ("core", "rim", "liquid", "oedema")}

    box = grid.box(tumour.low, tumour.high)
    near = grid.crop(box)
    core, rim, oedema = tumour.on(near)
    here = brain[box]
    label[box] = np.where(here & (core < 0), np.where(rim < 0, 3, 1), np.where(here & (oedema < 0), 2, 0))
    parts["core"][box] = inside(core, width)
    parts["rim"][box] = inside(rim, width)
    damp = core + 2 + noise(random("liquid"), 13, 0.5 * tumour.amounts.radius).on(near)
    parts["liquid"][box] = inside(damp, width + 3)
    # Past the border of what a rater outlines, oedema fades into tissue that looks almost normal.
    strongest = 1 - 0.5 * np.clip((oedema + tumour.front_level) / max(tumour.front_level, 8.0), 0, 1)
    parts["oedema"][box] = inside(oedema - 0.5, width + 2.5) * strongest

    burden = random("white matter lesions")
    level = float(burden.normal(1.5, 0.6))
    spots = tissues.ventricle / 18 + level - noise(burden, 6, 1.1).on(grid) - noise(burden, 13, 1.1).on(grid)
    extent = np.clip(burden.gamma(2.0, 1.6), 0, 7)
    cap = tissues.ventricle - extent * np.exp(noise(burden, 16, 0.6).on(grid) + noise(burden, 6, 0.3).on(grid))
    hyper = np.maximum(inside(4 * spots, width + 3), inside(cap, width + 4))
    parts["white matter lesions"] = hyper * np.clip(1.3 * tissues.white - 0.1, 0, 1)

    meninges = np.exp(-((tissues.depth / (1.5 + width / 3)) ** 2))
    meninges *= inside(0.9 - noise(random("meninges"), 16).on(grid), 0.6)
    plexus = inside(tissues.ventricle + 2, width) * inside(0.8 - noise(random("plexus"), 9).on(grid), 0.5)
    vessels = _vessels(body, tissues, random("vessels"))
    parts["vessels"] = np.maximum(vessels, np.maximum(0.7 * meninges, 0.8 * plexus))
    edge = np.exp(-((tissues.depth / (2.5 + width / 3)) ** 2))
    parts["remnants"] = edge * inside(1.0 - noise(random("remnants"), 18).on(grid), 0.8)
    # Stripped images fade towards their edge over more than a voxel.
    coverage = inside(0.6 - tissues.depth, width + 2)
    return Scene((body.seed, body.number), tissues, brain, coverage, parts, label)


def acquire(view: Scene, modality: str) -> np.ndarray:
    """One image of a scene: int16 (z, y, x), positive inside the brain and exactly 0 outside."""

    def random(purpose: str) -> np.random.Generator:
        return generator(*view.key, "scanner", modality, purpose)

    grid, parts, tissues = view.tissues.grid, view.parts, view.tissues
    draws = random("contrast").standard_normal(len(TISSUES))
    pure = {
        name: max(mean + spread * float(np.clip(draw, -2, 2)), 0.1)
        for name, (mean, spread), draw in zip(TISSUES, CONTRAST[modality], draws, strict=True)
    }
    bias, rough, (sigma, sigma_spread), (white, white_spread) = DEVICE[modality]

    texture = random("texture")
    grey = pure["grey"] * (1 + noise(texture, 35, 0.08).on(grid))
    image = tissues.fluid * pure["fluid"] + tissues.grey * grey + tissues.white
    image *= 1 + noise(texture, 5, 0.05 * rough).on(grid) + noise(texture, 18, 0.04 * rough).on(grid)

    uneven = 1 + noise(texture, 12, 0.28).on(grid) + noise(texture, 5, 0.17).on(grid)
    share = parts["oedema"] * (1 - tissues.fluid) * (tissues.white + 0.6 * tissues.grey)
    image += (pure["oedema"] - 1) * uneven * share
    # White-matter lesions are as bright as oedema, but hardly seen after contrast.
    uneven = 0.9 + noise(texture, 10, 0.25).on(grid)
    share = parts["white matter lesions"] * (1 - parts["oedema"]) * (1 - parts["core"])
    image += (0 if modality == "t1ce" else 1) * (pure["oedema"] - 1) * uneven * share
    solid = pure["solid"] * (1 - parts["liquid"]) + pure["liquid"] * parts["liquid"]
    solid = solid * (1 - parts["rim"]) + pure["rim"] * parts["rim"]
    solid *= 1 + noise(texture, 4, 0.14 * rough).on(grid) + noise(texture, 11, 0.11 * rough).on(grid)
    image += parts["core"] * (solid - image)
    if modality == "t1ce":
        image += parts["vessels"] * (1 - parts["core"]) * (pure["rim"] + 0.6 - image)

    # Fat and skin that the skull-stripper left on the surface.
    image += parts["remnants"] * (texture.uniform(0.9, 2.2) - image)

    image *= np.exp(noise(random("bias"), 75, bias).on(grid))
    image = _blur(image, view, random("blur"))
    # Noise of neighbouring voxels is partly shared, so it falls with the edge of a voxel, not the root of its volume.
    sigma *= np.exp(sigma_spread * random("noise level").standard_normal()) / np.prod(grid.spacing) ** (1 / 3)
    grain = random("noise")
    image = np.hypot(image + sigma * grain.standard_normal(grid.shape), sigma * grain.standard_normal(grid.shape))
    image *= white * np.exp(white_spread * random("scale").standard_normal()) * view.coverage
    return np.where(view.inside, np.clip(np.rint(image), 1, 32767), 0).astype(np.int16)


def _blur(image: np.ndarray, view: Scene, random: np.random.Generator) -> np.ndarray:
    """Blur as a point spread in the plane and a slice thickness across it would, inside the brain only."""
    spacing = view.tissues.grid.spacing
    extent = np.full(3, random.uniform(0.8, 1.6))
    across = 0 if random.random() < 0.8 else int(random.integers(1, 3))
    extent[across] = max(extent[across], random.choice([1.0, 3.0, 5.0, 6.0], p=[0.35, 0.25, 0.3, 0.1]))
    # Voxels of the grid have already averaged over their own extent.
    sigma = [max(wide**2 - step**2, 0) ** 0.5 / 12**0.5 / step for wide, step in zip(extent, spacing, strict=True)]
    if max(sigma) < 0.1:
        return image
    weight = np.maximum(view.coverage, 1e-6)
    return ndimage.gaussian_filter(image * weight, sigma) / ndimage.gaussian_filter(weight, sigma)


#: Paths of large veins and arteries in template space, (z, y, x) in mm, and their radius.
_COURSES = {
    "sagittal sinus": (((2, 62, 0), (40, 48, 0), (62, 20, 0), (72, -15, 0), (66, -50, 0), (40, -86, 0)), 2.2),
    "straight sinus": (((8, -38, 0), (4, -58, 0), (-4, -84, 0)), 1.6),
    "left middle cerebral artery": (((-12, 2, -8), (-10, 6, -24), (-4, 0, -38), (6, -10, -46)), 1.3),
    "right middle cerebral artery": (((-12, 2, 8), (-10, 6, 24), (-4, 0, 38), (6, -10, 46)), 1.3),
    "left transverse sinus": (((-12, -90, -12), (-16, -74, -44), (-22, -54, -54)), 2.0),
    "right transverse sinus": (((-12, -90, 12), (-16, -74, 44), (-22, -54, 54)), 2.0),
}


def _vessels(body: Body, tissues: Tissue, random: np.random.Generator) -> np.ndarray:
    """Share of enhancing vessel in each voxel: the large ones by their course, and small ones wandering in sulci."""
    paths = []
    for course, radius in _COURSES.values():
        corners = body.positions(np.array(course, float))
        along = np.linspace(0, len(corners) - 1, 40 * len(corners))
        path = np.stack([np.interp(along, np.arange(len(corners)), corners[:, axis]) for axis in range(3)], 1)
        paths.append((path, radius * random.uniform(0.6, 1.1)))
    sulci = atlas(tissues.grid.spacing).sulci
    starts = body.positions(sulci[random.integers(len(sulci), size=14 + random.poisson(18))])
    for start in starts:
        heading = ndimage.gaussian_filter1d(random.standard_normal((int(random.integers(15, 60)), 3)), 5, axis=0)
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        paths.append((start + np.cumsum(heading, 0), random.uniform(0.5, 1.1)))

    points = np.concatenate([path for path, _ in paths])
    radii = np.concatenate([np.full(len(path), radius) for path, radius in paths])
    here = tissues.depth > 0
    where = np.stack([np.broadcast_to(line, here.shape)[here] for line in tissues.grid.axes()], 1)
    reach = 2.5 * (radii.max() + np.mean(tissues.grid.spacing))
    distance, which = cKDTree(points).query(where, distance_upper_bound=reach)
    # A tube of Gaussian profile, averaged over a voxel: wider by the voxel's variance and as much fainter.
    radius = radii[np.minimum(which, len(radii) - 1)]
    wide = radius**2 + np.mean(np.square(tissues.grid.spacing)) / 12
    share = np.zeros(here.shape)
    share[here] = np.where(
        np.isfinite(distance), radius**2 / wide * np.exp(-(np.minimum(distance, reach) ** 2) / 2 / wide), 0
    )
    return share
