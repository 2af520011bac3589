"""Which files of a folder are held out, and which training files a smaller run keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from harness.types import ConfigError, DataError

Item = TypeVar("Item")


def held_out(items: Sequence[Item], share: str | int | float | bool) -> dict[str, tuple[Item, ...]]:
    """Splits ``train`` and ``test``: the test is a ``share`` of ``items``, evenly spread, at least one of two.

    A share of 0 gives no test. Raises ConfigError for a share outside [0, 0.5].
    """
    if isinstance(share, (str, bool)) or not 0 <= share <= 0.5:
        raise ConfigError(f"holdout={share} is not in [0, 0.5]", remedy="It is the share of images held out as test.")
    if not share or len(items) < 2:
        return {"train": tuple(items)}
    step = min(round(1 / share), len(items))
    test = tuple(items[step - 1 :: step])
    train = tuple(item for k, item in enumerate(items) if (k + 1) % step)
    return {"train": train, "test": test}


def subset_size(value: str | int | float | bool) -> int:
    """The option ``subset`` as a number, 0 for all; raises ConfigError for anything but a whole number from 0."""
    whole = not isinstance(value, (str, bool)) and float(value).is_integer()
    if not whole or float(value) < 0:
        raise ConfigError(
            f"subset={value} is no number of images", remedy="Give a count such as 2000, or 0 for all training images."
        )
    return int(value)


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """``items`` in an order that the seed decides: the first 100 of it are among its first 2000."""
    return [items[k] for k in np.random.Generator(np.random.Philox(seed)).permutation(len(items))]


def subset(items: Sequence[Item], count: int, seed: int) -> tuple[Item, ...]:
    """The first ``count`` of the shuffled ``items``, in that order; all in their own order where ``count`` is 0.

    Raises DataError where there are fewer.
    """
    check_enough(len(items), count)
    return tuple(shuffled(items, seed)[:count]) if count else tuple(items)


def check_enough(found: int, count: int) -> None:
    """Raise DataError if a subset of ``count`` is to be taken of fewer images."""
    if count > found:
        raise DataError(
            f"subset={count}, but there are {found} training images", remedy="Lower data.options.subset, or 0 for all."
        )
