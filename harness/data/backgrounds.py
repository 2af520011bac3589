"""Backgrounds behind an object, as linear-light pictures that know nothing of pose, class or identity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.data.textures import GAMMA, Waves, hsv

Float = NDArray[np.float32]

KINDS = ("solid", "gradient", "noise", "checker", "ground")  # frozen order
RANDOM = ("solid", "gradient", "noise")
SKY: Float = np.array([0.55, 0.75, 0.95], np.float32) ** np.float32(GAMMA)


def draw(generator: np.random.Generator, side: int, kinds: Sequence[str], horizon: float = 0.5) -> Float:
    """A random background [side, side, 3] of one of ``kinds``, with low saturation and two own colours.

    ``horizon`` is the height (0 top, 1 bottom) at which the ``ground`` kind meets the sky.
    """
    kind = kinds[int(generator.random() * len(kinds))]
    hue, other = generator.random(), generator.normal(0, 0.15)
    low = generator.uniform((0.05, 0.35, 0.05, 0.35), (0.35, 0.95, 0.35, 0.95))
    first, second = hsv(hue, low[0], low[1]), hsv(hue + other, low[2], low[3])
    angle, cells = generator.uniform(0, 2 * np.pi), int(generator.integers(4, 9))
    waves = Waves(generator, 0.5, 2.5)
    grid: Float = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
    if kind == "solid":
        return np.broadcast_to(first, (side, side, 3))
    if kind == "gradient":
        tone = np.float32(0.5) + np.cos(angle) * (grid[None] - 0.5) + np.sin(angle) * (grid[:, None] - 0.5)
    elif kind == "noise":
        tone = np.float32(0.5) + np.float32(0.35) * waves.plane(grid, grid)
    elif kind == "checker":
        tone = ((grid[None] * cells).astype(np.int32) + (grid[:, None] * cells).astype(np.int32)) % 2
    else:
        tone = np.clip((grid[:, None] - horizon) * side / 2 + 0.5, 0, 1) + 0 * grid[None]
    tone = np.clip(tone, 0, 1).astype(np.float32)[..., None]
    return first + tone * (second - first)


def sky(side: int) -> Float:
    """The constant sky of the default suite, [side, side, 3] linear."""
    return np.broadcast_to(SKY, (side, side, 3))
