"""Pictures of a cell: samples, five yaws, swaps of the two codes, warped views; image and depth side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from harness.metrics.rotation import rotate
from harness.types import PosePrior
from suites.protocols.generation.pictures import tile
from suites.protocols.generation.sheet import channels_first
from suites.protocols.rgbd.coding import Coding
from suites.protocols.rgbd.views import focal_of

SAMPLES, ROOMS, CODES, DEPTHS, PAIRS = 32, 4, 6, 8, 6
COLUMNS = 8

# A dark-to-light ramp of even steps in lightness (the colours of the map "inferno"), far to near.
_RAMP = np.array(
    [
        (0, 0, 4), (27, 12, 65), (74, 12, 107), (120, 28, 109), (165, 44, 96), (207, 68, 70), (237, 105, 37),
        (251, 155, 6), (247, 209, 61), (252, 255, 164),
    ],
    np.float64,
)  # fmt: skip


def pictures_of(
    predictions: Mapping[str, NDArray], judged: NDArray | None, coding: Coding, prior: PosePrior | None
) -> dict[str, NDArray[np.uint8]]:
    """uint8 [H,W,3] pictures by name, as far as the predictions hold them.

    ``samples``: images, each row above its depths; ``yaws``: rooms at all yaws, images above depths; ``swap``: a row
    per depth code (its depth first), a column per appearance code; ``depth``: image, own depth, judged depth in rows;
    ``warp``: a view, the other view, the other view warped to the first, their difference. Depth is coloured over the
    whole coded range, the same for all pictures: near is light, far is dark.
    """
    images = predictions["images"]
    shown = {"samples": tile(_interleaved(images[:SAMPLES], _depth(predictions, "depth", coding, SAMPLES)))}
    if "views" in predictions:
        depth = _depth(predictions, "views_depth", coding, ROOMS)
        shown["yaws"] = tile(_alternating([predictions["views"][:ROOMS], *([] if depth is None else [depth])]))
    if "swap_depth" in predictions:
        codes = coloured(coding.level(predictions["swap_depth"][:CODES, :1]))
        shown["swap"] = tile(np.concatenate([codes, predictions["swap"][:CODES, :CODES]], axis=1))
    if "depth" in predictions:
        own = coloured(coding.level(predictions["depth"][:DEPTHS]))
        read = [] if judged is None else [coloured(judged[:DEPTHS])]
        shown["depth"] = tile(np.stack([images[:DEPTHS], own, *read]))
    if "views_depth" in predictions and prior is not None and len(predictions["views_yaw"]) > 1:
        shown["warp"] = tile(_warped(predictions, coding, prior))
    return shown


def coloured(level: NDArray) -> NDArray[np.uint8]:
    """Levels (d + 1) / 2 [...,H,W] -> uint8 [...,H,W,3]: 0 (near) is light, 1 (far) is dark."""
    position = (1 - np.clip(level, 0, 1)) * (len(_RAMP) - 1)
    steps = np.arange(len(_RAMP))
    return np.stack([np.interp(position, steps, _RAMP[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


def _depth(predictions: Mapping[str, NDArray], name: str, coding: Coding, count: int) -> NDArray[np.uint8] | None:
    return coloured(coding.level(predictions[name][:count])) if name in predictions else None


def _interleaved(images: NDArray, depth: NDArray | None) -> NDArray:
    """Images [N,H,W,3] in rows of ``COLUMNS``, each row above that of its depths: [R,C,H,W,3]."""
    columns = min(COLUMNS, len(images))
    whole = len(images) // columns * columns
    grids = [side[:whole].reshape(-1, columns, *side.shape[1:]) for side in (images, depth) if side is not None]
    return _alternating(grids)


def _alternating(grids: list[NDArray]) -> NDArray:
    """Grids [R,C,H,W,3] -> one grid that takes a row of each in turn."""
    return np.stack(grids, axis=1).reshape(-1, *grids[0].shape[1:])


def _warped(predictions: Mapping[str, NDArray], coding: Coding, prior: PosePrior) -> NDArray[np.uint8]:
    """Rows: the first view of some rooms, a view two steps on, that one warped to the first, the difference x 2; what
    does not land in frame is black: [4,P,H,W,3]."""
    yaws = predictions["views_yaw"].astype(np.float64)
    other = min(2, len(yaws) - 1)
    first, second = (predictions["views"][:PAIRS, k] for k in (0, other))
    depth = torch.from_numpy(coding.warped(predictions["views_depth"][:PAIRS, 0]))
    theta = torch.full((len(depth),), float(yaws[other] - yaws[0]), dtype=torch.float64)
    warp = rotate(depth, theta, focal=focal_of(prior) * depth.shape[2])
    moved = warp.sample(channels_first(second).double()).permute(0, 2, 3, 1).numpy()
    inside = warp.inside[..., None].numpy()
    difference = np.clip(2 * np.abs(moved - first), 0, 255)
    rows = [first, second, np.where(inside, moved, 0), np.where(inside, difference, 0)]
    return np.stack([row.round().astype(np.uint8) if row.dtype != np.uint8 else row for row in rows])
