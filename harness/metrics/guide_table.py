"""Where many unsorted scores fall among a few sorted ones: a guide table instead of a sort.

A table over cells of the score axis holds, for each cell, the first reference value in it; a look-up and a few steps
forward then replace a binary search (Chen and Asau, "On generating random variates from an empirical distribution",
1974). A cell is only the first guess; every step compares the values themselves, so the answer is exact.
"""

from __future__ import annotations

import numpy as np

BLOCK = 1 << 18  # scores looked up at once, or more if the reference is longer: temporaries stay in cache
MOST_BUCKETS = 1 << 16  # of float32: sign, exponent and seven bits of the fraction
BUCKETS_PER_VALUE = 64
CELLS_PER_VALUE = 2
STEPS = 8  # steps forward before a binary search takes over


class GuideTable:
    """Answers ``np.searchsorted(reference, values)`` for distinct ascending ``reference``, float32 or float64 [m >= 1].

    The leading bits of a score, put into the order of the numbers, choose one of up to 65,536 buckets; each is cut into
    two to four equal cells per reference value that it holds, so neither heavy tails nor clusters crowd a cell.
    """

    def __init__(self, reference: np.ndarray) -> None:
        self.reference = reference
        self._ended = np.append(reference, np.array(np.inf, reference.dtype))
        bits = 8 * reference.dtype.itemsize
        self._signed, self._unsigned = np.dtype(f"i{bits // 8}"), np.dtype(f"u{bits // 8}")
        buckets = min(MOST_BUCKETS, BUCKETS_PER_VALUE << len(reference).bit_length())
        self._tail = bits - buckets.bit_length() + 1
        members = np.bincount(self._bucket(self._key(reference)), minlength=buckets)
        depth = np.ceil(np.log2(np.maximum(1, CELLS_PER_VALUE * members))).astype(np.uint64)
        depth = np.minimum(depth, np.uint64(self._tail))
        ends = (np.uint64(1) << depth).cumsum()
        shift = np.uint64(self._tail) - depth
        start = np.arange(buckets, dtype=np.uint64) << np.uint64(self._tail) >> shift
        self._shift = shift.astype(self._unsigned)
        self._offset = (ends - (np.uint64(1) << depth) - start).astype(self._unsigned)  # wraps; so does the sum
        self._first = np.searchsorted(self._cell(reference), np.arange(int(ends[-1]))).astype(np.int32)

    def locate(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many reference values lie below each of ``values`` [n], int32 [n], and whether the next one equals it.

        ``values`` finite, of the reference's dtype; call it on blocks of ``BLOCK``.
        """
        place = self._first.take(self._cell(values))
        found = self._ended.take(place)
        tied = found == values
        behind = np.flatnonzero(found < values)
        late, at = values.take(behind), place.take(behind)
        for step in range(STEPS + 1):
            at = at + 1 if step < STEPS else np.searchsorted(self.reference, late).astype(np.int32)
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
        block = max(BLOCK, 2 * size)
        for start in range(0, len(values), block):
            place, tied = self.locate(values[start : start + block])
            places += np.bincount(place, minlength=size)
            ties += np.bincount(np.compress(tied, place), minlength=size)
        return len(values) - places.cumsum()[:-1], ties[:-1]

    def _key(self, values: np.ndarray) -> np.ndarray:
        """Unsigned integers in the order of the numbers: negative ones inverted, the others without their sign bit."""
        bits = (values + values.dtype.type(0)).view(self._signed)  # adding zero makes -0.0 the same as 0.0
        flip = bits >> (8 * bits.itemsize - 1)
        flip |= np.iinfo(self._signed).min
        bits ^= flip
        return bits.view(self._unsigned)

    def _bucket(self, key: np.ndarray) -> np.ndarray:
        return (key >> self._tail).astype(np.intp)

    def _cell(self, values: np.ndarray) -> np.ndarray:
        key = self._key(values)
        bucket = self._bucket(key)
        key >>= self._shift.take(bucket)
        key += self._offset.take(bucket)
        return key.astype(np.intp)
