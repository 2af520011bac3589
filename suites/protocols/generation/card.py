"""Cards of the protocol's own columns: companions, floors on the same pixels, and diversity."""

from __future__ import annotations

import math

from harness.metrics.card import Direction, MetricCard


def _card(
    name: str, unit: str, better: Direction, top: float, protocol: tuple[str, ...] = (), *, floor: str, oracle: str
) -> MetricCard:
    return MetricCard(name, unit, better, (0.0, top), protocol, floor=floor, oracle=oracle)


_REAL, _SIDE, _SWAP = "held-out real images", "SIDE times 100", "0.5: both latents change it alike"
FID_SE = _card("fid_se", "squared feature unit", "none", math.inf, ("n",), floor="as fid", oracle="as fid")
KID_SE = _card(
    "kid_full_se", "squared kernel unit", "none", math.inf, ("n",), floor="as kid_full", oracle="as kid_full"
)
DIVERSITY = _card("diversity", "1", "none", math.inf, ("n",), floor="0: one image", oracle="1: real images")
ELEVATION = _card("pose_corr_elev", "1", "none", 1.0, floor="0", oracle="the estimator on exact renders")
SIDE_CONST = _card("side_const", _SIDE, "none", math.inf, floor="is one", oracle=_REAL)
SIDE_MEAN_MAP = _card("side_mean_map", _SIDE, "none", math.inf, floor="is one", oracle=_REAL)
SIDE_OTHER = _card("side_other", _SIDE, "none", math.inf, floor="is one", oracle=_REAL)
SIDE_OWN = _card("side_own", _SIDE, "none", math.inf, floor="side_other", oracle=_REAL)
REPROJ_FLOOR = _card("reproj_floor", "intensity of [-1,1]", "none", 2.0, floor="is one", oracle=_REAL)
SWAP_SHAPE = _card("swap_shape", "share", "higher", 1.0, floor=_SWAP, oracle="1")
SWAP_APPEARANCE = _card("swap_appearance", "share", "higher", 1.0, floor=_SWAP, oracle="1")
CARDS: tuple[MetricCard, ...] = (
    FID_SE, KID_SE, DIVERSITY, ELEVATION, SIDE_CONST, SIDE_MEAN_MAP, SIDE_OTHER, SIDE_OWN, REPROJ_FLOOR, SWAP_SHAPE,
    SWAP_APPEARANCE,
)  # fmt: skip
