"""How the surfaces of a street are painted, all rays at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.data.solids import Float, Surface
from harness.data.streets_pieces import KINDS, NUMBERS, Kind, Pieces
from harness.data.textures import Waves

WHITE = np.float32(0.82)


@dataclass(frozen=True)
class Points:
    """Where rays met the scene: number of the ``piece`` [M], world ``position``, ``canonical`` coordinates of the piece
    and unit ``normal``, each [M,3]."""

    piece: NDArray[np.intp]
    position: Float
    canonical: Float
    normal: Float


class Painter:
    """Linear albedo of points on ``pieces``; ``texture`` draws the grain of asphalt and leaves."""

    def __init__(self, pieces: Pieces, texture: np.random.Generator) -> None:
        self.cars = pieces.cars
        self.kind = np.array([KINDS.index(material.kind) for material in pieces.materials])
        self.colour = np.array([material.colour for material in pieces.materials], np.float32)
        self.second = np.array([material.second for material in pieces.materials], np.float32)
        self.numbers = np.zeros((len(pieces.materials), NUMBERS), np.float32)
        for row, material in zip(self.numbers, pieces.materials, strict=True):
            row[: len(material.numbers)] = material.numbers
        self.grain, self.leaves = Waves(texture, 0.2, 1.2, 6), Waves(texture, 0.5, 2.0, 6)
        self._paints: dict[Kind, Callable[[Points, Float, Float], Float]] = {
            "road": self._road,
            "pavement": self._pavement,
            "leaves": self._leaves,
            "wall": self._wall,
            "sign": self._sign,
            "lamps": self._lamps,
        }

    def __call__(self, points: Points) -> Float:
        """Albedo [M,3]."""
        albedo, kind = self.colour[points.piece], self.kind[points.piece]
        for name, paint in self._paints.items():
            at = np.flatnonzero(kind == KINDS.index(name))
            if len(at):
                own = Points(points.piece[at], points.position[at], points.canonical[at], points.normal[at])
                albedo[at] = paint(own, albedo[at], self.numbers[own.piece].T)
        at = np.flatnonzero(kind == KINDS.index("car"))
        owner = self.numbers[points.piece[at], 0].astype(np.intp)
        for number in np.unique(owner):
            mine = at[owner == number]
            albedo[mine] = self._car(int(number), points, mine)
        return albedo

    def _road(self, points: Points, colour: Float, numbers: Float) -> Float:
        """Asphalt with a centre line (whole or broken), edge lines in style 2 and sometimes a zebra crossing.

        Numbers: style, half width, z of the crossing (0 = none).
        """
        x, z = points.position[:, 0], points.position[:, 2]
        style, half, crossing = numbers[:3]
        colour = colour * (1 + np.float32(0.09) * self.grain(points.position))[:, None]
        line = (np.abs(x) < 0.09) & ((style == 0) | (z % 4 < 2))
        line |= (np.abs(np.abs(x) - half + 0.28) < 0.08) & (style == 2)
        near = (np.abs(z - crossing) < 1.3) & (crossing < 0)
        line = np.where(near, (x % 1.0 < 0.5) & (np.abs(x) < half - 0.3), line)
        colour[line] = WHITE
        return colour

    def _pavement(self, points: Points, colour: Float, numbers: Float) -> Float:
        """Slabs with joints and a lighter kerb. Numbers: side of a slab, x of the kerb's outer edge."""
        x, z = points.position[:, 0], points.position[:, 2]
        joint = (x % numbers[0] < 0.05) | (z % numbers[0] < 0.07)
        kerb = np.abs(x) < numbers[1] + 0.18
        return colour * np.where(kerb, 1.18, np.where(joint, 0.78, 1.0)).astype(np.float32)[:, None]

    def _leaves(self, points: Points, colour: Float, numbers: Float) -> Float:
        """Numbers: offset into the noise, its amplitude."""
        shade = self.leaves(points.position + numbers[0][:, None]) * numbers[1]
        return np.clip(colour * (1 + shade)[:, None], 0, 1)

    def _wall(self, points: Points, colour: Float, numbers: Float) -> Float:
        """A facade: panes with frames, some of them lit or curtained, a plinth and doors or a shop below.

        Numbers: height of a storey, width of a bay, shift of the bays, share of a pane, shop (0 or 1), salt.
        """
        storey, bay, start, share, shop, salt = numbers[:6]
        sideways = np.abs(points.normal)
        upright = sideways[:, 1] < 0.5
        u = np.where(sideways[:, 0] > sideways[:, 2], points.position[:, 2], points.position[:, 0]) + start
        v = points.position[:, 1]
        column, row = np.floor(u / bay), np.floor(v / storey)
        across, up = np.abs(u / bay - column - 0.5), np.abs(v / storey - row - 0.55)
        ground = row == 0
        shown = upright & (~ground | (shop > 0))
        share = np.where(ground, np.float32(0.8), share)
        pane = shown & (across < share / 2) & (up < share / 2)
        frame = shown & (across < share / 2 + 0.05) & (up < share / 2 + 0.04) & ~pane
        door = upright & ground & (shop == 0) & (column % 3 == 0) & (across < 0.3) & (v < 2.1)
        awning = upright & ground & (shop > 0) & (v > storey * 0.82)
        cell = column.astype(np.int64) * 73856093 ^ row.astype(np.int64) * 19349663 ^ salt.astype(np.int64) * 83492791
        chance = ((cell ^ cell >> 13) % 1009 / 1009).astype(np.float32)[:, None]
        glass = self.second[points.piece]
        lit = np.where(chance > 0.85, colour * np.float32(0.5) + np.float32(0.4), glass * (0.6 + 0.7 * chance))
        colour = np.where(v < 0.5, np.float32(0.75), np.float32(1.0))[:, None] * colour
        colour = np.where(frame[:, None], colour * np.float32(0.6) + np.float32(0.3), colour)
        colour = np.where(pane[:, None], lit, colour)
        colour = np.where(door[:, None], glass * np.float32(0.5) + np.array([0.16, 0.08, 0.03], np.float32), colour)
        return np.where(awning[:, None], colour[:, [2, 0, 1]] * np.float32(0.8), colour).astype(np.float32)

    def _sign(self, points: Points, colour: Float, numbers: Float) -> Float:
        """A plate with a rim and a mark. Numbers: mark (0 none, 1 bar, 2 disc, 3 arrow), 1 if the plate is square."""
        x, y = points.canonical[:, 0], points.canonical[:, 1]
        mark, square = numbers[:2]
        reach = np.where(square > 0, np.maximum(np.abs(x), np.abs(y)), np.hypot(x, y))
        white = (reach > 0.84) | ((mark == 1) & (np.abs(y) < 0.2) & (np.abs(x) < 0.6))
        white |= ((mark == 2) & (reach < 0.5)) | (
            (mark == 3) & (np.abs(x) < 0.18 + 0.3 * (y > 0.1)) & (np.abs(y) < 0.6)
        )
        colour[white] = np.float32(0.9)
        colour[np.abs(points.normal[:, 2]) < 0.5] *= np.float32(0.5)
        return colour

    def _lamps(self, points: Points, colour: Float, numbers: Float) -> Float:
        """The front of a traffic light. Numbers: which of the three lamps is on."""
        x, y = points.canonical[:, 0] * 0.42, points.canonical[:, 1]
        for number, (height, lamp) in enumerate(
            ((0.62, (1.0, 0.1, 0.05)), (0.0, (1.0, 0.7, 0.1)), (-0.62, (0.1, 0.9, 0.25)))
        ):
            disc = (x**2 + (y - height) ** 2 < 0.26**2) & (np.abs(points.normal[:, 2]) > 0.5)
            glow = np.where(numbers[0] == number, 1.0, 0.25).astype(np.float32)[:, None]
            colour = np.where(disc[:, None], np.array(lamp, np.float32) * glow, colour)
        return colour

    def _car(self, number: int, points: Points, at: NDArray[np.intp]) -> Float:
        car = self.cars[number]
        primitive = points.piece[at] - car.piece
        first = np.zeros(int(car.solid.primitive.max()) + 1, np.uint8)
        first[car.solid.primitive] = car.solid.part
        turned = points.normal[at] @ (car.matrix / np.linalg.norm(car.matrix[:, 0])).astype(np.float32)
        surface = Surface(first[primitive], primitive.astype(np.uint8), points.canonical[at], turned)
        return car.solid.paint(surface)[0]
