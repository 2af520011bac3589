"""Cards of the protocol's own columns: agreement with judges, spread of depth, yaw, and what each code changes."""

from __future__ import annotations

import math

from harness.metrics.card import Direction, MetricCard


def _card(name: str, unit: str, better: Direction, top: float, floor: str, oracle: str) -> MetricCard:
    return MetricCard(name, unit, better, (0.0, top), (), floor=floor, oracle=oracle)


_REAL, _JUDGE = "real images and their depth", "the judge on exact views"
_LEVEL = "depth code over its range"
CARDS: tuple[MetricCard, ...] = (
    _card("depth_agree", _LEVEL, "lower", math.inf, "the depth of another room", _REAL),
    _card("depth_agree_floor", _LEVEL, "none", math.inf, "is one", _REAL),
    _card("side_judge", "SIDE times 100", "none", math.inf, "is one", _REAL),
    _card("depth_std", _LEVEL, "none", math.inf, "0: flat", _REAL),
    _card("yaw_corr", "1", "higher", 1.0, "a generator that ignores the yaw: 0", _JUDGE),
    _card("yaw_slope", "1", "higher", math.inf, "a generator that ignores the yaw: 0", _JUDGE),
    _card("yaw_mae", "deg", "lower", 180.0, "the mean yaw for every image", _JUDGE),
    _card("swap_depth", _LEVEL, "lower", math.inf, "", "0: appearance never changes depth"),
    _card("swap_rgb_same_depth", "intensity of [-1,1]", "none", 2.0, "0: one appearance", ""),
    _card("edge_corr_other", "1", "none", 1.0, "is one", _REAL),
    _card("d_depth_ce_prior", "nat", "none", math.inf, "is one", "0"),
)
