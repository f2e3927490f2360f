"""What the chapter on maps shows: the maps of a case, where maps lie over held-out cases, and the sanity check."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from gbmlib.analysis import saliency, saliency_checks
from gbmlib.analysis.intervals import NOTHING, difference_interval, mean_interval
from gbmlib.analysis.saliency import EmptyRegionError, Target
from gbmlib.cohorts import Case, Cohort, regions
from gbmlib.cohorts.folds import split
from gbmlib.pages.text import Prose
from gbmlib.study import ablations, nnunet, predicting, scales
from gbmlib.study.records import Record
from gbmlib.training.configuration import Experiment
from gbmlib.viewer import slice_viewer

#: What the chapter calls the maps.
SALIENCY, SMOOTH, DEEPEST, LAST = "saliency", "SmoothGrad", "Grad-CAM, deep", "Grad-CAM, last"

#: Where the sanity check correlates: over the whole brain, and over the region and its rim alone. Every map of a region
#: is larger near it, whatever the weights are, so ranks over the brain agree for that alone.
BRAIN, NEAR = "whole brain", "region and rim"

#: The share of the brain's voxels that an overlay of a map marks.
STRONGEST = 0.05


def networks(settings: Any, cohort: Cohort) -> dict[str, list[Experiment]]:
    """One run of each network that earlier chapters train with the same parameters, so that none is trained twice.

    The V-Net and the first paper's network are those of the chapter on the autoencoder branch, the U-Nets those of the
    chapter on slices and volumes; of several folds and seeds the first.
    """
    first, second = scales.asked(settings, cohort), nnunet.asked(settings, cohort)
    alike = {name: first[name] for name in ("cohort", "modalities", "regions", "spacing", "flips") if name in first}
    vae = ablations.runs(ablations.VAE, settings.profile, (0,), (0,), **first)
    return {
        "V-Net": scales.vnet(settings.profile, (0,), **alike),
        "Paper A": vae[ablations.VAE.base],
        "2D": nnunet.glioma(settings.profile, 2, (0,), (0,), **second),
        "3D": nnunet.glioma(settings.profile, 3, (0,), (0,), **second),
    }


def cam_layers(network: nn.Module) -> dict[str, str]:
    """The two layers that the chapter looks at, by what it calls their maps."""
    names = saliency.layers(network)
    return {DEEPEST: [name for name in names if name.startswith("encoder")][-1], LAST: names[-1]}


def maps_of(target: Target) -> dict[str, Tensor]:
    """Saliency and Grad-CAM of two layers, each (z, y, x) on the network's grid."""
    of_layers = cam_layers(target.network)
    cams = saliency.grad_cam(target, list(of_layers.values()))
    return {SALIENCY: saliency.magnitude(saliency.gradient(target)), **dict(zip(of_layers, cams, strict=True))}


def smoothed(target: Target, samples: int = 8, seed: int = 0) -> dict[str, Tensor]:
    """:func:`maps_of`, and SmoothGrad behind the saliency."""
    maps = maps_of(target)
    smooth = saliency.magnitude(saliency.smooth_gradient(target, samples, seed=seed))
    return {SALIENCY: maps.pop(SALIENCY), SMOOTH: smooth, **maps}


# ------------------------------------------------------------------------------------------------------------ one case


def targets(records: Mapping[str, Record], cohort: Cohort, case: Case, region: str) -> dict[str, Target]:
    """The region in a case as each network sees it; a network that finds none of it is left out."""
    found = {}
    for name, record in records.items():
        own = cohort.with_modalities(record.experiment.modalities)
        with contextlib.suppress(EmptyRegionError):
            found[name] = saliency.target(record, own, own[case.id], region)
    return found


def region_of(case: Case, cohort: Cohort, region: str) -> np.ndarray:
    """The gold standard of a nested region or a label, by name: bool (z, y, x)."""
    schemes = regions.SCHEMES if cohort.is_glioma else ("labels",)
    values = {name: of for scheme in schemes for name, of in regions.members(scheme, cohort.labels).items()}
    return np.isin(case.label(), values[region])


def layers(found: Mapping[str, Target], names: Sequence[str]) -> Prose:
    """The layers of each of some networks and which of them the chapter's maps are of; of one that is not among
    :func:`targets`, that it has nothing to explain."""
    lines = []
    for name in names:
        if name in found:
            chosen, known = cam_layers(found[name].network), saliency.layers(found[name].network)
            listed = ", ".join(f"`{layer}`" for layer in known)
            lines.append(f"- **{name}**: {listed}; deepest `{chosen[DEEPEST]}`, last `{chosen[LAST]}`.")
        else:
            lines.append(f"- **{name}** finds none of the region in this case, so it has nothing to explain.")
    return Prose("\n".join(lines))


def in_native_space(target: Target, maps: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Maps in the case's native space, each in per cent of its largest value."""
    volumes = saliency.native(target, torch.stack(list(maps.values())))
    return {
        name: 100 * volume / volume.max() if volume.max() > 0 else volume
        for name, volume in zip(maps, volumes, strict=True)
    }


def view(target: Target, case: Case, cohort: Cohort, maps: Mapping[str, np.ndarray], region: str) -> Any:
    """A case in the viewer: maps as pictures beside the modalities, the strongest of each as an overlay.

    What is explained is the prediction, a fill; the gold standard of the region is outlined.

    Args:
        maps: of :func:`in_native_space`.
    """
    images = dict(zip(case.modalities, case.images(), strict=True))
    brain = np.any([image != 0 for image in images.values()], axis=0)
    marked = {slice_viewer.PREDICTION: saliency.native(target, target.mask[None])[0] >= 0.5}
    if case.has_label:
        marked[slice_viewer.TRUTH] = region_of(case, cohort, region)
    strong = {name: strongest(of, brain) for name, of in maps.items()}
    names = {1: region} | {n: f"strongest {STRONGEST:.0%} of {name}" for n, name in enumerate(strong, 2)}
    return slice_viewer.view(
        images | {name: of * brain for name, of in maps.items()},
        truth=marked.get(slice_viewer.TRUTH),
        prediction=marked[slice_viewer.PREDICTION],
        overlays={name: of * np.uint8(number) for number, (name, of) in enumerate(strong.items(), 2)},
        names=names,
        spacing=case.spacing,
        title=case.id,
    )


def strongest(of: np.ndarray, brain: np.ndarray, share: float = STRONGEST) -> np.ndarray:
    """Where a map (z, y, x) belongs to the highest ``share`` of the brain's values, and is above 0: bool (z, y, x)."""
    return brain & (of > 0) & (of >= np.quantile(of[brain], 1 - share))


# ----------------------------------------------------------------------------------------------------- where maps lie


def where_maps_lie(records: Mapping[str, Record], cohort: Cohort, region: str, seed: int = 0) -> dict[str, Any]:
    """Over the held-out cases of each run: where its maps lie, and those of the same network untrained.

    Returns:
        ``places``: index (network, map, weights), columns ``analysis.saliency_checks.PARTS`` and ``cases``, shares of
        a map as ``analysis.intervals.Interval``; the map ``even`` is the same everywhere, so its shares are the
        volume's. ``modalities``: index (network, weights), a column a channel: its share of the saliency.
        ``skipped``: lines that say which cases have no such region to explain.
    """
    places: dict[tuple[str, ...], list[dict[str, float]]] = {}
    modalities: dict[tuple[str, ...], list[dict[str, float]]] = {}
    skipped = []
    for label, record in records.items():
        of = record.experiment
        own = cohort.with_modalities(of.modalities)
        network, fresh = predicting.load_network(record, own), None
        for case_id in split(own, of.folds, of.fold)[1]:
            try:
                target = saliency.target(record, own, own[case_id], region, network=network)
            except EmptyRegionError as error:
                skipped.append(f"{label}: {error}")
                continue
            fresh = saliency_checks.untrained(of, target, seed) if fresh is None else fresh
            brain = (target.image != 0).any(0).cpu().numpy()
            spacing = saliency_checks.spacing_of(of, own[case_id])
            cut = saliency_checks.parts(target.mask.cpu().numpy(), brain, spacing)
            even = saliency_checks.shares(np.ones(brain.shape, np.float32), cut)
            places.setdefault((label, "even", ""), []).append(even)
            for weights, by in (("trained", network), ("untrained", fresh)):
                now = replace(target, network=by)
                signed = saliency.gradient(now)
                cam = saliency.grad_cam(now, cam_layers(by)[DEEPEST])[0]
                for name, of_map in ((SALIENCY, saliency.magnitude(signed)), (DEEPEST, cam)):
                    lies = saliency_checks.shares(of_map.cpu().numpy(), cut)
                    places.setdefault((label, name, weights), []).append(lies)
                every = signed.abs().sum((1, 2, 3))[: len(of.modalities)]
                each = dict(zip(of.modalities, (every / every.sum()).tolist(), strict=True))
                modalities.setdefault((label, weights), []).append(each)
    order = sorted(places, key=lambda key: (list(records).index(key[0]), ("even", SALIENCY, DEEPEST).index(key[1])))
    places = {key: places[key] for key in order}
    return {
        "places": _table(places, ["network", "map", "weights"], saliency_checks.PARTS),
        "differences": _differences(places),
        "modalities": _table(modalities, ["network", "weights"]),
        "skipped": skipped,
    }


def _differences(places: Mapping[tuple[str, ...], list[dict[str, float]]]) -> pd.Series:
    """Trained less untrained of the share near the region, by (network, map); cases in which either map is 0
    throughout are left out."""
    found = {}
    for network, name, weights in places:
        if weights == "trained":
            of = [places[network, name, which] for which in ("trained", "untrained")]
            near = [np.array([sum(case[part] for part in saliency_checks.PARTS[:2]) for case in cases]) for cases in of]
            change = (near[0] - near[1])[np.isfinite(near[0] - near[1])]
            found[network, name] = difference_interval(change) if len(change) else NOTHING
    return pd.Series(found, dtype=object)


def _table(
    rows: Mapping[tuple[str, ...], list[dict[str, float]]], names: list[str], columns: Sequence[str] = ()
) -> pd.DataFrame:
    """Means over cases with their intervals; a map that is 0 throughout has no shares and is not among the cases."""
    table = {}
    for key, cases in rows.items():
        known = pd.DataFrame(cases).dropna()
        means = {column: mean_interval(known[column]) if len(known) else np.nan for column in columns or known}
        table[key] = means | {"cases": len(known)}
    index = pd.MultiIndex.from_tuples(table, names=names) if table else pd.MultiIndex.from_arrays([[]] * len(names))
    return pd.DataFrame(list(table.values()), index)


def in_words(found: Mapping[str, Any]) -> Prose:
    """What :func:`where_maps_lie` found, a line for each network and map, and which cases were left out."""
    places = found["places"]
    lines = []
    for network, name, weights in places.index:
        if weights != "trained":
            continue
        inside, before, volume = (
            _in_region(places.loc[key])
            for key in ((network, name, "trained"), (network, name, "untrained"), (network, "even", ""))
        )
        lines.append(
            f"- **{network}, {name}**: {inside:.0%} inside the region or at its rim, which are {volume:.0%} of the "
            f"volume; {before:.0%} with untrained weights, a difference of {found['differences'][network, name]}."
        )
    lines += [f"- *Left out: {line}.*" for line in found["skipped"]]
    return Prose("\n".join(lines) or "*No held-out case has this region to explain.*")


def _in_region(row: pd.Series) -> float:
    return sum(getattr(row[part], "mean", np.nan) for part in saliency_checks.PARTS[:2])


# -------------------------------------------------------------------------------------------------------- sanity check


def sanity(record: Record, target: Target, case: Case, seed: int = 0) -> pd.DataFrame:
    """``analysis.saliency_checks.sanity`` of :func:`maps_of`, over the brain and over the region and its rim."""
    fresh = saliency_checks.untrained(record.experiment, target, seed)
    brain = (target.image != 0).any(0)
    spacing = saliency_checks.spacing_of(record.experiment, case)
    cut = saliency_checks.parts(target.mask.cpu().numpy(), brain.cpu().numpy(), spacing)
    near = torch.from_numpy(cut["inside"] | cut["rim"]).to(brain.device)
    return saliency_checks.sanity(target, fresh, maps_of, {BRAIN: brain, NEAR: near})


def left_over(tables: Mapping[str, pd.DataFrame]) -> Prose:
    """What the sanity check says, in words: how much of each map is left when every weight is lost."""
    if not tables:
        return Prose("*No network finds this region in this case, so there is nothing to check.*")
    lines = []
    for network, table in tables.items():
        last = table.iloc[-1]
        each = [f"{name} {last[BRAIN, name]:.2f} ({last[NEAR, name]:.2f})" for name in table[BRAIN]]
        lines.append(f"- **{network}**: {'; '.join(each)}.")
    said = "Rank correlation that is left when every weight is lost, over the brain (over the region and its rim):"
    return Prose(said + "\n\n" + "\n".join(lines))
