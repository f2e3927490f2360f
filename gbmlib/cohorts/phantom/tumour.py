"""A glioblastoma grown in an anatomy: where its core, enhancing rim and oedema are.

Everything is grown once, on a 3 mm grid of the frame, and kept as smooth level sets in mm, so the tumour is the same at
whatever voxel size it is looked at. Volumes and fractions are drawn from distributions like those of real cases, and
each level is the quantile that gives them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gbmlib.cohorts.phantom.anatomy import Body, Push, Tissue, atlas, tissue
from gbmlib.cohorts.phantom.fields import Field, VoxelGrid, arrival, generator, noise, sampled

#: The grid on which tumours grow.
GROWTH = VoxelGrid.of_frame((3.0, 3.0, 3.0))
_ML = 0.027  # a voxel of that grid

# Time per mm. The core spreads through tissue alike; oedema runs along white matter and hardly enters grey.
_CORE_COST = {"fluid": 4.0, "grey": 1.2, "white": 1.0, "outside": 3.0}
_OEDEMA_COST = {"fluid": 9.0, "grey": 5.0, "white": 1.0, "outside": 9.0}
_FALX = 6.0
_FAR = 90.0


@dataclass(frozen=True)
class Amounts:
    """The random quantities of a tumour: volumes in ml, the enhancing fraction of the core, and its mass effect."""

    core: float
    oedema: float
    enhancing: float
    push: float
    multifocal: bool

    @property
    def radius(self) -> float:
        """The radius in mm of a ball with the volume of the core."""
        return (self.core * 1000 * 3 / 4 / np.pi) ** (1 / 3)


@dataclass(frozen=True)
class Tumour:
    """Level sets, and what shifts the tissue around them; evaluate with :meth:`on`.

    ``pushes`` is the mass effect; ``low`` and ``high`` are the mm (z, y, x) between which the whole tumour lies.
    """

    amounts: Amounts
    pushes: tuple[Push, ...]
    core: Field
    front: Field
    mottle: tuple[Field, ...]
    core_level: float
    rim_level: float
    front_level: float
    low: np.ndarray
    high: np.ndarray

    def on(self, grid: VoxelGrid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Core, rim and oedema (z, y, x), in mm, negative inside.

        Enhancing is what is inside core and rim; the rest of the core is label 1; oedema is what is inside ``oedema``
        but not in the core.
        """
        core = self.core.on(grid) - self.core_level
        rim = -core + sum(field.on(grid) for field in self.mottle) - self.rim_level
        return core, rim, self.front.on(grid) - self.front_level


def draw(body: Body) -> Amounts:
    """Draw how large a tumour is; medians and spreads are near those of 19 BraTS cases."""
    random = generator(body.seed, body.number, "tumour", "amounts")
    core = float(np.clip(np.exp(random.normal(np.log(30), 0.9)), 2.5, 110))
    oedema = float(np.clip(np.exp(random.normal(np.log(44), 0.65)), 6, 140))
    enhancing = float(np.clip(random.normal(0.6, 0.17), 0.12, 0.95))
    push = float(np.clip(random.normal(0.28, 0.13), 0.02, 0.5))
    multifocal = bool(random.random() < 0.15)
    kind = random.random()
    if kind < 0.07:
        enhancing = 0.0
    elif kind < 0.12:
        core, enhancing = min(core, 10.0), 1.0
    elif kind < 0.16:
        oedema = 0.0
    return Amounts(core, oedema, enhancing, push, multifocal)


def grow(body: Body) -> Tumour:
    """Grow the tumour of an anatomy; the same body gives the same tumour."""
    amounts = draw(body)

    def random(purpose: str) -> np.random.Generator:
        return generator(body.seed, body.number, "tumour", purpose)

    foci = _foci(body, amounts, random("place"))
    reach = 1.4 * amounts.radius + 8
    pushes = tuple(Push(focus, reach, amounts.push / (1 + 2 * i)) for i, focus in enumerate(foci))
    low, high = np.min(foci, 0), np.max(foci, 0)

    # The core: fronts that start from several lobes, at speeds that vary from place to place.
    grid = GROWTH.crop(GROWTH.box(low - 2.2 * amounts.radius - 60, high + 2.2 * amounts.radius + 60))
    tissues = tissue(body, grid, pushes)
    brain = tissues.depth > 0
    start = _lobes(grid, foci, amounts.radius, random("lobes"))
    rough = np.exp(noise(random("core speed"), 14, 0.4).on(grid))
    times = arrival(start, _cost(tissues, _CORE_COST) * rough, 3.0, 14 + int(amounts.radius / 3))
    times = np.minimum(times, _FAR) + noise(random("core border"), 8, 1.6).on(grid)
    core = sampled(times, grid)
    seen = core.on(grid)
    core_level = _level(seen[brain], amounts.core)
    within = seen - core_level

    # The oedema: a front that leaves the core and prefers white matter.
    uneven = np.exp(noise(random("oedema side"), 30, 0.55).on(grid) + noise(random("oedema speed"), 10, 0.35).on(grid))
    start = np.where(within < 0, within, np.inf)
    times = np.minimum(arrival(start, _cost(tissues, _OEDEMA_COST) * uneven, 3.0, 22), _FAR)
    front = sampled(times, grid)
    seen = front.on(grid)
    around = brain & (within >= 0)
    front_level = _level(seen[around], amounts.oedema) if amounts.oedema else -_FAR

    # The rim: the outer layer of the core, where a mottled depth is small.
    mottle = (noise(random("rim"), 18, 0.22 * amounts.radius), noise(random("islands"), 6, 0.14 * amounts.radius))
    depth = -within + sum(field.on(grid) for field in mottle)
    rim_level = (
        _level(depth[brain & (within < 0)], amounts.enhancing * amounts.core) if amounts.enhancing < 1 else np.inf
    )

    tumour = np.argwhere(brain & ((within < 0) | (seen < front_level)))
    low, high = (np.array(grid.start) + 3.0 * edge for edge in (tumour.min(0) - 3, tumour.max(0) + 3))
    return Tumour(amounts, pushes, core, front, mottle, core_level, rim_level, front_level, low, high)


def _foci(body: Body, amounts: Amounts, random: np.random.Generator) -> list[np.ndarray]:
    """Centres (mm in the frame) of one or two foci, in deep white matter of one hemisphere."""
    seeds = atlas(GROWTH.spacing).seeds
    first = seeds[random.integers(len(seeds))]
    chosen = [first]
    if amounts.multifocal:
        apart = np.linalg.norm(seeds - first, axis=1)
        others = seeds[(apart > amounts.radius + 16) & (apart < amounts.radius + 45) & (seeds[:, 2] * first[2] > 0)]
        if len(others):
            chosen.append(others[random.integers(len(others))])
    return list(body.positions(np.array(chosen)))


def _lobes(grid: VoxelGrid, foci: list[np.ndarray], radius: float, random: np.random.Generator) -> np.ndarray:
    """Start times of the core's front: each lobe is a small ball that starts a little early or late."""
    out = np.full(grid.shape, np.inf)
    for rank, focus in enumerate(foci):
        count = 1 + random.poisson(1.8)
        for lobe in range(count):
            offset = random.standard_normal(3)
            offset *= 0.75 * radius * random.random() ** (1 / 3) / np.linalg.norm(offset)
            late = random.uniform(-0.1, 0.45) * radius
            centre = focus + offset if lobe else focus
            delay = (late if lobe else 0) + 0.45 * radius * rank
            ball = sum((line - at) ** 2 for line, at in zip(grid.axes(), centre, strict=True)) ** 0.5
            out = np.where(ball < 7, np.minimum(out, ball + delay), out)
    return out


def _cost(tissues: Tissue, table: dict[str, float]) -> np.ndarray:
    cost = sum(table[name] * getattr(tissues, name) for name in ("fluid", "grey", "white"))
    # Between the hemispheres lies the falx; only white matter (the corpus callosum) leads across.
    falx = (np.abs(tissues.template[2]) < 3) & (tissues.white < 0.4)
    return np.where(tissues.depth > 0, np.maximum(cost + _FALX * falx, 0.8), table["outside"])


def _level(values: np.ndarray, ml: float) -> float:
    """The level below which lie so many ml of the growth grid's voxels."""
    if ml <= 0:
        return -np.inf
    rank = min(round(ml / _ML), values.size - 1)
    return float(np.partition(values, rank)[rank])
