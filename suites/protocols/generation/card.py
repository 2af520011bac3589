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
EMPTIES = _card("empties", "share of samples", "lower", 1.0, floor="fog: 1", oracle="0")
_CARD, _CONST, _EXACT = "floor:flat_card", "inv_side_const", "the exact views and meshes themselves"
INV_PSNR = _card("inv_psnr", "dB", "higher", math.inf, floor="floor:mean_image", oracle=_EXACT)
INV_PSNR_NOVEL = _card("inv_psnr_novel", "dB", "higher", math.inf, floor=_CARD, oracle=_EXACT)
INV_SIDE = _card("inv_side", _SIDE, "lower", math.inf, floor=_CONST, oracle=_EXACT)
INV_SIDE_NOVEL = _card("inv_side_novel", _SIDE, "lower", math.inf, floor=_CARD, oracle=_EXACT)
INV_SIDE_CONST = _card("inv_side_const", _SIDE, "none", math.inf, floor="is one", oracle=_EXACT)
INV_SIDE_MEAN_MAP = _card("inv_side_mean_map", _SIDE, "none", math.inf, floor="is one", oracle=_EXACT)
INV_CHAMFER = _card("inv_chamfer_l1", "diagonals of the true box", "lower", math.inf, floor=_CARD, oracle=_EXACT)
INV_FSCORE = _card("inv_fscore", "share", "higher", 1.0, floor=_CARD, oracle=_EXACT)
INV_NORMALS = _card("inv_normal_consistency", "1", "higher", 1.0, floor=_CARD, oracle=_EXACT)
HEAD_SIDE = _card("head_side", _SIDE, "lower", math.inf, floor="head_side_const", oracle="0")
HEAD_SIDE_CONST = _card("head_side_const", _SIDE, "none", math.inf, floor="is one", oracle="0")
HEAD_SIDE_MEAN_MAP = _card("head_side_mean_map", _SIDE, "none", math.inf, floor="is one", oracle="0")
HEAD_CORR = MetricCard("head_corr", "1", "higher", (-1.0, 1.0), floor="0", oracle="1")
CARDS: tuple[MetricCard, ...] = (
    FID_SE, KID_SE, DIVERSITY, ELEVATION, SIDE_CONST, SIDE_MEAN_MAP, SIDE_OTHER, SIDE_OWN, REPROJ_FLOOR, SWAP_SHAPE,
    SWAP_APPEARANCE, EMPTIES, INV_PSNR, INV_PSNR_NOVEL, INV_SIDE, INV_SIDE_NOVEL, INV_SIDE_CONST, INV_SIDE_MEAN_MAP,
    INV_CHAMFER, INV_FSCORE, INV_NORMALS, HEAD_SIDE, HEAD_SIDE_CONST, HEAD_SIDE_MEAN_MAP, HEAD_CORR,
)  # fmt: skip
