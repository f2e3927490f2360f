"""Learning rates as pure functions of the epoch."""

from __future__ import annotations


def constant(epoch: int, peak: float, epochs: int) -> float:
    """The same rate throughout."""
    return peak


def polynomial(epoch: int, peak: float, epochs: int, power: float = 0.9) -> float:
    """Decay to zero over ``epochs``: peak (1 - e / N)^0.9, equation 1 of Adeniji and Liu (2019), from Myronenko."""
    return peak * (1 - epoch / epochs) ** power


SCHEDULES = {"constant": constant, "polynomial": polynomial}


def learning_rate(schedule: str, epoch: int, peak: float, epochs: int, warmup: int = 0, start: float = 0.1) -> float:
    """The rate of an epoch (counted from 0): the schedule's, but below a line that climbs for ``warmup`` epochs.

    The line goes from ``start`` times the peak at epoch 0 to the peak at epoch ``warmup`` (Adeniji and Liu, section
    3.2.4: from 1e-6 to 1e-5 over ten epochs); the smaller of the two holds, as in the paper's code.
    """
    rate = SCHEDULES[schedule](epoch, peak, epochs)
    if warmup:
        rate = min(rate, peak * (start + (1 - start) * epoch / warmup))
    return rate
