"""How well a segmentation agrees with the truth: overlap, distances, volumes.

Overlap is by equations 6 to 9 of Adeniji and Liu (2019); distances in mm are those of ``evaluation.surfaces``, where
their definitions and empty masks are told.

Masks are boolean, of any shape, NumPy or torch. ``eps`` is the paper's smoothing: it uses 1, which is
:data:`PAPER_EPS`. The default 0 gives the plain ratios, where an empty mask needs a rule. Ours never rewards a miss
and never drops a case:

===========  ===========  ====  =========  ======
truth        prediction   Dice  precision  recall
===========  ===========  ====  =========  ======
empty        empty        1     1          1
empty        not empty    0     0          0
not empty    empty        0     0          0
===========  ===========  ====  =========  ======

With ``eps = 1`` the equations decide alone: two empty masks have Dice 1 but precision and recall 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from gbmlib.evaluation import surfaces
from gbmlib.evaluation.surfaces import TOLERANCE, hausdorff95, mean_surface_distance, surface_dice, volume_ml

__all__ = [
    "DISTANCES",
    "NAMES",
    "PAPER_EPS",
    "TOLERANCE",
    "VOLUMES",
    "Counts",
    "accuracy",
    "complete",
    "count",
    "dice",
    "distances",
    "every",
    "hausdorff95",
    "mean_surface_distance",
    "precision",
    "recall",
    "surface_dice",
    "volume_ml",
]

PAPER_EPS = 1.0

#: What :func:`every` gives, :func:`distances`, and :func:`complete` beside both.
NAMES = ("dice", "precision", "recall", "accuracy")
DISTANCES = ("hausdorff95", "surface_dice", "mean_surface_distance")
VOLUMES = ("volume_ml", "true_volume_ml")


@dataclass(frozen=True)
class Counts:
    """Voxels that are right or wrong: true positives, false positives, false negatives, true negatives."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def _empty(self) -> float:
        return 1.0 if self.tp + self.fp + self.fn == 0 else 0.0

    def dice(self, eps: float = 0.0) -> float:
        """Equation 6: (2 |A and B| + eps) / (|A| + |B| + eps)."""
        below = 2 * self.tp + self.fp + self.fn + eps
        return (2 * self.tp + eps) / below if below else self._empty

    def precision(self, eps: float = 0.0) -> float:
        """Equation 8: |A and B| / (|A| + eps), A the prediction."""
        below = self.tp + self.fp + eps
        return self.tp / below if below else self._empty

    def recall(self, eps: float = 0.0) -> float:
        """Equation 9: |A and B| / (|B| + eps), B the truth."""
        below = self.tp + self.fn + eps
        return self.tp / below if below else self._empty

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


def every(prediction, truth, eps: float = 0.0) -> dict[str, float]:
    """All four metrics of one pair of masks, by name."""
    counts = count(prediction, truth)
    return {name: getattr(counts, name)(eps) for name in NAMES}


def distances(prediction, truth, spacing: Sequence[float], tolerance: float = TOLERANCE) -> dict[str, float]:
    """All three metrics of distance of one pair of masks, by name, from one search; see ``evaluation.surfaces``.

    Args:
        spacing, tolerance: in mm.

    Raises:
        ValueError: see ``evaluation.surfaces.between``.
    """
    found = surfaces.between(prediction, truth, spacing)
    return dict(zip(DISTANCES, (found.hausdorff(), found.surface_dice(tolerance), found.mean()), strict=True))


def complete(
    prediction, truth, spacing: Sequence[float], tolerance: float = TOLERANCE, eps: float = 0.0
) -> dict[str, float]:
    """Everything of one pair of masks, by name: overlap, distances in mm, and the volumes of both in ml."""
    counts = count(prediction, truth)
    volumes = (surfaces.volume_ml(mask, spacing) for mask in (prediction, truth))
    out = {name: getattr(counts, name)(eps) for name in NAMES}
    return out | distances(prediction, truth, spacing, tolerance) | dict(zip(VOLUMES, volumes, strict=True))
