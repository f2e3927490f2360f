"""Learning rates as pure functions of the epoch.

Adeniji and Liu (2019) describe their decay twice: equation 1 is polynomial, and section 5.1.3 says "linear annealing".
Both are here. The polynomial is the default: an equation is exact where two words are not, it is Myronenko's, whom they
say they follow (section 3.1), and it is what their code computes. Little hangs on it: the polynomial lies above the
line by at most 3.9 % of the peak (0.9^9 - 0.9^10, after 65 % of the epochs).
"""

from __future__ import annotations


def constant(epoch: int, peak: float, epochs: int) -> float:
    """The same rate throughout."""
    return peak


def polynomial(epoch: int, peak: float, epochs: int, power: float = 0.9) -> float:
    """Decay to zero over ``epochs``: peak (1 - e / N)^0.9, equation 1 of Adeniji and Liu, from Myronenko."""
    return peak * (1 - epoch / epochs) ** power


def linear(epoch: int, peak: float, epochs: int) -> float:
    """Decay to zero over ``epochs`` along a line: peak (1 - e / N), the annealing of Adeniji and Liu, section 5.1.3."""
    return peak * (1 - epoch / epochs)


SCHEDULES = {"constant": constant, "polynomial": polynomial, "linear": linear}


def learning_rate(schedule: str, epoch: int, peak: float, epochs: int, warmup: int = 0, start: float = 0.1) -> float:
    """The rate of an epoch (counted from 0): the schedule's, but below a line that climbs for ``warmup`` epochs.

    The line goes from ``start`` times the peak at epoch 0 to the peak at epoch ``warmup`` (Adeniji and Liu, section
    3.2.4: from 1e-6 to 1e-5 over ten epochs); the smaller of the two holds, as in the paper's code.
    """
    rate = SCHEDULES[schedule](epoch, peak, epochs)
    if warmup:
        rate = min(rate, peak * (start + (1 - start) * epoch / warmup))
    return rate
