"""Furniture: each piece is built in a frame of its own whose +Z is the front, standing on the floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.data.rooms_materials import draw_material, wooden
from harness.data.rooms_pieces import Frame, Material, Pieces

LABELS = (
    "none", "floor", "wall", "ceiling", "window", "bed_sofa", "table", "cabinet", "lamp", "rug", "picture", "chair",
    "plant",
)  # fmt: skip
FLOOR, WALL, CEILING, WINDOW, BED_SOFA, TABLE, CABINET, LAMP, RUG, PICTURE, CHAIR, PLANT = range(1, 13)

Size = tuple[float, float]
"""Half width and half depth on the floor (metres)."""


def draw_size(kind: int, generator: np.random.Generator) -> Size:
    """The footprint of a piece of furniture with label ``kind``."""
    low, high = {
        TABLE: ((0.35, 0.28), (0.7, 0.45)),
        CABINET: ((0.35, 0.2), (0.75, 0.3)),
        LAMP: ((0.2, 0.2), (0.26, 0.26)),
        CHAIR: ((0.22, 0.24), (0.27, 0.28)),
        PLANT: ((0.22, 0.22), (0.3, 0.3)),
    }[kind]
    half_width, half_depth = generator.uniform(low, high)
    return float(half_width), float(half_depth)


def add_bed(pieces: Pieces, frame: Frame, size: Size, layout: np.random.Generator, paint: np.random.Generator) -> None:
    """A bed with its head at the back: frame, mattress, blanket and one or two pillows."""
    w, d = size
    height, head = float(layout.uniform(0.26, 0.36)), float(layout.uniform(0.25, 0.5))
    wood = wooden(paint)
    sheet = draw_material(paint, hue=0.1, saturation=(0, 0.12), value=(0.75, 0.95))
    cover = draw_material(paint, ("plain", "plain", "stripes", "checker", "mottled"), frequency=(1.2, 2.2))
    pieces.add("box", BED_SOFA, wood, frame, [0, height / 2, 0], [w, height / 2, d])
    pieces.add(
        "box", BED_SOFA, wood, frame, [0, (height + 0.2 + head) / 2, -d], [w * 1.03, (height + 0.2 + head) / 2, 0.05]
    )
    pieces.add("soft", BED_SOFA, sheet, frame, [0, height + 0.08, 0.02], [w * 0.97, 0.14, d * 0.96])
    pieces.add("soft", BED_SOFA, cover, frame, [0, height + 0.06, d * 0.3], [w * 1.04, 0.2, d * 0.72])
    pillow = draw_material(paint, saturation=(0, 0.5), value=(0.7, 0.98))
    for side in (-0.48, 0.48) if w > 0.6 else (0.0,):
        half = w * (0.4 if w > 0.6 else 0.7)
        pieces.add("soft", BED_SOFA, pillow, frame, [side * w, height + 0.27, -d * 0.7], [half, 0.12, 0.22])


def add_sofa(pieces: Pieces, frame: Frame, size: Size, layout: np.random.Generator, paint: np.random.Generator) -> None:
    """A sofa or armchair with arms, seat, back and cushions."""
    w, d = size
    arm, back = float(layout.uniform(0.55, 0.68)), float(layout.uniform(0.75, 0.95))
    cloth = draw_material(paint, ("plain", "plain", "plain", "stripes", "mottled"), frequency=(1.2, 2.0))
    seat = draw_material(paint) if paint.random() < 0.15 else cloth
    pieces.add("box", BED_SOFA, cloth, frame, [0, 0.17, 0], [w, 0.14, d])
    pieces.add("soft", BED_SOFA, cloth, frame, [0, back / 2, -d + 0.13], [w, back / 2, 0.15])
    for side in (-1, 1):
        pieces.add("soft", BED_SOFA, cloth, frame, [side * (w - 0.1), arm / 2, 0.02], [0.13, arm / 2, d])
    count = 1 if w < 0.6 else 2
    half = (w - 0.22) / count
    for k in range(count):
        x = (2 * k + 1 - count) * half
        pieces.add("soft", BED_SOFA, seat, frame, [x, 0.37, 0.1], [half * 0.98, 0.11, d - 0.1])
        if layout.random() < 0.75:
            cushion = draw_material(paint, saturation=(0.4, 0.9), value=(0.45, 0.95))
            pieces.add("soft", BED_SOFA, cushion, frame, [x + half * 0.2, 0.6, -0.05], [0.2, 0.19, 0.1])


def add_table(
    pieces: Pieces, frame: Frame, size: Size, layout: np.random.Generator, paint: np.random.Generator
) -> None:
    """A low or high, square or round table; often something stands on it."""
    w, d = size
    height = float(layout.uniform(0.36, 0.5) if layout.random() < 0.5 else layout.uniform(0.62, 0.76))
    wood = wooden(paint) if paint.random() < 0.75 else draw_material(paint, saturation=(0, 0.5), value=(0.3, 0.95))
    if layout.random() < 0.3:
        radius = min(w, d) * 1.1
        pieces.add("post", TABLE, wood, frame, [0, height - 0.05, 0], [radius, 0.05, radius])
        pieces.add("post", TABLE, wood, frame, [0, 0, 0], [0.06, height, 0.06])
        pieces.add("post", TABLE, wood, frame, [0, 0, 0], [radius * 0.5, 0.04, radius * 0.5])
    else:
        pieces.add("box", TABLE, wood, frame, [0, height - 0.03, 0], [w, 0.03, d])
        for x in (-1, 1):
            for z in (-1, 1):
                leg = [x * (w - 0.05), height / 2, z * (d - 0.05)]
                pieces.add("box", TABLE, wood, frame, leg, [0.035, height / 2, 0.035])
    _ornament(pieces, replace(frame, y=height), min(w, d), layout, paint)


def _ornament(
    pieces: Pieces, frame: Frame, room: float, layout: np.random.Generator, paint: np.random.Generator
) -> None:
    """A table lamp, a vase, books, or nothing, upon the surface at the frame's height."""
    kind, x = int(layout.integers(5)), float(layout.uniform(-0.4, 0.4)) * room
    bright = draw_material(paint, saturation=(0.4, 0.9), value=(0.4, 0.9))
    if kind == 0:
        shade = draw_material(paint, hue=0.12, saturation=(0.1, 0.4), value=(0.9, 1.0), glow=1.1)
        pieces.add("pot", LAMP, bright, frame, [x, 0, 0], [0.05, 0.2, 0.05])
        pieces.add("shade", LAMP, shade, frame, [x, 0.18, 0], [0.16, 0.2, 0.16])
    elif kind == 1:
        green = draw_material(paint, ("mottled",), 0.3, (0.5, 0.8), (0.3, 0.6))
        pieces.add("pot", PLANT, bright, frame, [x, 0, 0], [0.08, 0.16, 0.08])
        pieces.add("ball", PLANT, green, frame, [x, 0.27, 0], [0.15, 0.15, 0.15])
    elif kind == 2:
        pieces.add("box", TABLE, bright, frame, [x, 0.04, 0], [0.14, 0.04, 0.1])


def add_cabinet(
    pieces: Pieces, frame: Frame, size: Size, layout: np.random.Generator, paint: np.random.Generator
) -> None:
    """A chest of drawers, a wardrobe with doors, or a shelf with books."""
    kind = int(layout.integers(3))
    half = float(layout.uniform((0.35, 0.85, 0.5)[kind], (0.55, 1.0, 0.95)[kind]))
    wood = wooden(paint) if paint.random() < 0.7 else draw_material(paint, saturation=(0, 0.5), value=(0.3, 0.95))
    if kind == 0:
        _chest(pieces, frame, (*size, half), (int(layout.integers(2, 4)), 1), wood)
        _ornament(pieces, replace(frame, y=2 * half), size[1], layout, paint)
    elif kind == 1:
        _chest(pieces, frame, (max(size[0], 0.42), size[1], half), (1, 2), wood)
    else:
        _shelf(pieces, frame, (*size, half), wood, layout, paint)


def _chest(
    pieces: Pieces, frame: Frame, size: tuple[float, float, float], fronts: tuple[int, int], wood: Material
) -> None:
    """A closed body with rows and columns of ``fronts`` and their handles; ``size`` ends with half the height."""
    (w, d, half), (rows, columns) = size, fronts
    pale = replace(wood, colour=np.clip(np.asarray(wood.colour) * 1.25, 0, 1), second=wood.colour)
    dark = replace(wood, colour=(0.1, 0.1, 0.1))
    pieces.add("box", CABINET, wood, frame, [0, half, 0], [w, half, d])
    for row in range(rows):
        for column in range(columns):
            x, y = (2 * column + 1 - columns) * w / columns, half * (2 * row + 1) / rows
            pieces.add("box", CABINET, pale, frame, [x, y, d], [w / columns - 0.035, half / rows - 0.035, 0.02])
            pieces.add("box", CABINET, dark, frame, [x, y, d + 0.03], [0.05, 0.015, 0.02])


def _shelf(
    pieces: Pieces,
    frame: Frame,
    size: tuple[float, float, float],
    wood: Material,
    layout: np.random.Generator,
    paint: np.random.Generator,
) -> None:
    """An open shelf with up to three blocks of books on every board but the highest."""
    w, d, half = size
    pieces.add("box", CABINET, wood, frame, [0, half, -d + 0.02], [w, half, 0.02])
    for side in (-1, 1):
        pieces.add("box", CABINET, wood, frame, [side * (w - 0.02), half, 0], [0.02, half, d])
    boards = 2 + round(half / 0.3)
    for board in range(boards):
        y = 0.05 + (2 * half - 0.07) * board / (boards - 1)
        pieces.add("box", CABINET, wood, frame, [0, y, 0], [w, 0.02, d])
        if board == boards - 1:
            break
        x = -w + 0.05 + float(layout.uniform(0, 0.3 * w))
        for _ in range(3):
            books, tall = float(layout.uniform(0.06, 0.14)), float(layout.uniform(0.08, 0.12))
            if x + 2 * books > w - 0.05:
                break
            colour = draw_material(paint, saturation=(0.2, 0.9), value=(0.3, 0.9))
            pieces.add("box", CABINET, colour, frame, [x + books, y + tall + 0.02, 0], [books, tall, d * 0.75])
            x += 2 * books + 0.01


def add_lamp(pieces: Pieces, frame: Frame, size: Size, layout: np.random.Generator, paint: np.random.Generator) -> None:
    """A floor lamp."""
    height = float(layout.uniform(1.2, 1.55))
    metal = draw_material(paint, hue=0.1, saturation=(0, 0.4), value=(0.1, 0.6))
    shade = draw_material(paint, hue=0.12, saturation=(0.1, 0.45), value=(0.85, 1.0), glow=1.1)
    pieces.add("post", LAMP, metal, frame, [0, 0, 0], [0.15, 0.03, 0.15])
    pieces.add("post", LAMP, metal, frame, [0, 0, 0], [0.025, height, 0.025])
    pieces.add("shade", LAMP, shade, frame, [0, height - 0.1, 0], [size[0], 0.32, size[0]])


def add_chair(
    pieces: Pieces, frame: Frame, size: Size, layout: np.random.Generator, paint: np.random.Generator
) -> None:
    """A chair with a back and four legs, or a stool."""
    w, d = size
    wood = wooden(paint) if paint.random() < 0.5 else draw_material(paint, saturation=(0.2, 0.8), value=(0.3, 0.9))
    seat = draw_material(paint, saturation=(0.2, 0.8), value=(0.3, 0.9)) if paint.random() < 0.4 else wood
    pieces.add("soft", CHAIR, seat, frame, [0, 0.43, 0], [w, 0.06, d])
    for x in (-1, 1):
        for z in (-1, 1):
            pieces.add("box", CHAIR, wood, frame, [x * (w - 0.04), 0.2, z * (d - 0.04)], [0.03, 0.2, 0.03])
    if layout.random() < 0.85:
        top = float(layout.uniform(0.8, 1.0))
        for x in (-1, 1):
            pieces.add("box", CHAIR, wood, frame, [x * (w - 0.04), 0.45 + top / 4, -d + 0.03], [0.03, top / 4, 0.03])
        pieces.add("soft", CHAIR, seat, frame, [0, top - 0.13, -d + 0.03], [w, 0.19, 0.045])


def add_plant(
    pieces: Pieces, frame: Frame, size: Size, layout: np.random.Generator, paint: np.random.Generator
) -> None:
    """A plant in a pot."""
    pot = draw_material(paint, hue=None if paint.random() < 0.4 else 0.05, saturation=(0.1, 0.8), value=(0.35, 0.9))
    wood = wooden(paint, (0.2, 0.4))
    green = float(paint.normal(0.3, 0.04))
    pieces.add("pot", PLANT, pot, frame, [0, 0, 0], [size[0] * 0.8, 0.32, size[0] * 0.8])
    top = float(layout.uniform(0.5, 0.95))
    pieces.add("post", PLANT, wood, frame, [0, 0.2, 0], [0.03, top, 0.03])
    for k in range(6):
        leaf = draw_material(paint, ("mottled",), green, (0.45, 0.8), (0.25, 0.6))
        angle, away = 2.4 * k + layout.uniform(-0.4, 0.4), layout.uniform(0.05, 0.14)
        centre = [away * np.sin(angle), top + layout.uniform(-0.15, 0.4), away * np.cos(angle)]
        pieces.add("ball", PLANT, leaf, frame, centre, layout.uniform((0.12, 0.13, 0.12), (0.18, 0.24, 0.18)))


BUILDERS = {TABLE: add_table, CABINET: add_cabinet, LAMP: add_lamp, CHAIR: add_chair, PLANT: add_plant}
