"""Checks of the maps of ``analysis.saliency``: how much of them is left without the weights, and where they lie."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
import torch
from scipy import ndimage, stats
from torch import Tensor, nn

from gbmlib import models
from gbmlib.analysis import saliency
from gbmlib.analysis.intervals import NOTHING, difference_interval, mean_interval
from gbmlib.analysis.saliency import EmptyRegionError, Target
from gbmlib.cohorts import Case, Cohort
from gbmlib.cohorts.folds import split
from gbmlib.study import predicting
from gbmlib.study.records import Record
from gbmlib.training.configuration import Experiment

#: What the maps are called.
SALIENCY, SMOOTH, DEEPEST, LAST = "saliency", "SmoothGrad", "Grad-CAM, deep", "Grad-CAM, last"

#: Where the sanity check correlates: over the whole brain, and over the region and its rim alone. Every map of a region
#: is larger near it, whatever the weights are, so ranks over the brain agree for that alone.
BRAIN, NEAR = "whole brain", "region and rim"

#: From a target to maps (z, y, x) of it by name, each at least 0.
Maps = Callable[[Target], Mapping[str, Tensor]]

#: How far from the surface of a region its rim reaches on either side, in mm: a voxel and its diagonal at 3 mm.
RIM = 5.0

#: The parts of a volume that :func:`shares` tells apart.
PARTS = ("inside", "rim", "rest of the brain", "background")


def cam_layers(network: nn.Module) -> dict[str, str]:
    """The deepest layer of the encoder and the last of all, by what their Grad-CAM is called."""
    names = saliency.layers(network)
    return {DEEPEST: [name for name in names if name.startswith("encoder")][-1], LAST: names[-1]}


def maps_of(target: Target) -> dict[str, Tensor]:
    """Saliency and Grad-CAM of two layers, each (z, y, x) on the network's grid."""
    of_layers = cam_layers(target.network)
    cams = saliency.grad_cam(target, list(of_layers.values()))
    return {SALIENCY: saliency.magnitude(saliency.gradient(target)), **dict(zip(of_layers, cams, strict=True))}


def in_per_cent(target: Target, samples: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """:func:`maps_of` and SmoothGrad in the case's native space (z, y, x), each in per cent of its largest value."""
    maps = maps_of(target)
    smooth = saliency.magnitude(saliency.smooth_gradient(target, samples, seed=seed))
    maps = {SALIENCY: maps.pop(SALIENCY), SMOOTH: smooth, **maps}
    volumes = saliency.native(target, torch.stack(list(maps.values())))
    largest = (volume.max() for volume in volumes)
    return {n: 100 * v / most if most > 0 else v for n, v, most in zip(maps, volumes, largest, strict=True)}


def strongest(volume: np.ndarray, brain: np.ndarray, share: float) -> np.ndarray:
    """Where a map (z, y, x) belongs to the highest ``share`` of the brain's values, and is above 0: bool (z, y, x)."""
    return brain & (volume > 0) & (volume >= np.quantile(volume[brain], 1 - share))


# -------------------------------------------------------------------------------------------------------- sanity check


def untrained(experiment: Experiment, target: Target, seed: int = 0) -> nn.Module:
    """The network of a target with random initial weights, drawn with a seed."""
    weights = next(target.network.parameters())
    channels = target.network.output.out_channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = models.build(
            experiment.model, len(target.image), channels, experiment.patch_size, **experiment.options
        )
    return network.to(weights.device).eval()


def randomised(network: nn.Module, fresh: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Copies of a network that lose their weights layer by layer, from the output backwards: (the layer that was lost
    last, the network). The cascade of Adebayo et al. (2018, section 3.1).

    Args:
        fresh: the same network untrained, whose weights take the place of those that were learnt.
    """
    current = copy.deepcopy(network)
    for name in reversed(saliency.stages(network)):
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


def without_weights(record: Record, target: Target, case: Case, seed: int = 0) -> pd.DataFrame:
    """:func:`sanity` of :func:`maps_of` over the brain, and over the region and its rim."""
    near = cut(record.experiment, target, case)
    near = torch.from_numpy(near["inside"] | near["rim"]).to(target.mask.device)
    fresh = untrained(record.experiment, target, seed)
    return sanity(target, fresh, maps_of, {BRAIN: (target.image != 0).any(0), NEAR: near})


def rank_correlation(one: Tensor, other: Tensor, where: Tensor) -> float:
    """Spearman's correlation of two maps (z, y, x) over some voxels; 0 where either is constant there."""
    a, b = (values[where].float().cpu().numpy() for values in (one, other))
    if not len(a) or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)


# ------------------------------------------------------------------------------------------------------ where maps lie


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


def cut(experiment: Experiment, target: Target, case: Case) -> dict[str, np.ndarray]:
    """:func:`parts` of what a network sees of a case and finds in it."""
    brain = (target.image != 0).any(0).cpu().numpy()
    return parts(target.mask.cpu().numpy(), brain, spacing_of(experiment, case))


def shares(values: np.ndarray, cut: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The share of a map (z, y, x), at least 0, in each part of a volume; NaN of a map that is 0 throughout.

    Raises:
        ValueError: the map has values below 0, whose shares would mean nothing.
    """
    if values.min() < 0:
        raise ValueError(
            f"the map goes down to {values.min():g}; shares are of a map that is at least 0 (its magnitude)"
        )
    total = float(values.sum(dtype=float))
    return {name: float(values[mask].sum(dtype=float)) / total if total else np.nan for name, mask in cut.items()}


@dataclass(frozen=True)
class Places:
    """Where the maps of some networks lie; a row a case.

    Attributes:
        shares: index (network, map, weights), columns :data:`PARTS`. The map ``even`` is the same everywhere, so its
            shares are the volume's.
        modalities: index (network, weights), a column a channel: its share of the saliency.
        skipped: sentences that say which cases have no such region to explain.
    """

    shares: pd.DataFrame
    modalities: pd.DataFrame
    skipped: list[str]


def where_maps_lie(
    records: Mapping[str, Record], cohort: Cohort, region: str, cases: Sequence[str] = (), seed: int = 0
) -> Places:
    """Over some cases, by default those that each run held out: where its maps lie, and those of the same network
    untrained."""
    places, looked_at, skipped = [], [], []
    for label, record in records.items():
        experiment = record.experiment
        data = cohort.with_modalities(experiment.modalities)
        network, fresh = predicting.load_network(record, data), None
        for case_id in cases or split(data, experiment.folds, experiment.fold)[1]:
            try:
                target = saliency.target(record, data, data[case_id], region, network=network)
            except EmptyRegionError as error:
                skipped.append(f"{label}: {error}")
                continue
            fresh = untrained(experiment, target, seed) if fresh is None else fresh
            maps = {("even", ""): torch.ones(target.mask.shape)}
            maps |= dict.fromkeys(product((SALIENCY, DEEPEST), ("trained", "untrained")))  # in this order
            for weights, by in (("trained", network), ("untrained", fresh)):
                now = replace(target, network=by)
                signed = saliency.gradient(now)
                maps[SALIENCY, weights] = saliency.magnitude(signed)
                maps[DEEPEST, weights] = saliency.grad_cam(now, cam_layers(by)[DEEPEST])[0]
                each = signed.abs().sum((1, 2, 3))[: len(experiment.modalities)]
                each = zip(experiment.modalities, (each / each.sum()).tolist(), strict=True)
                looked_at.append({"network": label, "weights": weights, **dict(each)})
            where = cut(experiment, target, data[case_id])
            for (name, weights), volume in maps.items():
                named = {"network": label, "map": name, "weights": weights}
                places.append(named | shares(volume.cpu().numpy(), where))
    channels = dict.fromkeys(name for record in records.values() for name in record.experiment.modalities)
    return Places(
        pd.DataFrame(places, columns=["network", "map", "weights", *PARTS]).set_index(["network", "map", "weights"]),
        pd.DataFrame(looked_at, columns=["network", "weights", *channels]).set_index(["network", "weights"]),
        skipped,
    )


def over_cases(table: pd.DataFrame) -> pd.DataFrame:
    """Means with intervals over the rows that share an index, and of how many; a map that is 0 throughout has no shares
    and is not among them."""
    rows = {}
    for key, cases in table.groupby(level=table.index.names, sort=False):
        columns = ((name, column.dropna()) for name, column in cases.items())
        means = {name: mean_interval(values) if len(values) else np.nan for name, values in columns}
        rows[key] = means | {"cases": len(cases.dropna(how="all"))}
    return pd.DataFrame(list(rows.values()), pd.MultiIndex.from_tuples(rows, names=table.index.names))


def near_region(places: Places) -> pd.DataFrame:
    """The mean share of each map inside the region or at its rim: a row for each (network, map).

    Returns:
        Columns ``trained``, ``untrained``, ``even`` (the volume's own share), and ``difference``, of trained less
        untrained, paired by case; cases in which either map is 0 throughout are left out of it.
    """
    near = places.shares[list(PARTS[:2])].sum(axis=1, skipna=False).groupby(level=places.shares.index.names, sort=False)
    cases, means, rows = {key: values.to_numpy() for key, values in near}, near.mean(), {}
    for network, name, _ in (key for key in cases if key[2] == "trained"):
        change = cases[network, name, "trained"] - cases[network, name, "untrained"]
        change = change[np.isfinite(change)]
        rows[network, name] = {
            "trained": means[network, name, "trained"],
            "untrained": means[network, name, "untrained"],
            "even": means[network, "even", ""],
            "difference": difference_interval(change) if len(change) else NOTHING,
        }
    return pd.DataFrame(list(rows.values()), pd.MultiIndex.from_tuples(rows, names=["network", "map"]))
