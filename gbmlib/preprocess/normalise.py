"""Intensities brought to a common scale: image by image, or by statistics of the training cases.

One scheme is for all channels, or each channel has its own (:func:`schemes_of`), as CT and PET of one patient do.

======================  ==============================================================================================
scheme                  what it does
======================  ==============================================================================================
``"image"``             each image less its mean, over its deviation, both over its non-zero voxels; zero stays zero
``"whole"``             the same over all voxels of the cropped case, zeros included
``"dataset"``           by the mean and deviation of all training cases; zero stays zero
``"position"``          the same for each voxel position
``"ct"``                clipped to percentiles of the foreground of all training cases, then by its mean and deviation
``"ct_masked"``         the same inside the non-zero mask, zero outside
======================  ==============================================================================================

``"image"`` is the rule of Adeniji and Liu (2019, section 4.1). Isensee et al. (2018, section 2.2) use ``"image"`` where
cropping takes away a quarter of the average case or more and ``"whole"`` where it takes less, and for computed
tomography ``"ct_masked"`` and ``"ct"`` (:func:`scheme_for`). For the other two see :func:`statistics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from gbmlib.cohorts import Case, CaseError

NORMALISATION = ("image", "dataset", "position", "whole", "ct", "ct_masked")

#: Schemes that need :func:`statistics` of the training cases.
BY_STATISTICS = ("dataset", "position", "ct", "ct_masked")

#: Schemes by which a zero voxel is background and stays zero; under the others it is a value as any.
ZERO_IS_BACKGROUND = ("image", "dataset", "position", "ct_masked")

#: What CT is clipped to, in per cent of the foreground's voxels (Isensee et al. 2018, section 2.2).
PERCENTILES = (0.5, 99.5)

#: Bits of a float32 that tell one bin of a histogram from another: sign, exponent, and the first 13 of its digits.
BITS = 22


@dataclass(frozen=True)
class Statistics:
    """Means and deviations of the training cases, by which every case is normalised alike (:func:`statistics`).

    Attributes:
        mean, deviation: float32, (channel, 1, 1, 1) over a whole data set, or (channel, z, y, x) for each voxel
            position of the native grid.
        low, high: of CT, what intensities are clipped to, float32 (channel, 1, 1, 1); None otherwise.
    """

    mean: np.ndarray
    deviation: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @property
    def of_ct(self) -> bool:
        return self.low is not None

    def of_channel(self, number: int) -> Statistics:
        """The statistics of one channel, which stays an axis of the arrays."""
        return Statistics(**{name: array[number : number + 1] for name, array in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are not None, by name; ``Statistics(**arrays)`` is the way back."""
        return {name: array for name, array in vars(self).items() if array is not None}


def scheme_for(kind: str, masked: bool) -> str:
    """The scheme of Isensee et al. (2018, section 2.2) for a channel of a kind, ``"MR"`` or ``"CT"``.

    Args:
        masked: whether cropping takes away a quarter of the average case or more.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in ("MR", "CT"):
        raise ValueError(f"kind {kind!r}: unknown; use 'MR' or 'CT'")
    if kind == "CT":
        return "ct_masked" if masked else "ct"
    return "image" if masked else "whole"


def schemes_of(normalisation: str | Sequence[str], channels: int) -> tuple[str, ...]:
    """The scheme of each channel, from one for all of them or one for each.

    Raises:
        ValueError: an unknown scheme, another number of schemes than of channels, or two schemes by statistics: a run
            keeps one kind of them.
    """
    schemes = (normalisation,) * channels if isinstance(normalisation, str) else tuple(normalisation)
    if unknown := [scheme for scheme in schemes if scheme not in NORMALISATION]:
        raise ValueError(f"normalisation {unknown[0]!r}: unknown; use one of {NORMALISATION}")
    if len(schemes) != channels:
        raise ValueError(f"normalisation {schemes} is for {len(schemes)} channels, not {channels}; give each its own")
    if len(set(schemes) & set(BY_STATISTICS)) > 1:
        raise ValueError(f"normalisation {schemes}: two schemes need statistics of the training cases; use one")
    return schemes


def statistics_kind(normalisation: str | Sequence[str]) -> str | None:
    """The kind of :func:`statistics` that a normalisation needs for some channel; None where it needs none."""
    schemes = (normalisation,) if isinstance(normalisation, str) else normalisation
    return next((scheme for scheme in schemes if scheme in BY_STATISTICS), None)


def zscore(images: np.ndarray, whole: bool = False) -> np.ndarray:
    """Each channel less its mean, over its deviation, both taken over its non-zero voxels; zero stays zero.

    A constant channel becomes zero. With ``whole`` all voxels count and are moved, zeros as well. Each channel has its
    own non-zero voxels, where masked CT (and nnU-Net's code) take those of any channel.
    """
    out = np.zeros(images.shape, np.float32)
    for channel, normalised in zip(images, out, strict=True):
        inside = np.ones(channel.shape, bool) if whole else channel != 0
        values = channel[inside].astype(np.float64)
        if values.size:
            normalised[inside] = (values - values.mean()) / max(values.std(), 1e-8)
    return out


def standardise(images: np.ndarray, by: Statistics) -> np.ndarray:
    """Images (channel, z, y, x) less the mean, over the deviation, float32; zero voxels are background and stay zero.

    Where the deviation is zero the result is zero. The code behind ``"dataset"`` moves the background too, to
    -mean / deviation; here the schemes differ in their statistics alone.
    """
    varies = by.deviation > 0
    out = (images - by.mean) / np.where(varies, by.deviation, 1)
    return np.where((images != 0) & varies, out, 0).astype(np.float32)


def clip_and_standardise(images: np.ndarray, by: Statistics) -> np.ndarray:
    """CT images (channel, z, y, x) clipped to ``by.low`` and ``by.high``, less the mean, over the deviation, float32.

    A zero is a value as any: in Hounsfield units it is water.
    """
    varies = by.deviation > 0
    out = (np.clip(images, by.low, by.high) - by.mean) / np.where(varies, by.deviation, 1)
    return np.where(varies, out, 0).astype(np.float32)


def nonzero_mask(images: np.ndarray) -> np.ndarray:
    """Where any channel of images (channel, z, y, x) is not zero, with holes filled: bool (z, y, x).

    As nnU-Net's public code (``create_nonzero_mask``) has it; a zero amid tissue is no background.
    """
    return ndimage.binary_fill_holes(images.any(axis=0))


def statistics(cases: Iterable[Case], kind: str) -> Statistics:
    """Means and deviations over training cases, read one after another and once each, summed in float64.

    Adeniji and Liu (2019, section 5.1.1) chose image-wise normalisation over "pixel-wise" normalisation, which they do
    not define. Two readings:

    - ``"position"``: a mean and a deviation for each voxel position of the native grid over the cases, zeros included.
      This is what the words say, and it would lose "relative spatial information" as the paper reports. It needs cases
      on one grid. At the rim, where few training brains reach, deviations are small, and a case can lie hundreds off.
    - ``"dataset"``: one mean and deviation for each channel, over the non-zero voxels of all cases. This is what their
      code computes (vliu15/3d-brain-tumor-segmentation), under the name of voxel-wise statistics.

    And of Isensee et al. (2018, section 2.2):

    - ``"ct"``, ``"ct_masked"``: for each channel the 0.5 and 99.5 percentiles, mean and deviation of every voxel under
      any label of any case. Memory does not grow with the data: percentiles come from counts (:class:`Histogram`),
      exact for the whole numbers that CT consists of.

    Deviations are those of the population (divided by n). The images' own way is :func:`zscore`.

    Raises:
        CaseError: no case; for ``"position"`` a single one or cases of different shapes; for CT cases without a label
            (all are named), or no labelled voxel in any.
        ValueError: a kind that has no statistics.
    """
    if kind not in BY_STATISTICS:
        raise ValueError(f"statistics {kind!r}: unknown; use one of {BY_STATISTICS}")
    if kind in ("ct", "ct_masked"):
        return _foreground(cases, kind)
    count = mean = squares = 0  # squares: the sum of squared differences from the mean
    first = None
    for case in cases:
        images = case.images()
        if kind == "dataset":
            n, new_mean, new_squares = _moments([channel[channel != 0] for channel in images])
        else:
            first = first or (case.id, images.shape)
            if images.shape != first[1]:
                raise CaseError(
                    f"normalisation 'position' needs cases on one grid, but case {first[0]} has the shape {first[1]} "
                    f"and case {case.id} {images.shape} (channel, z, y, x); register them, or normalise by 'image'"
                )
            n, new_mean, new_squares = 1, images.astype(np.float64), 0
        count, mean, squares = _joined(count, mean, squares, n, new_mean, new_squares)
    if np.ndim(mean) == 0:
        raise _no_case(kind)
    if kind == "position" and count == 1:
        raise CaseError(f"normalisation 'position' needs two training cases or more; there is only {first[0]}")
    return _of_moments(count, mean, squares)


def _foreground(cases: Iterable[Case], kind: str) -> Statistics:
    """Statistics of every voxel under a label."""
    count = mean = squares = 0
    histograms: list[Histogram] = []
    unlabelled = []
    for case in cases:
        if not case.has_label:
            unlabelled.append(case.id)
            continue
        inside = case.label() > 0
        values = [channel[inside] for channel in case.images()]
        histograms = histograms or [Histogram() for _ in values]
        for histogram, of_channel in zip(histograms, values, strict=True):
            histogram.add(of_channel)
        count, mean, squares = _joined(count, mean, squares, *_moments(values))
    if unlabelled:
        raise CaseError(
            f"normalisation {kind!r} takes its statistics from labelled voxels, but {len(unlabelled)} of the training "
            f"cases have no label: {', '.join(unlabelled)}; leave them out of the training"
        )
    if not histograms:
        raise _no_case(kind)
    if not histograms[0].count:
        raise CaseError(f"normalisation {kind!r}: no voxel of any training case is labelled; check the label files")
    low, high = (
        np.array([histogram.percentile(percent) for histogram in histograms], np.float32).reshape(-1, 1, 1, 1)
        for percent in PERCENTILES
    )
    return replace(_of_moments(count, mean, squares), low=low, high=high)


def _no_case(kind: str) -> CaseError:
    return CaseError(f"normalisation {kind!r} needs training cases to take its means from; there is none")


def _joined(count, mean, squares, n, new_mean, new_squares):
    """The statistics of two parts together (Chan et al. 1979): no difference of large sums, so no digits are lost."""
    total, gap = count + n, new_mean - mean
    share = n / np.maximum(total, 1)
    return total, mean + gap * share, squares + new_squares + gap**2 * count * share


def _of_moments(count: np.ndarray | float, mean: np.ndarray, squares: np.ndarray) -> Statistics:
    return Statistics(mean.astype(np.float32), np.sqrt(squares / np.maximum(count, 1)).astype(np.float32))


def _moments(several: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, mean, and sum of squared differences from the mean of some values of each channel: (channel, 1, 1, 1)."""
    rows = []
    for values in several:
        values = values.astype(np.float64)
        mean = values.mean() if values.size else 0.0
        rows.append((values.size, mean, np.square(values - mean).sum()))
    return tuple(np.array(column).reshape(-1, 1, 1, 1) for column in zip(*rows, strict=True))


class Histogram:
    """Counts of float32 numbers in bins as fine as their leading digits: 32 MB, however many numbers there are.

    A bin holds the numbers that share sign, exponent and the first 14 binary digits. So every whole number up to 16,384
    has a bin of its own, as Hounsfield units do, and percentiles are exact; others are known to one part in 8,192.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2**BITS, np.int64)

    @property
    def count(self) -> int:
        """How many numbers were added."""
        return int(self._counts.sum())

    def add(self, values: np.ndarray) -> None:
        """Count finite numbers of any shape."""
        bits = np.ascontiguousarray(values, np.float32).ravel().view(np.uint32)
        # As unsigned integers, positive floats are in order and negative ones in reverse order.
        ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
        self._counts += np.bincount(ordered >> (32 - BITS), minlength=2**BITS)

    def percentile(self, percent: float) -> float:
        """As ``np.percentile`` of all the numbers, by linear interpolation between two of them; one at least."""
        total = np.cumsum(self._counts)
        place = percent / 100 * (int(total[-1]) - 1)
        below = int(place)
        low, high = (self._value(np.searchsorted(total, i, side="right")) for i in (below, below + (place > below)))
        return low + (high - low) * (place - below)

    def _value(self, bin_number: np.integer) -> float:
        """The number of a bin that is nearest to zero: the whole number, where it holds one."""
        ordered = np.uint32(bin_number) << np.uint32(32 - BITS)
        positive = ordered >> 31
        bits = ordered & np.uint32(0x7FFFFFFF) if positive else ~(ordered | np.uint32(2 ** (32 - BITS) - 1))
        return float(bits.view(np.float32))
