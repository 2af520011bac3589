"""Cars of the family ``streets``: those of family ``objects``, taken from a bank that is built once per process."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from harness.data import objects_car
from harness.data.factors import FACTOR_GROUPS, units, values
from harness.data.meshes import rotation_y
from harness.data.solids import Solid
from harness.data.streets_pieces import Pieces

BANK = 128  # cars per list of scenes
RADIUS = 2.15  # metres per unit of a car in its bounding sphere
HALF_LENGTH, HALF_WIDTH = 2.2, 1.0  # metres, of the space a car needs


@lru_cache(maxsize=1024)
def bank_car(key: tuple[int, int], number: int) -> Solid:
    """Car ``number`` of the bank with the 128-bit Philox ``key``."""
    counter = np.array([0, 0, 0, number], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=counter))
    drawn = units(objects_car.FACTORS, dict.fromkeys(FACTOR_GROUPS, generator))
    return objects_car.build(values(objects_car.FACTORS, drawn), generator)


def add_car(pieces: Pieces, label: int, instance: int, solid: Solid, x: float, z: float, heading: float) -> None:
    """Stand ``solid`` on the road at (x, z); ``heading`` 0 faces the camera, pi drives away from it."""
    ground = -RADIUS * float(solid.vertices[:, 1].min())
    pieces.add_car(solid, label, rotation_y(heading) * RADIUS, np.array([x, ground, z]), instance)
