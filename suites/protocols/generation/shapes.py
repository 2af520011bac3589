"""What a depth error may not tell: flat cards, hollow faces, fog and floaters."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.metrics.isosurface import pieces
from harness.metrics.relief import concave_share, depth_std_ratio, opacity_soft, relief_correlation, relief_ratio
from suites.protocols.generation import geometry
from suites.protocols.generation.meshes import LEVEL
from suites.protocols.generation.sheet import Sheet

RELIEF = ("std_ratio", "relief_ratio", "relief_corr", "concave", "opacity_soft")
MESHES = ("floaters", "empties")
NO_FIELD = "no radiance field"
NO_RELIEF, EMPTY_FIELD = "no picture with a relief", "no sample has a surface"


def score_relief(sheet: Sheet, depth: NDArray, mask: NDArray, judged: Tensor) -> None:
    """Enter flatness, strength and correlation of relief, and the share of hollow shapes, against the judge's depth
    [m,H,W] on the pixels of SIDE, and the share of rays that end half-way."""
    own = torch.from_numpy(depth.astype(np.float32))
    sheet.put("opacity_soft", float(opacity_soft(torch.from_numpy(mask).float() / 255)))
    inside = geometry.solid_inside(own, mask)
    if not bool(inside.any()):
        sheet.lack(RELIEF[:-1], geometry.EMPTY)
        return
    sheet.put("std_ratio", float(depth_std_ratio(own, judged, mask=inside)), NO_RELIEF)
    sheet.put("relief_ratio", float(relief_ratio(own, judged, mask=inside)), NO_RELIEF)
    sheet.put("relief_corr", float(relief_correlation(own, judged, mask=inside)), NO_RELIEF)
    sheet.put("concave", concave_share(own, judged, mask=inside), NO_RELIEF)


def score_solids(sheet: Sheet, predictions: Mapping[str, NDArray]) -> None:
    """Enter the parts of a solid beside its largest, mean over prior samples, and the share of samples without one."""
    if "densities" not in predictions:
        sheet.lack(MESHES, NO_FIELD)
        return
    found = [pieces(density.astype(np.float64), level=LEVEL) for density in predictions["densities"]]
    floaters = [solid.floaters for solid in found if solid.count]
    sheet.put("floaters", float(np.mean(floaters)) if floaters else np.nan, EMPTY_FIELD)
    sheet.put("empties", 1 - len(floaters) / len(found))
