"""One comparison: two ways to do the same thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Prepares what is measured, and returns it.
Side = Callable[[], Callable[[], object]]


@dataclass(frozen=True)
class Pair:
    """Two ways to do one thing.

    Attributes:
        name: what is done, and with what.
        ours, theirs: see :data:`Side`.
        memory: whether peak memory is measured too.
    """

    name: str
    ours: Side
    theirs: Side
    memory: bool = False
