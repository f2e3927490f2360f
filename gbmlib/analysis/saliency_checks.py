"""Whether a map of ``analysis.saliency`` says anything: what is left of it without the weights, and where it lies."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import ndimage, stats
from torch import Tensor, nn

from gbmlib import models
from gbmlib.analysis.saliency import Target, stages
from gbmlib.cohorts import Case
from gbmlib.training.configuration import Experiment

#: From a target to maps (z, y, x) of it by name, each at least 0.
Maps = Callable[[Target], Mapping[str, Tensor]]

#: How far from the surface of a region its rim reaches on either side, in mm: a voxel and its diagonal at 3 mm.
RIM = 5.0

#: The parts of a volume that :func:`shares` tells apart.
PARTS = ("inside", "rim", "rest of the brain", "background")


def untrained(experiment: Experiment, target: Target, seed: int = 0) -> nn.Module:
    """The network of a target as it might have been before training; its weights are drawn with a seed."""
    known = next(target.network.parameters())
    channels = target.network.output.out_channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = models.build(
            experiment.model, len(target.image), channels, experiment.patch_size, **experiment.options
        )
    return network.to(known.device).eval()


def randomised(network: nn.Module, fresh: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Copies of a network that lose their weights layer by layer, from the output backwards: (the layer that was lost
    last, the network). The cascade of Adebayo et al. (2018, section 3.1).

    Args:
        fresh: the same network untrained, whose weights take the place of those that were learnt.
    """
    current = copy.deepcopy(network)
    for name in reversed(stages(network)):
        layer = current.get_submodule(name)
        if next(layer.parameters(), None) is not None:
            layer.load_state_dict(fresh.get_submodule(name).state_dict())
            yield name, copy.deepcopy(current)


def sanity(
    target: Target,
    fresh: nn.Module,
    maps: Maps,
    where: Mapping[str, Tensor],
) -> pd.DataFrame:
    """How much of a map is left when weights are lost: its rank correlation with the map of the trained network.

    A map that stays as it was does not show what the network learnt. The mask is that of the trained network
    throughout, or each map would explain other voxels.

    Args:
        maps: makes the maps of a target.
        where: bool (z, y, x) by name, the voxels to correlate over.

    Returns:
        A row for each layer, ``trained`` first, then in the order in which they are lost; columns (where, map).
    """
    trained = maps(target)
    columns = [(place, name) for place in where for name in trained]
    rows = {"trained": dict.fromkeys(columns, 1.0)}
    for layer, network in randomised(target.network, fresh):
        now = maps(replace(target, network=network))
        rows[layer] = {(p, name): rank_correlation(trained[name], now[name], where[p]) for p, name in columns}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.set_axis(pd.MultiIndex.from_tuples(columns, names=["where", "map"]), axis=1).rename_axis("lost last")


def rank_correlation(one: Tensor, other: Tensor, where: Tensor) -> float:
    """Spearman's correlation of two maps (z, y, x) over some voxels; 0 where either is constant there."""
    a, b = (values[where].float().cpu().numpy() for values in (one, other))
    if not len(a) or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)


def spacing_of(experiment: Experiment, case: Case) -> tuple[float, ...]:
    """The spacing in mm of the grid on which a network sees a case, in the order of that grid's axes."""
    native = experiment.spacing or case.spacing
    return tuple(native[axis] for axis in experiment.axes)


def parts(mask: np.ndarray, brain: np.ndarray, spacing: Sequence[float], rim: float = RIM) -> dict[str, np.ndarray]:
    """A volume cut into :data:`PARTS`, each bool (z, y, x), by a region and where there is an image.

    The rim holds the voxels within ``rim`` mm of the region's surface: those inside with a voxel that is not, and those
    outside with a voxel that is, no farther away. Every voxel is in one part.

    Args:
        mask, brain: bool (z, y, x); the region, and where the image is not background.
        spacing: (z, y, x) in mm.
    """
    depth = ndimage.distance_transform_edt(mask, spacing) if not mask.all() else np.full(mask.shape, np.inf)
    away = ndimage.distance_transform_edt(~mask, spacing) if mask.any() else np.full(mask.shape, np.inf)
    inside, around = mask & (depth > rim), ~mask & (away <= rim)
    near = (mask & ~inside) | around
    rest = ~mask & ~around
    return dict(zip(PARTS, (inside, near, rest & brain, rest & ~brain), strict=True))


def shares(values: np.ndarray, cut: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What share of a map (z, y, x), at least 0, lies in each part of a volume; NaN of a map that is 0 throughout.

    Raises:
        ValueError: the map has values below 0, whose shares would mean nothing.
    """
    if values.min() < 0:
        raise ValueError(
            f"the map goes down to {values.min():g}; shares are of a map that is at least 0 (its magnitude)"
        )
    total = float(values.sum(dtype=float))
    return {name: float(values[mask].sum(dtype=float)) / total if total else np.nan for name, mask in cut.items()}
