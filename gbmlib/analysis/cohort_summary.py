"""A line for each case of a cohort: geometry, volumes of the regions, and how hard the case is for a threshold.

Of data that cannot be shared the table is published (:func:`publish`), so that a reader without it sees its figures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from gbmlib.cohorts import Cohort, open_cohort, regions
from gbmlib.evaluation import metrics
from gbmlib.files import written
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
    found = len(values) - first
    counts = (metrics.Counts(int(h), int(f - h), int(truth.sum() - h), 0) for h, f in zip(hits, found, strict=True))
    return max(count.dice() for count in counts)


def path_of(cohort_name: str, folder: str | Path) -> Path:
    """Where the published table of a cohort lies, if it does."""
    return Path(folder) / f"cohort-{cohort_name}.csv"


def publish(spec: str, folder: str | Path) -> Path:
    """Write the table of a cohort into a folder of published records, whole or not at all."""
    cohort = open_cohort(spec)
    return write(summary(cohort), path_of(cohort.name, folder))


def write(table: pd.DataFrame, path: Path) -> Path:
    """Write a table that is published as CSV, six digits, whole or not at all; returns the path."""
    with written(path) as unfinished:
        table.to_csv(unfinished, index=False, float_format="%.6g", lineterminator="\n")
    return path
