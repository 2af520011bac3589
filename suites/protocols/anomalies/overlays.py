"""Heat maps over a fixed set of test images: picture, truth and what the detector saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Split
from suites.protocols.anomalies.detection import Truth
from suites.protocols.generation.pictures import tile

PER_CATEGORY, CATEGORIES = 2, 8
LOW, HIGH = 0.7, 0.99
"""Quantiles of a category's scores shown as transparent and as full colour."""
STRENGTH = 0.75
CONTOUR = np.array([64, 224, 255], np.uint8)


def overlays(split: Split, maps: NDArray[np.float32], truth: Truth) -> NDArray[np.uint8] | None:
    """Three lines of pictures uint8 [3H',W',3]: input, truth as outline, heat map; None where whole images are
    anomalous.

    The columns are the first defective image of ``PER_CATEGORY`` different defect types per category, the types moving
    on from category to category; they depend on the test split alone. Colours are scaled per category, so that maps of
    different detectors compare in shape and not in height.
    """
    if truth.whole:
        return None
    chosen = _chosen(truth)
    if not len(chosen):
        return None
    images = np.asarray(split.view(("image",))["image"][chosen])
    heat = np.stack([_heat(maps, truth, row) for row in chosen])
    outlined = images.copy()
    outlined[_outline(truth.masks[chosen])] = CONTOUR
    blended = images * (1 - heat[..., 3:]) + 255 * heat[..., :3] * heat[..., 3:]
    return tile(np.stack([images, outlined, np.rint(blended).astype(np.uint8)]))


def _chosen(truth: Truth) -> NDArray[np.int64]:
    rows = []
    for group in range(min(len(truth.groups), CATEGORIES)):
        kinds = np.unique(truth.defect[(truth.group == group) & truth.anomalous])
        for turn in range(min(PER_CATEGORY, len(kinds))):
            kind = kinds[(group * PER_CATEGORY + turn) % len(kinds)]
            rows.append(int(np.flatnonzero((truth.group == group) & (truth.defect == kind))[0]))
    return np.array(rows, np.int64)


def _heat(maps: NDArray[np.float32], truth: Truth, row: int) -> NDArray[np.float64]:
    """Colour and opacity [H,W,4] in [0,1] of one map."""
    from matplotlib import colormaps

    low, high = np.quantile(maps[truth.group == truth.group[row]], [LOW, HIGH])
    level = np.clip((maps[row] - low) / max(high - low, 1e-12), 0, 1)
    colour = colormaps["inferno"](level)
    colour[..., 3] = STRENGTH * np.sqrt(level)
    return colour


def _outline(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels just outside each mask [N,H,W]."""
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    grown = padded[:, 1:-1, 1:-1].copy()
    for shifted in (padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]):
        grown |= shifted
    return grown & ~masks
