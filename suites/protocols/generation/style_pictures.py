"""Pictures of a generator with styles, and of what it may have learnt by heart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from suites.protocols.generation.pictures import GRID, tile


def style_pictures(predictions: Mapping[str, NDArray], neighbours: NDArray) -> dict[str, NDArray[np.uint8]]:
    """uint8 [H,W,3] pictures by name, as far as there are any: ``truncated`` (the samples at psi = 0.7),
    ``interpolation`` (a row per pair of styles), ``neighbours`` (generated above, the nearest training image below)."""
    shown = {}
    if "truncated" in predictions:
        images = predictions["truncated"]
        side = max(1, int(min(GRID, len(images)) ** 0.5))
        shown["truncated"] = tile(images[: side * side].reshape(side, side, *images.shape[1:]))
        shown["interpolation"] = tile(predictions["interpolation"])
    if "logits_train" in predictions:
        shown["neighbours"] = tile(neighbours)
    return shown
