"""Colours and band-limited textures in linear light."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float32]

GAMMA = 1.3  # stored = linear ** (1 / GAMMA); part of the data version


def hsv(hue: float, saturation: float, value: float) -> Float:
    """A colour from hue (in turns, any real), saturation and value in [0, 1]."""
    clipped = min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, *clipped), np.float32)


def encode(linear: Float) -> NDArray[np.uint8]:
    """Linear light to stored bytes: clip, gamma, round half to even."""
    return np.rint(np.clip(linear, 0, 1) ** np.float32(1 / GAMMA) * np.float32(255)).astype(np.uint8)


def decode(image: ArrayLike) -> Float:
    """Stored bytes to linear light, the inverse of ``encode`` up to rounding."""
    return (np.asarray(image, np.float32) / np.float32(255)) ** np.float32(GAMMA)


class Waves:
    """Band-limited noise in three dimensions: a sum of ``count`` plane waves of unit variance.

    Frequencies are in cycles per unit of the coordinates, uniform in [low, high); directions are uniform.
    """

    def __init__(self, generator: np.random.Generator, low: float, high: float, count: int = 6) -> None:
        directions = generator.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        frequency = generator.uniform(low, high, (count, 1)) * 2 * np.pi
        self.vectors: Float = (directions * frequency).astype(np.float32)
        self.phases: Float = generator.uniform(0, 2 * np.pi, count).astype(np.float32)

    def __call__(self, points: Float) -> Float:
        """The noise at ``points`` [N,3] as [N]."""
        return np.cos(points @ self.vectors.T + self.phases).sum(-1) * np.float32(np.sqrt(2 / len(self.phases)))

    def plane(self, x: Float, y: Float) -> Float:
        """The noise on the grid of ``x`` [W] and ``y`` [H] at z = 0, [H,W]: cos(a + b) separates into two products."""
        a = np.outer(y, self.vectors[:, 1]) + self.phases
        b = np.outer(self.vectors[:, 0], x)
        field = np.cos(a) @ np.cos(b) - np.sin(a) @ np.sin(b)
        return field * np.float32(np.sqrt(2 / len(self.phases)))
