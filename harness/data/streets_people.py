"""People of the family ``streets``: legs, torso, arms, head and hair in a walking pose."""

from __future__ import annotations

import numpy as np

from harness.data.meshes import rotation_y
from harness.data.streets_pieces import Material, Pieces, Shape
from harness.data.textures import hsv


def add_person(
    pieces: Pieces, label: int, instance: int, x: float, z: float, ground: float, generator: np.random.Generator
) -> None:
    """A person of 1.55 to 1.9 m at (x, z), standing on ``ground`` metres."""
    draw = generator.random(16).tolist()
    height = 1.55 + 0.35 * draw[0]
    stride, width = 0.27 * (2 * draw[1] - 1), 1.05 + 0.3 * draw[2]
    turn, place = rotation_y(2 * np.pi * draw[3]), np.array([x, ground, z])
    coat = Material("flat", hsv(draw[4], 0.25 + 0.65 * draw[5], 0.25 + 0.7 * draw[6]))
    trousers = Material("flat", hsv((0.6, 0.08)[draw[7] < 0.4], 0.1 + 0.5 * draw[8], 0.12 + 0.4 * draw[9]))
    skin = Material("flat", hsv(0.065, 0.3 + 0.3 * draw[10], 0.35 + 0.6 * draw[11]))
    hair = Material("flat", hsv(0.07, 0.5, 0.06 + 0.5 * draw[12] ** 2))

    def bar(material: Material, start: list[float], end: list[float], radius: float, shape: Shape = "post") -> None:
        a, b = (place + turn @ np.asarray(point) for point in (start, end))
        pieces.post(label, material, a, b, radius, instance, shape)

    def blob(material: Material, centre: list[float], radii: list[float]) -> None:
        pieces.add("blob", label, material, place + turn @ np.asarray(centre), turn @ np.diag(radii), instance)

    for side in (-1, 1):
        swing = side * stride
        bar(trousers, [side * 0.1 * width, 0.52 * height, 0.0], [side * 0.09, 0.0, swing], 0.115 * width)
        shoulder, hand = [side * 0.23 * width, 0.81 * height, 0.0], [side * 0.29 * width, 0.47 * height, -0.8 * swing]
        bar(coat, shoulder, hand, 0.09)
    blob(coat, [0, 0.665 * height, 0], [0.235 * width, 0.195 * height, 0.155 * width])
    if draw[13] < 0.3:  # a skirt or a long coat
        bar(coat, [0, 0.3 * height, 0], [0, 0.66 * height, 0], 0.27 * width, "cone")
    if draw[14] < 0.25:  # a bag on the back
        blob(Material("flat", hsv(draw[15], 0.7, 0.6)), [0, 0.7 * height, -0.2], [0.15, 0.19, 0.12])
    blob(skin, [0, 0.925 * height, 0.01], [0.12, 0.145, 0.13])
    blob(hair, [0, 0.955 * height, -0.02], [0.128, 0.12, 0.134])
