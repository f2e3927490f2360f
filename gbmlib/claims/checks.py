"""Claims that need no runs: what a paper prints, held against itself, against its rule, or against a count.

A check returns whether the claim holds, and why. It reads numbers printed in the papers from ``book/facts``
and ``analysis.published``, and builds networks without training them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gbmlib import models, planner
from gbmlib.analysis import prevalence, published
from gbmlib.evaluation import sliding_window
from gbmlib.files import RECORDS, listed, sizes
from gbmlib.models.segvae import CROP
from gbmlib.models.summary import magnitudes
from gbmlib.planner import PATCH_VOXELS
from gbmlib.planner import table_1 as paper_table
from gbmlib.study import nnunet
from gbmlib.study.cross_validation import LOW_RESOLUTION, PLUS


@dataclass(frozen=True)
class Finding:
    """Whether a claim holds, and why, in words."""

    holds: bool
    why: str


Check = Callable[[Path], Finding]


# ----------------------------------------------------------------------------------- topology, against printed table 1


def table_1(folder: Path, aspect: str = "mm") -> Finding:
    """Every cell of the table, planned from the geometry of all cases."""
    printed = paper_table.printed(folder)
    plans = {task: planner.plan(fingerprint, aspect=aspect) for task, fingerprint in paper_table.tasks(folder).items()}
    same, cells = paper_table.agreeing(paper_table.cells(plans, printed), printed)
    return Finding(same == cells, f"{same} of {cells} cells")


def small_median_is_patch(folder: Path) -> Finding:
    """Where the median case has fewer voxels than the budget, the patch is that case, rounded up for pooling."""
    rows = _rows(folder, "3D")
    small = rows[rows.median_shape.map(math.prod) < PATCH_VOXELS]
    wrong = {
        task: f"{task} {sizes(row.patch_size)} where the median is {sizes(row.median_shape)}"
        for task, row in small.iterrows()
        if any(
            patch != math.ceil(size / 2**pools) * 2**pools
            for patch, size, pools in zip(row.patch_size, row.median_shape, row.pools, strict=True)
        )
    }
    others = len(small) - len(wrong)
    sentences = [f"as stated in {others} of {len(small)} such tasks", *wrong.values()]
    return Finding(not wrong, "; ".join(sentences))


def pooling(folder: Path, network: str, most: int, ends: Callable[[float], bool]) -> Finding:
    """Each axis of each printed patch is halved until its feature maps have a certain size, at most so many times."""
    wrong, axes = [], 0
    for task, row in _rows(folder, network).iterrows():
        for size, pools in zip(row.patch_size, row.pools, strict=True):
            stated = next((n for n in range(most) if ends(size / 2**n)), most)
            axes += 1
            if stated != pools:
                wrong.append(f"{task} {size}: {pools} where the words give {stated}")
    text = f"{axes - len(wrong)} of {axes} axes as stated"
    return Finding(not wrong, f"{text}; {', '.join(list(dict.fromkeys(wrong))[:2])}, …" if wrong else text)


def patch_limit(folder: Path) -> Finding:
    """No three-dimensional patch has more than 128^3 voxels."""
    printed = paper_table.printed(folder)
    volumes = printed[printed.index.get_level_values("network") != "2D"].patch_size.map(math.prod)
    return Finding(
        bool((volumes <= PATCH_VOXELS).all()), f"at most {volumes.max():,} voxels in {len(volumes)} networks"
    )


def five_per_cent(folder: Path) -> Finding:
    """No batch of more than two holds over 5 % of the data set's voxels, rounded to the nearest patch."""
    tasks, wrong, printed = paper_table.tasks(folder), [], paper_table.printed(folder)
    for (task, network), row in printed.iterrows():
        share = 0.05 * tasks[task].cases * math.prod(printed.loc[(task, "3D"), "median_shape"])
        if row.batch_size[0] > max(2, round(share / math.prod(row.patch_size))):
            wrong.append(f"{task} {network}")
    return Finding(not wrong, f"{len(printed) - len(wrong)} of {len(printed)} batches within it")


def whole_slices(folder: Path) -> Finding:
    """Two-dimensional patches hold the median plane."""
    rows = _rows(folder, "2D")
    fit = [all(p >= m for p, m in zip(row.patch_size, row.median_shape, strict=True)) for _, row in rows.iterrows()]
    return Finding(all(fit), f"in {sum(fit)} of {len(fit)} tasks")


def cascades(folder: Path) -> Finding:
    """The tasks with more than four times the budget's voxels are those for which the table has a cascade."""
    printed, tasks = paper_table.printed(folder), paper_table.tasks(folder)
    large = {task for task, fingerprint in tasks.items() if math.prod(fingerprint.median_shape) > 4 * PATCH_VOXELS}
    cascaded = set(printed.xs("3D low resolution", level="network").index)
    return Finding(large == cascaded, f"the rule gives {listed(sorted(large))}; printed are {listed(sorted(cascaded))}")


def skull_stripped(folder: Path, records: str | Path = RECORDS) -> Finding:
    """Cropping to what is not zero takes a quarter or more of brain images without a skull."""
    fingerprint = nnunet.published_fingerprint("brats2018-19", records)
    if fingerprint is None or fingerprint.kept is None:
        raise FileNotFoundError(f"no published fingerprint of brats2018-19 in {records}")
    cropped = 1 - fingerprint.kept
    return Finding(
        fingerprint.kept <= 0.75, f"{cropped:.0%} of the voxels of {fingerprint.cases} cases are cropped away"
    )


def predictions_a_voxel(folder: Path) -> Finding:
    """A voxel at the centre of a volume gets 64 predictions: its tiles, times the mirrorings along three axes."""
    size, patch = (256,) * 3, (64,) * 3
    seen = np.zeros(size, np.uint8)
    for window in sliding_window.tiles(size, patch, 0.5):
        seen[window] += 1
    most, mirrorings = int(seen[64:-64, 64:-64, 64:-64].max()), 2**3
    return Finding(most * mirrorings == 64, f"{most} tiles x {mirrorings} mirrorings = {most * mirrorings}")


# ---------------------------------------------------------------------------------- what printed table 2 says by itself


def cascade_leads(folder: Path) -> Finding:
    """Of the single models of each task the cascade (3D where there is none) is best, but in Prostate and Liver."""
    exceptions = []
    for task in paper_table.tasks(folder):
        means = published.table_2(task, folder).mean(axis=1).drop(LOW_RESOLUTION, errors="ignore")
        single = means[[PLUS not in label for label in means.index]]
        expected = "cascade" if "cascade" in single else "3D"
        if single.idxmax() != expected:
            exceptions.append((task, f"{task} ({single.idxmax()} is ahead by {single.max() - single[expected]:.4f})"))
    return Finding(
        {task for task, _ in exceptions} == {"Prostate", "Liver"}, f"exceptions: {listed([s for _, s in exceptions])}"
    )


def test_recovers(folder: Path) -> Finding:
    """Only the brain tumours do worse on the test set in every class than the best of their cross-validation."""
    test = pd.read_csv(folder / "isensee2018_table_2_test.csv", comment="#")
    dips = {}
    for task, rows in test.groupby("task", sort=False):
        best = published.table_2(task, folder)
        chosen = best.loc[best.drop(LOW_RESOLUTION, errors="ignore").mean(axis=1).idxmax()]
        dips[task] = rows.dice.to_numpy() / 100 - chosen.to_numpy()
    all_lower = [task for task, change in dips.items() if (change < 0).all()]
    least = min(change.mean() for task, change in dips.items() if task not in all_lower)
    text = f"lower in every class: {listed(all_lower)}; of the others the mean changes by {least:+.3f} or more"
    return Finding(all_lower == ["BrainTumour"], text)


# ---------------------------------------------------------------------------------------------------- the first paper


def recall_column(folder: Path) -> Finding:
    """The columns of the first paper's table 1 match their headings: all rows imply one tumour fraction."""
    readings = prevalence.examined(published.TABLE_1, published.TABLE_1_ROUNDING)
    headed, code = prevalence.METRICS, prevalence.logged(published.LOG_HEADER, published.LOG_VALUES)
    row = readings.loc[headed]
    last = prevalence.read(published.TABLE_1, code).recall.iloc[-1]
    text = f"as headed, the tumour would fill {row[published.TABLE_1.index[0]]:.0%} of the crops"
    return Finding(bool(row.possible and row.agree), f"{text}; read as the code logs it, the last recall is {last:.3f}")


def parameters(folder: Path, **options: object) -> Finding:
    """A change of the first paper's network adds trainable parameters."""
    unchanged, changed = (_parameters(**changes) for changes in ({}, options))
    text = f"{unchanged / 1e6:.2f} against {changed / 1e6:.2f} million at 1 mm, {changed / unchanged - 1:+.1%}"
    return Finding(changed > unchanged, text)


def few_parameters(folder: Path, most: float = 0.02, **options: object) -> Finding:
    """What a change removes from the first paper's network is at most this share of its parameters."""
    unchanged, without = (_parameters(**changes) for changes in ({}, options))
    text = f"{unchanged / 1e6:.2f} against {without / 1e6:.2f} million at 1 mm, {1 - without / unchanged:+.2%}"
    return Finding(0 < (unchanged - without) / unchanged <= most, text)


def growth(folder: Path) -> Finding:
    """Before training and in the original order of layers, strides make activations grow more than max-pooling."""
    ratios = {down: [_growth(down, seed) for seed in range(3)] for down in ("stride", "max_pool")}
    stride, pooled = (float(np.mean(ratios[down])) for down in ("stride", "max_pool"))
    return Finding(
        min(ratios["stride"]) > max(ratios["max_pool"]),
        f"{stride:.1f} times with strides, {pooled:.1f} times with pooling",
    )


def _parameters(**options: object) -> int:
    with models.shapes_only():
        return models.parameters(models.build("segvae", 2, 3, CROP, **options))


def _growth(down: str, seed: int) -> float:
    """Root mean square after the encoder's last level, divided by that after its first."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = models.build("segvae", 2, 3, (32, 32, 32), vae=False, down=down, order="norm-act-conv")
        values = magnitudes(network, torch.randn(1, 2, 32, 32, 32))["root mean square"]
    return float(values["encoder 3"] / values["encoder 0"])


def _rows(folder: Path, network: str) -> pd.DataFrame:
    return paper_table.printed(folder).xs(network, level="network")


CHECKS: dict[str, Check] = {
    "table 1": table_1,
    "table 1, aspect ratio in voxels": partial(table_1, aspect="voxels"),
    "a small median is the patch": small_median_is_patch,
    "poolings in 2D": partial(pooling, network="2D", most=6, ends=lambda size: size < 8),
    "poolings in 3D": partial(pooling, network="3D", most=5, ends=lambda size: size <= 8),
    "patch limit": patch_limit,
    "five per cent": five_per_cent,
    "whole slices": whole_slices,
    "cascades": cascades,
    "skull-stripped brains": skull_stripped,
    "64 predictions": predictions_a_voxel,
    "the cascade leads": cascade_leads,
    "the test set recovers": test_recovers,
    "recall as printed": recall_column,
    "strides add parameters": partial(parameters, down="stride"),
    "transposed convolutions add parameters": partial(parameters, up="transposed"),
    "squeeze-excitation adds few parameters": partial(few_parameters, se="none"),
    "strides make activations grow": growth,
}
