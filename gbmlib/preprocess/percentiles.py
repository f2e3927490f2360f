"""Percentiles of more numbers than fit into memory."""

from __future__ import annotations

import numpy as np

#: Bits of a float32 that tell one bin from another: sign, exponent, and 13 of 23 bits after the leading one.
BITS = 22


class Histogram:
    """Counts of float32 numbers in bins as fine as their leading digits: 32 MB, however many numbers there are.

    A bin holds the numbers that share sign, exponent and the first 14 binary digits. So every whole number up to 16,384
    (and every such number over a power of two) has a bin of its own, and its percentiles are exact: intensities of CT
    are whole Hounsfield units from -1,024 to a few thousand. Any other number is known to one part in 8,192.
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
        """As ``np.percentile`` of all the numbers, by linear interpolation between two of them.

        Raises:
            ValueError: nothing was counted, or a percentage that is none.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"percent is {percent}; it goes from 0 to 100")
        total = np.cumsum(self._counts)
        if not total[-1]:
            raise ValueError("a percentile needs numbers; none were counted")
        place = percent / 100 * (int(total[-1]) - 1)
        low, high = (self._value(np.searchsorted(total, index, side="right")) for index in _around(place))
        return low + (high - low) * (place - int(place))

    def _value(self, bin_number: np.integer) -> float:
        """The number of a bin that is nearest to zero: the whole number, where it holds one."""
        ordered = np.uint32(bin_number) << np.uint32(32 - BITS)
        positive = ordered >> 31
        bits = ordered & np.uint32(0x7FFFFFFF) if positive else ~(ordered | np.uint32(2 ** (32 - BITS) - 1))
        return float(bits.view(np.float32))


def _around(place: float) -> tuple[int, int]:
    """The indices below and above a place among sorted numbers."""
    return int(place), int(place) + (place > int(place))
