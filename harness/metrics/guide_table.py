"""Where many unsorted scores fall among a few sorted ones: a guide table instead of a sort.

A table over cells of the float's bit pattern holds, for each cell, the first reference value in it; a look-up and a few
steps forward then replace a binary search (Chen and Asau, "On generating random variates from an empirical
distribution", 1974). A cell is only the first guess; every step compares the values themselves, so the answer is exact.
"""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 20  # scores looked up at once: their temporaries stay in the last-level cache
CELLS_PER_VALUE = 4
MOST_CELLS = 1 << 22
FEW = 8  # values below the first cell boundary, and steps before a binary search takes over


class GuideTable:
    """Answers ``np.searchsorted(reference, values)`` for distinct ascending ``reference``, float32 or float64 [m >= 1].

    Cells have equal width in the bits of the difference to the smallest value, which is close to logarithmic: heavy
    tails cost nothing. Rounding keeps differences in order, so a value never lands behind its place.
    """

    def __init__(self, reference: np.ndarray) -> None:
        self.reference = reference
        self._ended = np.append(reference, np.array(np.inf, reference.dtype))
        self._bits = np.dtype(f"i{reference.dtype.itemsize}")
        bits = self._difference(reference)
        self._low, self._high = bits[min(len(bits) - 1, FEW)], bits[-1]
        span = int(self._high) - int(self._low)
        cells = min(CELLS_PER_VALUE * len(bits), MOST_CELLS)
        self._shift = max(0, span.bit_length() - cells.bit_length())
        self._first = np.searchsorted(self._cell(bits), np.arange((span >> self._shift) + 1)).astype(np.int32)

    def locate(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many reference values lie below each of ``values`` [n], int32 [n], and whether the next one equals it.

        ``values`` finite, of the reference's dtype; call it on blocks of ``BLOCK``.
        """
        place = self._first.take(self._cell(self._difference(values)))
        found = self._ended.take(place)
        tied = found == values
        behind = np.flatnonzero(found < values)
        late, at = values.take(behind), place.take(behind)
        for step in range(FEW + 1):
            at = at + 1 if step < FEW else np.searchsorted(self.reference, late).astype(np.int32)
            found = self._ended.take(at)
            place[behind], tied[behind] = at, found == late
            still = np.flatnonzero(found < late)
            behind, late, at = behind.take(still), late.take(still), at.take(still)
            if not len(behind):
                break
        return place, tied

    def count(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many of ``values`` [n] lie above each reference value, and how many equal it: int64 [m], int64 [m]."""
        size = len(self.reference) + 1
        places, ties = np.zeros(size, np.int64), np.zeros(size, np.int64)
        for start in range(0, len(values), BLOCK):
            place, tied = self.locate(values[start : start + BLOCK])
            places += np.bincount(place, minlength=size)
            ties += np.bincount(place[tied], minlength=size)
        return len(values) - places.cumsum()[:-1], ties[:-1]

    def _difference(self, values: np.ndarray) -> np.ndarray:
        """Bits of the difference to the smallest reference value: negative integers for values below it."""
        with np.errstate(over="ignore"):  # infinity is in order, too
            return (values - self.reference[0]).view(self._bits)

    def _cell(self, bits: np.ndarray) -> np.ndarray:
        return (np.clip(bits, self._low, self._high) - self._low) >> self._shift
