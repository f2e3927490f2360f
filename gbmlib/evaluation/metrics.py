"""How well a segmentation agrees with the truth: overlap of masks, and distances between their surfaces.

Overlap is by equations 6 to 9 of Adeniji and Liu (2019). ``eps`` is their smoothing: the paper uses 1,
:data:`PAPER_EPS`, and with it the equations decide alone (two empty masks have Dice 1 but precision and recall 0). The
default 0 gives the plain ratios, where an empty mask needs a rule. Ours never rewards a miss and never drops a case:

===========  ===========  ====  =========  ======
truth        prediction   Dice  precision  recall
===========  ===========  ====  =========  ======
empty        empty        1     1          1
empty        not empty    0     0          0
not empty    empty        0     0          0
===========  ===========  ====  =========  ======

Masks are boolean, of any shape, NumPy or torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from gbmlib.evaluation import surfaces
from gbmlib.evaluation.surfaces import TOLERANCE, hausdorff95, surface_dice

__all__ = ["TOLERANCE", "accuracy", "dice", "hausdorff95", "precision", "recall", "surface_dice"]

PAPER_EPS = 1.0

#: The names of what :func:`overlap` and :func:`distances` return.
NAMES = ("dice", "precision", "recall", "accuracy")
DISTANCES = ("hausdorff95", "surface_dice", "mean_surface_distance")


@dataclass(frozen=True)
class Counts:
    """Voxels that are right or wrong: true positives, false positives, false negatives, true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def _empty(self) -> float:
        """The ratio where its denominator is 0: see the table above."""
        return 1.0 if self.tp + self.fp + self.fn == 0 else 0.0

    def dice(self, eps: float = 0.0) -> float:
        """Equation 6: (2 |A and B| + eps) / (|A| + |B| + eps)."""
        denominator = 2 * self.tp + self.fp + self.fn + eps
        return (2 * self.tp + eps) / denominator if denominator else self._empty

    def precision(self, eps: float = 0.0) -> float:
        """Equation 8: |A and B| / (|A| + eps), A the prediction."""
        denominator = self.tp + self.fp + eps
        return self.tp / denominator if denominator else self._empty

    def recall(self, eps: float = 0.0) -> float:
        """Equation 9: |A and B| / (|B| + eps), B the truth."""
        denominator = self.tp + self.fn + eps
        return self.tp / denominator if denominator else self._empty

    def accuracy(self, eps: float = 0.0) -> float:
        """Equation 7: the share of voxels that agree; it has no smoothing."""
        return (self.tp + self.tn) / (self.tp + self.fp + self.fn + self.tn)


def count(prediction, truth) -> Counts:
    """Count agreement between two boolean masks of one shape.

    Raises:
        ValueError: shapes differ, or a mask is not boolean (a probability or a label map would be counted wrongly).
    """
    surfaces.check_masks(prediction, truth)
    tp = surfaces.count(prediction & truth)
    fp, fn = surfaces.count(prediction) - tp, surfaces.count(truth) - tp
    return Counts(tp, fp, fn, prod(prediction.shape) - tp - fp - fn)


def dice(prediction, truth, eps: float = 0.0) -> float:
    """Equation 6; see :meth:`Counts.dice`."""
    return count(prediction, truth).dice(eps)


def precision(prediction, truth, eps: float = 0.0) -> float:
    """Equation 8; see :meth:`Counts.precision`."""
    return count(prediction, truth).precision(eps)


def recall(prediction, truth, eps: float = 0.0) -> float:
    """Equation 9; see :meth:`Counts.recall`."""
    return count(prediction, truth).recall(eps)


def accuracy(prediction, truth) -> float:
    """Equation 7; see :meth:`Counts.accuracy`."""
    return count(prediction, truth).accuracy()


def overlap(prediction, truth, eps: float = 0.0) -> dict[str, float]:
    """Dice, precision, recall and accuracy of two masks, by name."""
    counts = count(prediction, truth)
    return {name: getattr(counts, name)(eps) for name in NAMES}


def distances(prediction, truth, spacing: Sequence[float], tolerance: float = TOLERANCE) -> dict[str, float]:
    """HD95, surface Dice and mean surface distance of two masks, by name; spacing and tolerance in mm.

    Raises:
        ValueError: see ``evaluation.surfaces.between``.
    """
    between = surfaces.between(prediction, truth, spacing)
    return dict(zip(DISTANCES, (between.hausdorff(), between.surface_dice(tolerance), between.mean()), strict=True))
