"""The static part of a street: road, pavements, rows of houses, parks, trees, signs and lamps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.data.meshes import rotation_y
from harness.data.streets_pieces import Material, Pieces
from harness.data.textures import hsv

ROAD, SIDEWALK, BUILDING, SIGN, VEGETATION, SKY, PERSON, CAR = range(8)
KERB = 0.14  # metres of a pavement above the road
NEAR, FAR, HORIZON = 14.0, -78.0, -170.0  # z where the houses begin and end, and where the land ends


@dataclass(frozen=True)
class Street:
    """Measures (metres) that the other parts of a scene need."""

    half_road: float
    half_pavement: float

    @property
    def front(self) -> float:
        """|x| where the pavement ends and the houses begin."""
        return self.half_road + 2 * self.half_pavement


def add_street(pieces: Pieces, generator: np.random.Generator, taller: float) -> Street:
    """Draw and place everything that does not move; ``taller`` in [0, 1] raises the houses (layout shift)."""
    street = Street(float(generator.uniform(2.8, 4.2)), float(generator.uniform(1.2, 2.1)))
    _ground(pieces, street, generator)
    for side in (-1, 1):
        _houses(pieces, street, side, generator, taller)
        _trees(pieces, street, side, generator)
        _signs(pieces, street, side, generator)
    return street


def leaves(generator: np.random.Generator, value: tuple[float, float] = (0.3, 0.55)) -> Material:
    """Foliage of a random green with a random grain."""
    green = hsv(generator.normal(0.28, 0.03), generator.uniform(0.4, 0.7), generator.uniform(*value))
    return Material("leaves", green, numbers=(float(generator.uniform(0, 50)), 0.22))


def _ground(pieces: Pieces, street: Street, generator: np.random.Generator) -> None:
    asphalt = hsv(0.6, generator.uniform(0, 0.12), generator.uniform(0.24, 0.42))
    crossing = -float(generator.uniform(8, 20)) if generator.random() < 0.25 else 0.0
    road = Material("road", asphalt, numbers=(float(generator.integers(3)), street.half_road, crossing))
    end = generator.random()
    far = HORIZON if end < 0.45 else FAR
    middle, half = (NEAR + far) / 2, (NEAR - far) / 2
    pieces.add("box", ROAD, road, [0, -0.05, middle], [street.half_road, 0.05, half])
    stone = hsv(generator.choice([0.08, 0.6, 0.0]), generator.uniform(0.03, 0.2), generator.uniform(0.45, 0.7))
    slabs = Material("pavement", stone, numbers=(float(generator.uniform(0.6, 1.2)), street.half_road))
    for side in (-1, 1):
        centre = [side * (street.half_road + street.half_pavement), KERB - 0.1, middle]
        pieces.add("box", SIDEWALK, slabs, centre, [street.half_pavement, 0.1, half])
    grass = leaves(generator, (0.35, 0.55))
    for side in (-1, 1):
        pieces.add("box", VEGETATION, grass, [side * (street.front + 80), -0.05, middle], [80, 0.07, half])
    if end >= 0.65:  # a house across the end of the street
        height = float(generator.uniform(5, 12))
        pieces.add("box", BUILDING, _facade(generator), [0, height / 2, FAR - 4], [34, height / 2, 4])
    grove = 0.45 <= end < 0.65  # otherwise hills, which a house may hide
    for x in generator.uniform(-1, 1, 5) * (14 if grove else 110):
        size = generator.uniform(4, 7, 3) if grove else generator.uniform((18, 10, 8), (40, 20, 12))
        pieces.add("blob", VEGETATION, leaves(generator, (0.25, 0.4)), [x, 0, far - 4], size)


def _facade(generator: np.random.Generator) -> Material:
    wall = hsv(
        generator.choice([0.04, 0.08, 0.1, 0.58, 0.0]), generator.uniform(0.05, 0.5), generator.uniform(0.4, 0.9)
    )
    glass = hsv(0.58, generator.uniform(0.1, 0.4), generator.uniform(0.12, 0.45))
    storey, bay = generator.uniform(2.7, 3.5), generator.uniform(2.0, 3.4)
    shop = float(generator.random() < 0.3)
    numbers = (storey, bay, generator.uniform(0, 9), generator.uniform(0.35, 0.62), shop, generator.integers(997))
    return Material("wall", wall, glass, tuple(float(number) for number in numbers))


def _houses(pieces: Pieces, street: Street, side: int, generator: np.random.Generator, taller: float) -> None:
    """A row of houses from near to far with a park in place of every sixth."""
    z, park = NEAR, False
    while z > FAR:
        half = float(generator.uniform(4, 9))
        centre = z - half
        z -= 2 * half
        park = not park and generator.random() < 0.2
        if park:
            _park(pieces, street, side, centre, half, generator)
            continue
        height = float(generator.uniform(3.2, 11)) * (1 + 0.6 * taller)
        x = side * (street.front + 4 + generator.uniform(0, 1))
        pieces.add("box", BUILDING, _facade(generator), [x, height / 2, centre], [4, height / 2, half])
        hue = generator.choice([0.02, 0.05, 0.6])
        roof = Material("flat", hsv(hue, generator.uniform(0.1, 0.5), generator.uniform(0.2, 0.45)))
        if generator.random() < 0.45 and height < 8:
            rise = float(generator.uniform(1.2, 2.4))
            pieces.add("gable", BUILDING, roof, [x, height, centre], [4.3, rise, half])
        else:
            pieces.add("box", BUILDING, roof, [x, height + 0.12, centre], [4.15, 0.16, half])


def _park(
    pieces: Pieces, street: Street, side: int, centre: float, half: float, generator: np.random.Generator
) -> None:
    hedge = float(generator.uniform(0.35, 0.6))
    if generator.random() < 0.5:
        at = [side * (street.front + 0.4), hedge, centre]
        pieces.add("box", VEGETATION, leaves(generator, (0.25, 0.4)), at, [0.35, hedge, half * 0.9])
    for _ in range(int(generator.integers(2, 5))):
        x, z = side * (street.front + generator.uniform(2.5, 7)), centre + half * generator.uniform(-0.8, 0.8)
        _tree(pieces, x, z, float(generator.uniform(1.6, 2.8)), float(generator.uniform(1.4, 1.9)), generator)


def _trees(pieces: Pieces, street: Street, side: int, generator: np.random.Generator) -> None:
    for _ in range(int(generator.integers(0, 4))):
        x, z = side * (street.half_road + generator.uniform(0.6, 1.2)), -float(generator.uniform(5, 20))
        _tree(pieces, x, z, float(generator.uniform(1.9, 2.9)), 1.0, generator)


def _tree(pieces: Pieces, x: float, z: float, trunk: float, size: float, generator: np.random.Generator) -> None:
    bark = Material("flat", hsv(0.07, 0.5, generator.uniform(0.2, 0.34)))
    pieces.post(VEGETATION, bark, [x, 0, z], [x, trunk + 0.4, z], 0.13 * size)
    crown = leaves(generator)
    for _ in range(4):
        centre = [x, trunk, z] + generator.normal(0, 0.42, 3) * size + [0, 0.75 * size, 0]
        pieces.add("blob", VEGETATION, crown, centre, generator.uniform((0.8, 0.7, 0.8), (1.3, 1.1, 1.25)) * size)


def _signs(pieces: Pieces, street: Street, side: int, generator: np.random.Generator) -> None:
    for _ in range(1 + int(generator.random() < 0.15)):
        x, z = side * (street.half_road + generator.uniform(0.25, 0.6)), -float(generator.uniform(4.2, 8.5))
        height = float(generator.uniform(1.9, 2.7))
        grey = Material("flat", hsv(0, 0, generator.uniform(0.35, 0.6)))
        pieces.post(SIGN, grey, [x, 0, z], [x, height + 0.15, z], 0.135)
        _plate(pieces, x, height, z, side, generator)
    if generator.random() < 0.2:
        x, z = side * (street.half_road + 0.4), -float(generator.uniform(5.5, 10))
        height = float(generator.uniform(3.6, 4.8))
        iron = Material("flat", hsv(0.6, 0.1, generator.uniform(0.2, 0.5)))
        pieces.post(SIGN, iron, [x, 0, z], [x, height, z], 0.17)
        pieces.post(SIGN, iron, [x, height, z], [x - side * 1.3, height + 0.25, z], 0.1)
        pieces.add("box", SIGN, iron, [x - side * 1.4, height + 0.2, z], [0.45, 0.12, 0.2])


def _plate(pieces: Pieces, x: float, height: float, z: float, side: int, generator: np.random.Generator) -> None:
    """A round, triangular or square plate, or a traffic light beside its pole."""
    kind, mark, radius = int(generator.integers(4)), float(generator.integers(4)), float(generator.uniform(0.45, 0.65))
    turn, y = rotation_y(generator.normal(0, 0.15)), height + 0.3
    hue = float(generator.choice([0.0, 0.13] if kind == 1 else [0.0, 0.6, 0.6, 0.13]))
    if kind == 3:
        value, lamp = 0.12 + 0.25 * generator.random(), float(generator.integers(3))
        dark = Material("lamps", hsv(0.15, 0.7, value), numbers=(lamp,))
        pieces.add("box", SIGN, dark, [x - side * 0.42, height, z], turn @ np.diag([0.27, 0.62, 0.2]))
    elif kind == 2:
        plate = Material("sign", hsv(hue, 0.85, 0.8), numbers=(mark, 1.0))
        pieces.add("box", SIGN, plate, [x, y, z + 0.1], turn @ np.diag([radius * 0.9, radius * 0.75, 0.03]))
    else:
        plate = Material("sign", hsv(hue, 0.85, 0.8), numbers=(mark * (kind == 0), 0.0))
        pieces.add(("disc", "triangle")[kind], SIGN, plate, [x, y, z + 0.1], turn @ np.diag([radius, radius, 0.03]))
