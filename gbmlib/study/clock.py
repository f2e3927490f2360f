"""The time that the parts of a run take."""

from __future__ import annotations

import time


class Clock:
    """Seconds since the last lap."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self) -> float:
        now = time.monotonic()
        lap, self._since = now - self._since, now
        return round(lap, 1)
