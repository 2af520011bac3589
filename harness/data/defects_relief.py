"""Painted reliefs lit by one distant light: the picture model of family ``defects``.

Coordinates run over [-1, 1] from left to right (x) and from top to bottom (y); heights have the same unit. Colours are
linear and come first: [3,H,W].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.textures import GAMMA

Float = NDArray[np.floating[Any]]
"""Single precision throughout; the type checker cannot follow it through NumPy's arithmetic."""

AMBIENT, DIFFUSE, SHINE, LIFT = 0.36, 0.68, 36, 0.8  # LIFT: height of the light above the picture plane


@dataclass(frozen=True)
class Relief:
    """Height [H,W], linear albedo [3,H,W], share of the object [H,W] in [0,1] and strength of its highlight [H,W]."""

    height: Float
    albedo: Float
    foreground: Float
    gloss: Float


@dataclass(frozen=True)
class Light:
    """One distant lamp at the upper left: ``azimuth`` in radians from the left, ``colour`` [3]; its strength changes by
    ``slope`` per unit of x and y, and ``haze`` is added everywhere."""

    azimuth: float
    colour: Float
    slope: tuple[float, float]
    haze: float

    @property
    def direction(self) -> tuple[float, float, float]:
        flat = np.sqrt(1 - LIFT**2)
        return float(-np.cos(self.azimuth) * flat), float(-np.sin(self.azimuth) * flat), LIFT


def lattice(side: int) -> tuple[Float, Float]:
    """x and y [side, side] of the centres of a square lattice of samples."""
    line = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / side)) - np.float32(1)
    x, y = np.meshgrid(line, line)
    return x, y


def turned(x: Float, y: Float, angle: float, cx: float = 0.0, cy: float = 0.0) -> tuple[Float, Float]:
    """Coordinates in a frame that stands at (cx, cy) and is rotated by ``angle``."""
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return c * (x - cx) + s * (y - cy), c * (y - cy) - s * (x - cx)


def inside(distance: Float, width: float) -> Float:
    """Soft membership of a signed distance: 1 within, 0 without, a linear ramp of ``width``."""
    return np.clip(0.5 - distance / width, 0, 1, dtype=np.float32)


def box(x: Float, y: Float, a: float, b: float, radius: float = 0.0) -> Float:
    """Signed distance to a rectangle of half sides ``a``, ``b`` with rounded corners."""
    u, v = np.abs(x) - (a - radius), np.abs(y) - (b - radius)
    return np.hypot(np.maximum(u, 0), np.maximum(v, 0)) + np.minimum(np.maximum(u, v), 0) - radius


def colour(values: Sequence[float]) -> Float:
    """A colour [3,1,1] that broadcasts over a picture."""
    return np.array(values, np.float32)[:, None, None]


def mix(under: Float, over: Float, share: Float) -> Float:
    """``over`` painted on ``under`` [3,H,W] with opacity ``share`` [H,W]."""
    return under + (over - under) * share


def waves(generator: np.random.Generator, x: Float, y: Float, low: float, high: float, count: int) -> Float:
    """Band-limited noise of unit variance; frequencies in cycles per unit of the coordinates."""
    angle = generator.uniform(0, 2 * np.pi, count)
    frequency = generator.uniform(low, high, count) * 2 * np.pi
    phase = generator.uniform(0, 2 * np.pi, count)
    total = np.zeros(x.shape, np.float32)
    for a, f, p in zip(angle, frequency, phase, strict=True):
        total += np.cos(float(f * np.cos(a)) * x + float(f * np.sin(a)) * y + float(p))
    return total * float(np.sqrt(2 / count))


def lit(relief: Relief, light: Light) -> Float:
    """Linear picture [3,H,W] of a relief: ambient, Lambert and a highlight for a viewer straight above."""
    spacing = 2 / relief.height.shape[-1]
    dy, dx = np.gradient(relief.height, spacing)
    lx, ly, lz = light.direction
    length = 1 / np.sqrt(dx * dx + dy * dy + 1)
    lambert = np.maximum(lz - lx * dx - ly * dy, 0) * length
    half = np.sqrt((1 + lz) / 2)  # cosine between the halfway vector and the vertical
    shine = np.maximum((1 + lz) - lx * dx - ly * dy, 0) * (length / float(2 * half))
    picture = relief.albedo * (AMBIENT + DIFFUSE * lambert) + relief.gloss * shine**SHINE
    line = np.linspace(-1, 1, relief.height.shape[-1], dtype=np.float32)
    strength = 1 + light.slope[0] * line + light.slope[1] * line[:, None]
    return np.asarray(picture * (light.colour[:, None, None] * strength) + light.haze, np.float32)


def picture(relief: Relief, light: Light, factor: int) -> Float:
    """Gamma-encoded picture [3,h,w] in [0,1]: light is averaged over blocks of ``factor`` x ``factor`` samples."""
    return np.clip(reduced(lit(relief, light), factor), 0, 1) ** np.float32(1 / GAMMA)


def reduced(values: Float, factor: int) -> Float:
    """Means over blocks of the last two axes."""
    *lead, height, width = values.shape
    blocks = values.reshape(*lead, height // factor, factor, width // factor, factor)
    return np.asarray(blocks.mean((-3, -1)), np.float32)
