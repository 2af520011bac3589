"""Pictures of a cell: sample grid, turntable, depth maps, latent swap."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.types import PosePrior

GRID, TURNTABLES, DEPTHS, SWAPS = 64, 6, 8, 8
SHOWN = 64
"""Smaller pictures are enlarged to this side by repeating pixels."""


def pictures_of(
    predictions: Mapping[str, NDArray], judged_depth: NDArray | None, prior: PosePrior | None
) -> dict[str, NDArray[np.uint8]]:
    """uint8 [H,W,3] pictures by name: ``samples``; ``turntable`` (a row per object, azimuth grows to the right);
    ``depth`` (columns: picture, own depth, judged depth; near is bright); ``swap`` (object, other shape latent, other
    appearance latent), as far as the predictions hold them."""
    images = predictions["images"]
    side = max(1, int(min(GRID, len(images)) ** 0.5))
    shown = {"samples": tile(images[: side * side].reshape(side, side, *images.shape[1:]))}
    if "sweep" in predictions:
        shown["turntable"] = tile(predictions["sweep"][:TURNTABLES])
    if "depth" in predictions and prior is not None:
        colour = predictions.get("geometry_images", images)[:DEPTHS]
        mask = predictions["mask"][:DEPTHS] > 127
        columns = [colour, _grey(predictions["depth"][:DEPTHS], mask, prior)]
        if judged_depth is not None:
            columns.append(_grey(judged_depth[:DEPTHS], mask, prior))
        shown["depth"] = tile(np.stack(columns))
    if "swap" in predictions:
        shown["swap"] = tile(predictions["swap"][:, :SWAPS])
    return shown


def tile(images: NDArray) -> NDArray[np.uint8]:
    """uint8 [R,C,H,W,3] -> one picture [R*H',C*W',3], each enlarged by a whole factor to at least 64 pixels."""
    factor = -(-SHOWN // images.shape[3]) if images.shape[3] < SHOWN else 1
    large = images.repeat(factor, axis=2).repeat(factor, axis=3)
    rows, columns, height, width, channels = large.shape
    return large.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)


def _grey(depth: NDArray, mask: NDArray, prior: PosePrior) -> NDArray[np.uint8]:
    """Depth [N,H,W] from 0.9 object radii before the origin to 0.3 behind as grey, near bright; background blue."""
    level = np.clip((prior.radius + 0.3 - depth.astype(np.float64)) / 1.2, 0, 1)
    grey = np.where(mask, 30 + 225 * level, 0)
    return np.stack([grey, grey, np.where(mask, grey, 40)], axis=-1).astype(np.uint8)
