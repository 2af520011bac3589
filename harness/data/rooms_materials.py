"""How the surfaces of a room are painted, all rays at once, and how their materials are drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.raycast import Float
from harness.data.rooms_pieces import KINDS, Kind, Material, Pieces
from harness.data.textures import Waves, hsv

WOOD = (0.06, 0.1)  # hues


def draw_material(
    generator: np.random.Generator,
    kinds: tuple[Kind, ...] = ("plain",),
    hue: float | None = None,
    saturation: tuple[float, float] = (0.2, 0.7),
    value: tuple[float, float] = (0.35, 0.9),
    frequency: tuple[float, float] = (0.8, 1.8),
    glow: float = 0.0,
) -> Material:
    """A material of one of ``kinds``; its second colour is a relative of the first. ``hue`` None is any."""
    first = float(generator.random()) if hue is None else hue
    second = first + float(generator.normal(0, 0.06))
    colour, relative = (
        hsv(tone, generator.uniform(*saturation), generator.uniform(*value)) for tone in (first, second)
    )
    return Material(
        kinds[int(generator.integers(len(kinds)))],
        colour,
        relative,
        frequency=float(generator.uniform(*frequency)),
        across=bool(generator.random() < 0.5),
        offset=float(generator.uniform(0, 50)),
        glow=glow,
    )


def wooden(generator: np.random.Generator, value: tuple[float, float] = (0.25, 0.8)) -> Material:
    """Brown of some kind, with or without grain."""
    hue = float(generator.uniform(*WOOD))
    return draw_material(generator, ("plain", "mottled"), hue, (0.25, 0.65), value)


class Painter:
    """Linear albedo of points on ``pieces``; ``texture`` draws the grain shared by all."""

    def __init__(self, pieces: Pieces, texture: np.random.Generator) -> None:
        materials = pieces.materials
        self.kind = np.array([KINDS.index(material.kind) for material in materials])
        self.first = np.array([material.colour for material in materials], np.float32)
        self.second = np.array([material.second for material in materials], np.float32)
        self.glow = np.array([material.glow for material in materials], np.float32)
        self.across = np.array([material.across for material in materials])
        self.frequency = np.array([material.frequency for material in materials], np.float32)
        self.offset = np.array([material.offset for material in materials], np.float32)
        self.grain = Waves(texture, 0.25, 1.1, 6)

    def __call__(self, piece: NDArray[np.intp], position: Float, normal: Float) -> Float:
        """Albedo [M,3] of points of numbered pieces [M] with world ``position`` and ``normal`` [M,3]."""
        kind, frequency, offset = self.kind[piece], self.frequency[piece], self.offset[piece]
        noise = self.grain(position + offset[:, None])
        share = np.float32(0.12) + np.float32(0.1) * noise
        sideways = np.abs(normal)
        upright = sideways[:, 1] < 0.7
        u = np.where(upright & (sideways[:, 0] > sideways[:, 2]), position[:, 2], position[:, 0])
        v = np.where(upright, position[:, 1], position[:, 2])
        along = np.where(self.across[piece], v, u) * frequency
        at = np.flatnonzero(kind == KINDS.index("mottled"))
        share[at] = np.float32(0.5) + np.float32(0.4) * noise[at]
        at = np.flatnonzero(kind == KINDS.index("stripes"))
        wave = np.sin(np.float32(2 * np.pi) * along[at] + offset[at])
        share[at] = np.float32(0.3) + np.float32(0.3) * np.clip(4 * wave, -1, 1)
        at = np.flatnonzero(kind == KINDS.index("checker"))
        cells = np.floor(u[at] * frequency[at] + offset[at]) + np.floor(v[at] * frequency[at] + offset[at])
        share[at] = np.float32(0.65) * (cells % 2)
        at = np.flatnonzero(kind == KINDS.index("boards"))
        board = 2 * along[at] + offset[at]
        number = np.floor(board).astype(np.int64) * 73856093
        shade = ((number ^ number >> 11) % 997 / 997).astype(np.float32)
        joint = board - np.floor(board) < 0.07
        share[at] = np.where(joint, 1, 0.7 * shade) + np.float32(0.06) * noise[at]
        at = np.flatnonzero(kind == KINDS.index("window"))
        share[at] = v[at] < offset[at]
        mixed = np.clip(share, 0, 1)[:, None]
        return self.first[piece] * (1 - mixed) + self.second[piece] * mixed
