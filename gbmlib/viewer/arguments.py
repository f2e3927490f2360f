"""The arguments of the viewers, checked: functions return them as arrays that fit the case, and add what is wrong with
them to ``problems``, so that all problems can be told at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gbmlib.cohorts import regions
from gbmlib.cohorts.case import Case
from gbmlib.cohorts.cohort import GLIOMA

TRUTH, PREDICTION = "gold standard", "prediction"

#: The region of a probability that is given without a name: all labels together.
ANY_LABEL = "any label"

#: Averages and sums of probabilities may leave [0, 1] by rounding, and by no more than this.
ROUNDING = 1e-3


def images_of(
    case: Case | Mapping[str, np.ndarray],
    modalities: Sequence[str] | None,
    spacing: Sequence[float] | None,
    problems: list[str],
) -> tuple[dict[str, np.ndarray], list[float]]:
    """The volumes to show, by modality, and their spacing."""
    plain = isinstance(case, Mapping)
    if not plain and not isinstance(case, Case):
        problems.append(f"case is a {type(case).__name__}; pass a gbmlib Case, or a mapping of modality to volume")
        return {}, []
    known = tuple(case) if plain else case.modalities
    wanted = known if modalities is None else ((modalities,) if isinstance(modalities, str) else tuple(modalities))
    if unknown := [name for name in wanted if name not in known]:
        problems.append(f"modalities: no {unknown} in this case; it has {list(known)}")
    if not wanted:
        problems.append("case: there is no image to show")
    if plain == (spacing is None):
        problems.append(
            "spacing is missing: plain volumes need their (z, y, x) in millimetres"
            if plain
            else "spacing is the case's own; leave the argument out"
        )
    spacing = [float(step) for step in (case.spacing if not plain else spacing if spacing is not None else (1, 1, 1))]
    if len(spacing) != 3 or not all(math.isfinite(step) and step > 0 for step in spacing):
        problems.append(f"spacing is {spacing}; it takes three positive numbers (z, y, x) in millimetres")
    volumes = case if plain else dict(zip(known, case.images(), strict=True))
    images = {name: np.asarray(volumes[name]) for name in dict.fromkeys(wanted) if name in known}
    shape = next((volume.shape for volume in images.values()), None)
    for name, volume in images.items():
        if volume.ndim != 3 or 0 in volume.shape:
            problems.append(f"image {name!r} has shape {volume.shape}; a volume has three axes (z, y, x)")
        elif volume.shape != shape:
            problems.append(f"image {name!r} has shape {volume.shape}, the first image {shape} (z, y, x)")
        elif not np.isfinite(volume).all():
            problems.append(f"image {name!r} holds {np.count_nonzero(~np.isfinite(volume))} voxels that are no number")
    return (images if shape is not None and len(shape) == 3 else {}), spacing


def names_of(case: Case | Mapping[str, np.ndarray]) -> Mapping[int, str]:
    """Label value to meaning as a case knows it; the three of a glioma where it knows none."""
    return getattr(case, "labels", None) or GLIOMA


def labels_of(
    truth: np.ndarray | None,
    prediction: np.ndarray | None,
    overlays: Mapping[str, np.ndarray],
    names: Mapping[int, str],
    shape: tuple[int, int, int] | None,
    problems: list[str],
) -> dict[str, np.ndarray]:
    """The label maps to show, uint8 (z, y, x), by name."""
    if wrong := [value for value in names if not (isinstance(value, int | np.integer) and 0 < value < 256)]:
        problems.append(f"names: {wrong} cannot be label values; those are whole numbers from 1 to 255")
    if taken := [name for name in overlays if name in (TRUTH, PREDICTION)]:
        problems.append(f"overlays: {taken} are the names of truth= and prediction=; pass them there")
    label_maps = {TRUTH: truth, PREDICTION: prediction, **{k: v for k, v in overlays.items() if k not in taken}}
    labels = {}
    for name, label in label_maps.items():
        if label is None:
            continue
        label = np.asarray(label)
        if shape is not None and label.shape != shape:
            problems.append(f"label map {name!r} has shape {label.shape}, the case {shape} (z, y, x)")
            continue
        if unknown := [value for value in np.unique(label).tolist() if value != 0 and value not in names]:
            problems.append(
                f"label map {name!r} holds {unknown[:8]}, which names= does not explain; it knows {dict(names)}"
            )
            continue
        labels[name] = label.astype(np.uint8)
    return labels


def misplaced(position: Any, shape: tuple[int, int, int]) -> list[str]:
    """The problems of a voxel position in a volume of this shape."""
    try:
        indices = [int(index) for index in position]
        is_voxel = len(indices) == 3 and all(index == at for index, at in zip(indices, position, strict=True))
    except (TypeError, ValueError):
        is_voxel = False
    if not is_voxel:
        return [f"position is {position!r}; it takes three whole numbers, voxel (z, y, x)"]
    if not all(0 <= index < size for index, size in zip(indices, shape, strict=True)):
        return [f"position {tuple(indices)} lies outside of the volume, whose shape is {tuple(shape)} (z, y, x)"]
    return []


def probabilities_of(
    probability: np.ndarray | Mapping[str, np.ndarray] | None,
    names: Mapping[int, str],
    shape: tuple[int, int, int] | None,
    problems: list[str],
) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
    """Each region's probability, float (z, y, x), and the label values that the region holds."""
    if probability is None:
        return {}
    known = {ANY_LABEL: tuple(sorted(names)), **{str(name): (value,) for value, name in names.items()}}
    if sorted(names) == [1, 2, 3]:
        known |= regions.BRATS
    by_region = probability if isinstance(probability, Mapping) else {ANY_LABEL: probability}
    if unknown := [name for name in by_region if name not in known]:
        problems.append(f"probability: there is no region {unknown}; these labels have {list(known)}")
    volumes = unit_volumes(by_region, "probability of", shape, problems)
    return {name: (volume, known[name]) for name, volume in volumes.items() if name in known}


def regions_of(names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """What is measured: WT, TC and ET where the labels are the three of a glioma, else each label by its name."""
    return dict(regions.BRATS) if sorted(names) == [1, 2, 3] else {str(name): (value,) for value, name in names.items()}


def bad_threshold(threshold: Any) -> list[str]:
    """The problems of a threshold of probabilities."""
    try:
        fits = 0 < float(threshold) < 1
    except (TypeError, ValueError):
        fits = False
    return [] if fits else [f"threshold is {threshold!r}; it takes a number between 0 and 1, both excluded"]


def bad_mode(mode: Any) -> list[str]:
    """The problems of a mode."""
    if mode in (None, "static", "live"):
        return []
    return [f"mode is {mode!r}; use 'static', 'live', or None for what the place asks for"]


def refuse(message: str, problems: Sequence[str]) -> None:
    """Raise all problems in one :class:`ValueError`, if there are any."""
    if problems:
        raise ValueError(f"{message}:" + "".join(f"\n- {problem}" for problem in problems))


def unit_volumes(
    volumes: Mapping[str, np.ndarray], what: str, shape: tuple[int, int, int] | None, problems: list[str]
) -> dict[str, np.ndarray]:
    """Volumes, float (z, y, x) in [0, 1], by name, rounding clipped."""
    fitting = {}
    for name, volume in volumes.items():
        volume = np.asarray(volume, np.float32)
        if shape is not None and volume.shape != shape:
            problems.append(f"{what} {name!r} has shape {volume.shape}, the case {shape} (z, y, x)")
        elif not np.isfinite(volume).all():
            problems.append(f"{what} {name!r} holds {np.count_nonzero(~np.isfinite(volume))} voxels that are no number")
        elif volume.size and not -ROUNDING <= volume.min() <= volume.max() <= 1 + ROUNDING:
            ends = f"{volume.min():g} to {volume.max():g}"
            problems.append(f"{what} {name!r} has values from {ends}; scale it to between 0 and 1")
        else:
            fitting[name] = np.clip(volume, 0, 1)
    return fitting
