"""Learning-rate schedules: pure functions of the epoch, or of the history so far.

Adeniji and Liu (2019) describe their decay twice: equation 1 is polynomial, and section 5.1.3 says "linear annealing".
The polynomial is taken: it is an equation, it is Myronenko's, whom they say they follow (section 3.1), and their
code computes it. The difference is small: the polynomial lies above the line by at most 3.9 % of the peak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate


def polynomial(epoch: int, peak: float, epochs: int, power: float = 0.9) -> float:
    """Decay to zero over ``epochs``: peak (1 - e / N)^0.9, equation 1 of Adeniji and Liu, from Myronenko."""
    return peak * (1 - epoch / epochs) ** power


@dataclass(frozen=True)
class Plateau:
    """A rate that falls when the training loss stands still, and an end of training (Isensee et al. 2018, section 2.4).

    Both are decided by exponential moving averages over epochs, which follow from the history alone.

    Attributes:
        smoothing: the share of an average that an epoch keeps. The paper does not state it; the code has 0.93.
        factor: by which the rate is multiplied when it falls.
        threshold, patience: the rate falls where the average training loss has not fallen by more than this within this
            many epochs and one (the code's 31 of the text's 30).
        watched: the column of the history whose average decides the end.
        stop_threshold, stop_patience: likewise for the end.
        least_rate: training does not end before the rate is at most this.
    """

    smoothing: float
    factor: float
    threshold: float
    patience: int
    watched: str
    stop_threshold: float
    stop_patience: int
    least_rate: float


#: The constants of the paper's text. (Its first public code, MIC-DKFZ/nnUNet, 2019, has others.)
PLATEAUS = {"plateau_paper": Plateau(0.93, 0.2, 5e-3, 30, "val_loss", 5e-3, 60, 1e-6)}


def averaged(values: Sequence[float], smoothing: float) -> list[float]:
    """The exponential moving average after each epoch; it begins at the first value."""
    return list(accumulate(values, lambda average, value: smoothing * average + (1 - smoothing) * value))


def plateau_rate(rule: Plateau, history: Sequence[Mapping[str, float]], peak: float) -> float:
    """The rate of the epoch after a history: the peak, times the factor for each time that the average stood still."""
    rate, best, waited = peak, float("inf"), 0
    for average in averaged([row["train_loss"] for row in history], rule.smoothing):
        if average < best - rule.threshold:
            best, waited = average, 0
        else:
            waited += 1
        if waited > rule.patience:
            rate, waited = rate * rule.factor, 0
    return rate


def plateau_over(rule: Plateau, history: Sequence[Mapping[str, float]]) -> bool:
    """Whether training has ended with this history, whose first ``learning_rate`` is the peak.

    The next epoch's rate counts, since the public code lets the rate fall before it asks.
    """
    if not history:
        return False
    following = [row["learning_rate"] for row in history[1:]]
    following.append(plateau_rate(rule, history, history[0]["learning_rate"]))
    best, waited = float("inf"), 0
    for average, rate in zip(averaged([row[rule.watched] for row in history], rule.smoothing), following, strict=True):
        if average < best - rule.stop_threshold:
            best, waited = average, 0
        else:
            waited += 1
        if waited > rule.stop_patience and rate <= rule.least_rate:
            return True
    return False


def learning_rate(epoch: int, peak: float, epochs: int, warmup: int = 0, start: float = 0.1) -> float:
    """The rate of an epoch, counted from 0: the smaller of the polynomial's and, for ``warmup`` epochs, a rising line.

    The line goes from ``start`` times the peak at epoch 0 to the peak at epoch ``warmup`` (Adeniji and Liu, section
    3.2.4: from 1e-6 to 1e-5 over ten epochs; their code takes the smaller of the two).
    """
    rate = polynomial(epoch, peak, epochs)
    if warmup:
        rate = min(rate, peak * (start + (1 - start) * epoch / warmup))
    return rate
