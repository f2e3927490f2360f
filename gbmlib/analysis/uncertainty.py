"""How sure networks are of a region, whether they are right to be, and whether that finds their errors.

*Members* are several probabilities of one region in one case (``analysis.uncertainty_members``). Entropies are in bits:

- *Entropy of the mean*: all that is uncertain about the averaged prediction. We use it to look for errors, since a
  voxel may be wrong because the members disagree as well as because it is ambiguous to all of them.
- *Mutual information* of the decision and the member: the entropy of the mean less the mean entropy of the members
  (Houlsby et al. 2011, arXiv 1112.5745, equation 2), the part that comes from disagreement. It is 0 where all members
  say the same, however unsure each of them is.
- *Split decisions*: the share of pairs of members whose decisions at one half differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage, special, stats
from sklearn.metrics import roc_auc_score

from gbmlib.analysis.intervals import CONFIDENCE, NOTHING, RESAMPLES, Difference, Interval
from gbmlib.evaluation import metrics
from gbmlib.evaluation.components import bounding_box

#: Half the width of the band around the gold standard's boundary, in mm: two voxels of the study's grid.
BAND = 6.0

#: Of the voxels, the most uncertain: in which of the errors are looked for.
SHARES = (0.01, 0.05)

BINS = 10

#: Of a 95 % interval among values that were drawn.
ENDS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True)
class Maps:
    """Voxel-wise summaries of several members' predictions; float32 (z, y, x) in [0, 1].

    Attributes:
        mean: of the probabilities.
        entropy: of the mean, in bits.
        mutual_information: in bits.
    """

    mean: np.ndarray
    entropy: np.ndarray
    mutual_information: np.ndarray


def entropy(probability: np.ndarray) -> np.ndarray:
    """The entropy in bits of a decision with this probability of yes: 0 at 0 and 1, 1 at one half."""
    probability = np.asarray(probability)
    return (special.entr(probability) + special.entr(1 - probability)) / np.log(2).astype(probability.dtype)


def maps(members: Sequence[np.ndarray]) -> Maps:
    """Mean and entropies of two or more members, probabilities of one shape.

    Raises:
        ValueError: fewer than two, shapes that differ, or values outside [0, 1]; each of them is named.
    """
    problems = [] if len(members) > 1 else [f"there is {len(members)} member; disagreement takes two or more"]
    for number, member in enumerate(members):
        if member.shape != members[0].shape:
            problems.append(f"member {number} has shape {member.shape}, member 0 {members[0].shape}")
        elif not (member.min() >= 0 and member.max() <= 1):  # and so where one is no number
            problems.append(f"member {number} has values from {member.min():g} to {member.max():g}, not within 0 and 1")
    if problems:
        raise ValueError("no disagreement can be computed:" + "".join(f"\n- {problem}" for problem in problems))
    count = len(members)
    mean = sum(member.astype(np.float32) for member in members) / np.float32(count)
    expected = sum(entropy(member.astype(np.float32)) for member in members) / np.float32(count)
    together = entropy(np.clip(mean, 0, 1))
    # Rounding may leave a mean of entropies above the entropy of the mean, which cannot be.
    return Maps(mean, together, np.maximum(together - expected, 0))


def band(truth: np.ndarray, spacing: Sequence[float], width: float = BAND) -> np.ndarray:
    """The voxels (z, y, x) whose centre lies within ``width`` mm of a voxel on the other side of a mask's boundary.

    Where the mask is empty there is no boundary, and the band is empty too. It is the gold standard's, so that it is
    the same for every network.
    """
    out = np.zeros(truth.shape, bool)
    if not truth.any():
        return out
    margin = [int(np.ceil(width / step)) + 1 for step in spacing]
    box = tuple(
        slice(max(0, extent.start - more), extent.stop + more)
        for extent, more in zip(bounding_box(truth), margin, strict=True)
    )
    for mask in (truth[box], ~truth[box]):
        if not mask.all():  # without a voxel of the other side there is nothing to be near to
            out[box] |= mask & (ndimage.distance_transform_edt(mask, spacing) <= width)
    return out


# ---------------------------------------------------------------------------------------------------------- calibration


def reliability(probability: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    """Counts behind a reliability curve: a row for each of :data:`BINS` equal parts of [0, 1].

    Columns: ``voxels``, ``predicted`` (the sum of their probabilities) and ``observed`` (how many are in the region),
    so that tables of several cases can be added. A part holds its upper end, the first one 0 too, as in scikit-learn's
    ``calibration_curve``.
    """
    probability, truth = np.ravel(probability).astype(np.float64), np.ravel(truth)
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probability)
    voxels, predicted, observed = (np.bincount(bins, each, BINS) for each in (None, probability, truth))
    return pd.DataFrame({"voxels": voxels, "predicted": predicted, "observed": observed.astype(int)})


def curve(counts: pd.DataFrame) -> pd.DataFrame:
    """Mean probability and share of voxels in the region, of each part that holds any voxels."""
    filled = counts[counts.voxels > 0]
    means = {name: filled[name] / filled.voxels for name in ("predicted", "observed")}
    return pd.DataFrame({"voxels": filled.voxels, **means})


def calibration_error(counts: pd.DataFrame | np.ndarray) -> float:
    """The expected calibration error: |mean probability - share in the region|, averaged over voxels.

    Guo et al. (2017, arXiv 1706.04599), equation 3, here of the region's probability and not of the decision's. NaN
    without voxels.
    """
    voxels, predicted, observed = np.asarray(counts, float).T
    return float(np.abs(predicted - observed).sum() / voxels.sum()) if voxels.sum() else np.nan


def calibration_interval(tables: Sequence[pd.DataFrame]) -> Interval:
    """The calibration error of some cases' voxels together, with a percentile bootstrap interval over cases.

    Fewer than three cases give no interval.

    Raises:
        ValueError: no cases, or none with voxels.
    """
    counts = np.stack([np.asarray(table, float) for table in tables]) if len(tables) else np.zeros((0, 1, 3))
    counts = counts[counts[:, :, 0].sum(1) > 0]
    if not len(counts):
        raise ValueError("no case has voxels to be calibrated on")
    error = calibration_error(counts.sum(0))
    if len(counts) < 3:
        return Interval(error, np.nan, np.nan, len(counts))
    draws = np.random.default_rng(0).integers(len(counts), size=(2000, len(counts)))
    low, high = np.quantile([calibration_error(counts[draw].sum(0)) for draw in draws], ENDS)
    return Interval(error, float(low), float(high), len(counts))


# ---------------------------------------------------------------------------------------------- does it find the errors


def finds_errors(uncertainty: np.ndarray, wrong: np.ndarray) -> float:
    """How likely a wrong voxel is more uncertain than a right one: the area under the ROC curve, ties counting half.

    One half is chance. NaN where all voxels are right or all are wrong.
    """
    wrong = np.ravel(wrong)
    return float(roc_auc_score(wrong, np.ravel(uncertainty))) if 0 < np.count_nonzero(wrong) < wrong.size else np.nan


def share_found(uncertainty: np.ndarray, wrong: np.ndarray, share: float) -> float:
    """Which share of the wrong voxels is among the most uncertain ``share`` of all; by chance it is ``share``.

    Of voxels that are equally uncertain at the end of that part, as many count as it still has room for, the wrong ones
    in proportion. NaN where no voxel is wrong.

    Raises:
        ValueError: a share that is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; it takes a number above 0 and at most 1")
    uncertainty, wrong = np.ravel(uncertainty), np.ravel(wrong)
    errors = np.count_nonzero(wrong)
    if not errors:
        return np.nan
    room = share * wrong.size
    last = np.partition(uncertainty, -int(np.ceil(room)))[-int(np.ceil(room))]
    above, level = uncertainty > last, uncertainty == last
    counted = (room - np.count_nonzero(above)) / np.count_nonzero(level)
    return float((np.count_nonzero(wrong & above) + counted * np.count_nonzero(wrong & level)) / errors)


def correlation(x: Sequence[float], y: Sequence[float]) -> Difference:
    """Spearman's rank correlation over cases with a percentile bootstrap interval over them.

    Resamples in which one side is constant have no correlation and are left out. Fewer than ten cases give no
    interval, since resamples of so few repeat the order that is there; a side that is constant gives no correlation,
    and such a value has no cases.

    Raises:
        ValueError: numbers of values that differ, or values that are not finite.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"a correlation takes pairs of finite values, not {x} and {y}")
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return NOTHING
    correlation = float(_rank_correlation(x, y))
    if len(x) < 10:
        return Difference(correlation, np.nan, np.nan, len(x))
    draws = np.random.default_rng(0).integers(len(x), size=(RESAMPLES, len(x)))
    low, high = np.nanquantile(_rank_correlation(x[draws], y[draws]), ENDS)
    return Difference(correlation, float(low), float(high), len(x))


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's correlation along the last axis; NaN where a side is constant."""
    x, y = (stats.rankdata(side, axis=-1) for side in (x, y))
    x, y = (side - side.mean(-1, keepdims=True) for side in (x, y))
    with np.errstate(invalid="ignore"):
        return (x * y).sum(-1) / np.sqrt((x**2).sum(-1) * (y**2).sum(-1))


# ------------------------------------------------------------------------------------------------------------ of a case

#: What is asked to find the errors of the averaged prediction; the last is what one network knows without the others.
DETECTORS = ("entropy of the mean", "mutual information", "one member's entropy")
PLACES = ("brain", "band")


def measure(
    members: Sequence[np.ndarray], truth: np.ndarray, brain: np.ndarray, spacing: Sequence[float]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All measures of one region in one case: a table, and the counts of :func:`reliability`.

    Errors are those of the averaged prediction at one half. Voxels outside of the brain count nowhere but in Dice.

    Args:
        members: probabilities (z, y, x).
        truth, brain: masks (z, y, x).
        spacing: (z, y, x) in mm.

    Returns:
        Columns ``place`` (brain, band), ``detector``, ``measure``, ``value``: ``auc``, ``found 1%`` and ``found 5%`` of
        each detector, ``mean`` in the brain and (``predicted``) within the prediction; once, without a place, the
        ``dice`` of the average and of the first member. Then ``place``, ``part`` and the counts.

    Raises:
        ValueError: as :func:`maps`; masks of another shape.
    """
    if not truth.shape == brain.shape == members[0].shape:
        raise ValueError(f"members {members[0].shape}, truth {truth.shape} and brain {brain.shape} differ in shape")
    volumes = maps(members)
    decided = volumes.mean >= 0.5
    wrong = decided != truth
    detectors = dict(zip(DETECTORS, (volumes.entropy, volumes.mutual_information, entropy(members[0])), strict=True))
    rows = [
        ("", "", "dice", metrics.dice(decided, truth)),
        ("", "", "dice of one member", metrics.dice(members[0] >= 0.5, truth)),
    ]
    counts = []
    for place, where in zip(PLACES, (brain, brain & band(truth, spacing)), strict=True):
        table = reliability(volumes.mean[where], truth[where])
        counts.append(table.assign(place=place).rename_axis("part").reset_index())
        for name, volume in detectors.items():
            rows.append((place, name, "auc", finds_errors(volume[where], wrong[where])))
            for share in SHARES if where.any() else ():
                rows.append((place, name, f"found {share:.0%}", share_found(volume[where], wrong[where], share)))
    for name, volume in detectors.items():
        for place, where in (("brain", brain), ("predicted", decided)):
            rows.append((place, name, "mean", float(volume[where].mean()) if where.any() else np.nan))
    return pd.DataFrame(rows, columns=["place", "detector", "measure", "value"]), pd.concat(counts, ignore_index=True)


def pooled(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The sum of several tables of :func:`reliability`."""
    return sum(table[["voxels", "predicted", "observed"]].reset_index(drop=True) for table in tables)
