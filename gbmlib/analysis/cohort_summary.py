"""Tables of a cohort, a line a case: geometry, volumes, how hard it is for a threshold, and tumour in random crops.

Of data that cannot be shared the table is published (:func:`publish`), so that a reader without it sees its figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from gbmlib.cohorts import Cohort, open_cohort, regions
from gbmlib.evaluation import metrics
from gbmlib.files import written
from gbmlib.models.segvae import CROP
from gbmlib.preprocess import pipeline

#: The grid of thresholds, in deviations from the mean of a case's non-zero voxels.
THRESHOLDS = np.arange(-1, 6.01, 0.05)


def summary(cohort: Cohort, progress: bool = True) -> pd.DataFrame:
    """One line a case.

    Columns: case; shape_z, shape_y, shape_x; spacing_z, spacing_y, spacing_x (mm); brain_ml (non-zero voxels of the
    first channel); for each region NAME its volume NAME_ml, the share of all voxels NAME_share, and for a glioma with a
    FLAIR image ``flair_threshold_dice``: the whole-tumour Dice of the *best* single threshold of that case's FLAIR,
    which no method could know beforehand.
    """
    rows = []
    scheme = "brats" if cohort.is_glioma else "labels"
    for case in tqdm(cohort, "summary", unit="case", disable=not progress, leave=False):
        images = case.images()
        voxel_ml = float(np.prod(case.spacing)) / 1000
        row = {"case": case.id}
        row |= {f"shape_{axis}": size for axis, size in zip("zyx", case.shape, strict=True)}
        row |= {f"spacing_{axis}": step for axis, step in zip("zyx", case.spacing, strict=True)}
        row["brain_ml"] = float((images[0] != 0).sum()) * voxel_ml
        if case.has_label:
            label = case.label()
            channels = regions.to_channels(label, scheme, cohort.labels)
            for name, mask in zip(regions.members(scheme, cohort.labels), channels, strict=True):
                row |= {f"{name}_ml": float(mask.sum()) * voxel_ml, f"{name}_share": float(mask.mean())}
            if cohort.is_glioma and "flair" in cohort.modalities:
                row["flair_threshold_dice"] = best_threshold(images[cohort.modalities.index("flair")], label > 0)
        rows.append(row)
    return pd.DataFrame(rows)


def best_threshold(image: np.ndarray, truth: np.ndarray) -> float:
    """The highest Dice that ``image > threshold`` reaches over :data:`THRESHOLDS`, for image (z, y, x) and a mask."""
    normalised = pipeline.zscore(image[None])[0]
    inside = image != 0
    values, true = normalised[inside], truth[inside]
    order = np.argsort(values)
    # Voxels above each threshold, and how many of them are true, from one sort.
    first = np.searchsorted(values[order], THRESHOLDS, side="right")
    hits = true.sum() - np.concatenate([[0], np.cumsum(true[order])])[first]
    marked = len(values) - first
    counts = (metrics.Counts(int(h), int(m - h), int(truth.sum() - h), 0) for h, m in zip(hits, marked, strict=True))
    return max(count.dice() for count in counts)


def coverage(extent: int, patch: int) -> np.ndarray:
    """For each place along an axis the share of all positions of a patch that cover it, float64 (extent,).

    All positions are alike, as in ``training.patches.draw_corner``. A patch that is longer than the axis covers all.
    """
    positions = max(extent - patch, 0) + 1
    place = np.arange(extent)
    first, last = np.maximum(place - patch + 1, 0), np.minimum(place, positions - 1)
    return np.ones(extent) if extent <= patch else (last - first + 1) / positions


def expected_fraction(masks: np.ndarray, patch_size: Sequence[int]) -> np.ndarray:
    """The mean share of a random patch (z, y, x) that each mask of (channel, z, y, x) fills, float64 (channel,).

    Where the patch is larger than the volume, what lies outside counts as background.
    """
    z, y, x = (coverage(extent, patch) for extent, patch in zip(masks.shape[1:], patch_size, strict=True))
    return ((masks @ x) @ y) @ z / np.prod(patch_size, dtype=float)


def crop_fractions(cohort: Cohort, size: Sequence[float] = CROP, progress: bool = True) -> pd.DataFrame:
    """The tumour in random crops of every labelled case, mean over positions and channels. No crop is drawn: a voxel's
    chance of lying in one is the product of three chances, one an axis, so the mean is a weighted sum.

    Args:
        size: of a crop (z, y, x) in mm; by default that of Adeniji and Liu (2019, section 4.2).

    Returns:
        Columns: case; ``scheme``, of the channels (``cohorts.regions``; nested ones for a glioma alone);
        ``cut_from``: ``"frame"``, of the files, air included, as the first paper's code does
        (vliu15/3d-brain-tumor-segmentation, 23d955b), or ``"brain"``, the box of non-zero voxels, as here;
        ``fraction``.
    """
    rows = []
    for case in tqdm(cohort, "crops", unit="case", disable=not progress, leave=False):
        if not case.has_label:
            continue
        label = case.label()
        patch = [max(1, round(length / step)) for length, step in zip(size, case.spacing, strict=True)]
        cut = {"frame": label, "brain": label[pipeline.nonzero_box(case.images(), case.id)]}
        for scheme in ("labels", "brats") if cohort.is_glioma else ("labels",):
            for cut_from, labels in cut.items():
                share = expected_fraction(regions.to_channels(labels, scheme, cohort.labels), patch).mean()
                rows.append({"case": case.id, "scheme": scheme, "cut_from": cut_from, "fraction": float(share)})
    return pd.DataFrame(rows, columns=["case", "scheme", "cut_from", "fraction"])


# ----------------------------------------------------------------------------------------------------- published tables


def path_of(cohort_name: str, folder: str | Path, what: str = "cohort") -> Path:
    """Where a published table of a cohort lies, if it does: its :func:`summary`, or its :func:`crop_fractions`
    (``"crops"``)."""
    return Path(folder) / f"{what}-{cohort_name}.csv"


def publish(spec: str, folder: str | Path, progress: bool = True) -> list[Path]:
    """Write the tables of a cohort into a folder of published records, each whole or not at all."""
    cohort = open_cohort(spec)
    tables = {"cohort": summary(cohort, progress), "crops": crop_fractions(cohort, progress=progress)}
    return [write(table, path_of(cohort.name, folder, what)) for what, table in tables.items()]


def write(table: pd.DataFrame, path: Path) -> Path:
    """Write a table that is published as CSV, six digits, whole or not at all; returns the path."""
    with written(path) as unfinished:
        table.to_csv(unfinished, index=False, float_format="%.6g", lineterminator="\n")
    return path
