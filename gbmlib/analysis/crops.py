"""How much tumour random crops hold: a line for each case of a cohort.

No crop is drawn. A voxel's chance of lying in a crop is the product of three chances, one an axis, so the mean over all
positions is a weighted sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from gbmlib.analysis.cohort_summary import write
from gbmlib.cohorts import Cohort, open_cohort, regions
from gbmlib.models.segvae import CROP
from gbmlib.preprocess import pipeline

#: Where crops are cut from: the whole frame of the files, air included, as the first paper's code does
#: (vliu15/3d-brain-tumor-segmentation, 23d955b), or the box of non-zero voxels, as here.
CUT_FROM = ("frame", "brain")


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


def fractions(cohort: Cohort, size: Sequence[float] = CROP, progress: bool = True) -> pd.DataFrame:
    """The tumour in random crops of every labelled case, mean over positions and channels.

    Args:
        size: of a crop (z, y, x) in mm; by default that of Adeniji and Liu (2019, section 4.2).

    Returns:
        Columns: case; ``scheme``, of the channels (``cohorts.regions``; nested ones for a glioma alone);
        ``cut_from``, one of :data:`CUT_FROM`; ``fraction``.
    """
    rows = []
    for case in tqdm(cohort, "crops", unit="case", disable=not progress, leave=False):
        if not case.has_label:
            continue
        label = case.label()
        patch = [max(1, round(length / step)) for length, step in zip(size, case.spacing, strict=True)]
        parts = {"frame": label, "brain": label[pipeline.nonzero_box(case.images(), case.id)]}
        for scheme in ("labels", "brats") if cohort.is_glioma else ("labels",):
            for cut_from, part in parts.items():
                share = expected_fraction(regions.to_channels(part, scheme, cohort.labels), patch).mean()
                rows.append({"case": case.id, "scheme": scheme, "cut_from": cut_from, "fraction": float(share)})
    return pd.DataFrame(rows, columns=["case", "scheme", "cut_from", "fraction"])


def path_of(cohort_name: str, folder: str | Path) -> Path:
    """Where the published table of a cohort lies, if it does."""
    return Path(folder) / f"crops-{cohort_name}.csv"


def publish(spec: str, folder: str | Path, progress: bool = True) -> Path:
    """Write the table of a cohort into a folder of published records, whole or not at all."""
    cohort = open_cohort(spec)
    return write(fractions(cohort, progress=progress), path_of(cohort.name, folder))
