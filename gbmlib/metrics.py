"""Overlap of a segmentation with the truth: equations 6 to 9 of Adeniji and Liu (2019).

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

from dataclasses import dataclass

PAPER_EPS = 1.0
NAMES = ("dice", "precision", "recall", "accuracy")


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
    if tuple(prediction.shape) != tuple(truth.shape):
        raise ValueError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape")
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if "bool" not in str(mask.dtype):
            raise ValueError(f"{name} is {mask.dtype}, not boolean; compare it with a threshold or a label first")
    tp = int((prediction & truth).sum())
    fp, fn = int(prediction.sum()) - tp, int(truth.sum()) - tp
    voxels = 1
    for size in prediction.shape:
        voxels *= int(size)
    return Counts(tp, fp, fn, voxels - tp - fp - fn)


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
