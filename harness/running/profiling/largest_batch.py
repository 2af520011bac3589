"""The largest batch that fits, by doubling and then bisection."""

from __future__ import annotations

from collections.abc import Callable

import torch

LIMIT = 4096


def largest_fitting(fits: Callable[[int], bool], known: int, limit: int = LIMIT) -> int:
    """The largest batch up to ``limit`` for which ``fits``, of which ``known`` >= 1 does.

    Doubles until a batch does not fit, then halves the gap down to an eighth of the batch: never more than that below
    the true one.
    """
    low, high = known, known
    while low < limit:
        high = min(2 * low, limit)
        if not fits(high):
            break
        low = high
    else:
        return low
    while high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, on a GPU or on the machine."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("can't allocate memory" in text or "not enough memory" in text)
