"""Feature space ``depth-stat`` of depth maps: block means of the coded depth, for distances between sets of maps."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from harness.metrics.card import MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import TooSmall
from harness.metrics.samples import float_array, in_blocks

SPACE = "depth-stat"
CELLS = 8

_FLOOR = "the mean depth map; noise with the data's mean and variance"
_ORACLE = "real depth against disjoint real depth"
FID_DEPTH = MetricCard(
    "fid_depth", "squared coded depth", "lower", (0.0, math.inf), ("n", "resize"), min_n=2, floor=_FLOOR, oracle=_ORACLE
)
KID_DEPTH = MetricCard(
    "kid_depth", "squared kernel unit", "lower", (-math.inf, math.inf), ("n", "resize"), min_n=2, floor=_FLOOR,
    oracle=_ORACLE,
)  # fmt: skip
CARDS: tuple[MetricCard, ...] = (FID_DEPTH, KID_DEPTH)


def depth_statistics(depth: Array) -> Tensor:
    """Means over an 8 x 8 grid of blocks, float64 [N,64]; where the side is not a multiple of 8, blocks overlap.

    ``depth`` float [N,H,W], the coded depth d. Raises TooSmall (below 8 x 8), ShapeMismatch, EmptyInput, NonFinite.
    """
    maps = float_array(depth, "depth", (None, None, None), metric=SPACE)
    if min(maps.shape[1:]) < CELLS:
        raise TooSmall(f"depth is {tuple(maps.shape)}, expected at least {CELLS}x{CELLS} pixels", where=SPACE)
    return in_blocks(lambda part: adaptive_avg_pool2d(part[:, None], CELLS).flatten(1), maps)
