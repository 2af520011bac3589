"""The categories of family ``defects`` and how an image of one is laid out: pose, light, paint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from harness.data import defects_objects as objects
from harness.data import defects_textures as textures
from harness.data.defects_relief import Float, Light, Relief, turned


@dataclass(frozen=True)
class Category:
    """One kind of thing: ``paint(generator, x, y)`` draws it in its own frame.

    ``number`` is part of every random key. ``stochastic``: its normal appearance cannot be predicted from the
    surroundings (specks, grain). ``faults`` are the ways in which its structure can be wrong: ``turned`` and
    ``stretched`` distort a disc, the others are known to ``paint``. ``angle`` and ``shift`` are the standard
    deviations of its pose (radians, units of half the image; infinite: any angle), ``tilt`` its mean angle.
    """

    name: str
    number: int
    paint: Callable[..., Relief]
    faults: tuple[str, ...]
    stochastic: bool = False
    angle: float = 0.02
    shift: float = 0.01


DISC = ("turned", "stretched")
# In the order of the option `categories`: the first six mix two textures with four objects, and what a neighbourhood
# hides of them can be told from the rest of the picture, so that context is worth learning.
CATEGORIES: tuple[Category, ...] = (
    Category("weave", 1, textures.weave, DISC),
    Category("transistor", 2, objects.transistor, ("missing", "bent", "shifted"), angle=0.03, shift=0.02),
    Category("grid", 3, textures.grid, DISC),
    Category("cable", 4, objects.cable, ("missing", "swapped", "double"), angle=0.05, shift=0.025),
    Category("bottle", 5, objects.bottle, ("shifted", "broken"), angle=0.03, shift=0.025),
    Category("nut", 6, objects.nut, ("missing", "bent"), angle=np.inf, shift=0.025),
    Category("tile", 7, textures.tile, DISC, stochastic=True, angle=0.015, shift=0.02),
    Category("pill", 8, objects.pill, ("shifted", "moved", "missing"), stochastic=True, angle=0.05, shift=0.025),
    Category("wood", 9, textures.wood, DISC, stochastic=True),
    Category("leather", 10, textures.leather, ("stretched",), stochastic=True, angle=0.06, shift=0.03),
    Category(
        "weave2", 11, partial(textures.weave, threads=6.5, warp=(0.10, 0.17, 0.34), weft=(0.52, 0.57, 0.62)), DISC
    ),
    Category(
        "transistor2",
        12,
        partial(objects.transistor, board=(0.07, 0.27, 0.13), metal=(0.80, 0.66, 0.36)),
        ("missing", "bent", "shifted"),
        angle=0.03,
        shift=0.02,
    ),
    Category("grid2", 13, partial(textures.grid, wires=3.0, metal=(0.66, 0.36, 0.18), ground=(0.30, 0.29, 0.26)), DISC),
    Category(
        "cable2",
        14,
        partial(
            objects.cable,
            cores=((0.62, 0.50, 0.08), (0.50, 0.07, 0.06), (0.55, 0.55, 0.57)),
            sheath=(0.42, 0.17, 0.07),
            ground=(0.20, 0.22, 0.25),
        ),
        ("missing", "swapped", "double"),
        angle=0.05,
        shift=0.025,
    ),
    Category(
        "nut2",
        15,
        partial(objects.nut, teeth=6, metal=(0.70, 0.50, 0.20), ground=(0.42, 0.43, 0.45)),
        ("missing", "bent"),
        angle=np.inf,
        shift=0.025,
    ),
)
NAMES: tuple[str, ...] = tuple(category.name for category in CATEGORIES)
CORE = CATEGORIES[:6]


@dataclass(frozen=True)
class Pose:
    """Where the thing lies: ``angle`` in radians, centre in units of half the image."""

    angle: float
    x: float
    y: float

    def frame(self, x: Float, y: Float) -> tuple[Float, Float]:
        """Image coordinates in the thing's own frame."""
        return turned(x, y, self.angle, self.x, self.y)


def draw_pose(category: Category, generator: np.random.Generator) -> Pose:
    """A random pose of ``category``."""
    normal, unit = generator.normal(size=3).tolist(), float(generator.uniform(-np.pi, np.pi))
    angle = unit if np.isinf(category.angle) else normal[0] * category.angle
    return Pose(angle, normal[1] * category.shift, normal[2] * category.shift)


def draw_light(generator: np.random.Generator) -> Light:
    """A random light: side (sd 0.12), strength (sd 3 %), tint (sd 1.5 % per channel), slope (sd 5 % per unit), haze."""
    side, gain, red, green, blue, *slope, haze = generator.normal(size=8).tolist()
    tint = (1 + 0.03 * gain) * (1 + 0.015 * np.array([red, green, blue], np.float32))
    return Light(0.8 + 0.12 * side, tint, (0.05 * slope[0], 0.05 * slope[1]), 0.02 * abs(haze))
