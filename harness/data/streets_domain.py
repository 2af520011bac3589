"""The graded shift of appearance: dusk, with haze by exact depth, a darker and bluer camera, and noise.

Chosen by trials of the source-only network and plain self-training. Thicker haze or a colour cast on grey things lost
what tells the classes apart (the sky from far houses, roads from cars): there self-training spread the confusion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.solids import Float
from harness.data.textures import GAMMA, hsv

FOG = 0.022  # per metre at s = 1
SKY_DEPTH = np.float32(30.0)  # metres; fully fogged sky would be the grey of houses
DARKER = 1.0  # growth of the exponent at s = 1
GAINS = (0.22, 0.16, 0.04)  # lost by red, green and blue at s = 1
NOISE = 0.025  # standard deviation at s = 1, encoded units


def photograph(
    colour: Float, depth: Float, resolution: int, shift: float, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """The stored picture [H,2H,3] of linear fine rays [h,w,3] at z-``depth`` [h,w] (infinity = sky).

    ``shift`` s in [0, 1]: fog exp(-0.022 s depth), exponent 1 + s, channel gains 1 - s (0.22, 0.16, 0.04), noise
    0.025 s. ``generator`` draws the fog's tint and the noise.
    """
    fog = hsv(0.58 + generator.normal(0, 0.01), 0.06, 0.70 + generator.normal(0, 0.02))
    share = 1 - np.exp(np.float32(-FOG * shift) * np.where(np.isfinite(depth), depth, SKY_DEPTH))
    image = _box(colour + share[..., None] * (fog - colour), resolution)
    gains = np.float32(1) - np.float32(shift) * np.array(GAINS, np.float32)
    image = np.clip(image ** np.float32(1 + DARKER * shift) * gains, 0, 1) ** np.float32(1 / GAMMA)
    noise = generator.standard_normal(image.shape, np.float32) * np.float32(NOISE * shift)
    return np.rint(np.clip(image + noise, 0, 1) * np.float32(255)).astype(np.uint8)


def _box(image: Float, rows: int) -> Float:
    factor = len(image) // rows
    total = np.zeros((rows, 2 * rows, 3), np.float32)
    for row in range(factor):
        for column in range(factor):
            total += image[row::factor, column::factor]
    return total * np.float32(1 / factor**2)
