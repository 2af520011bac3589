"""The textures of family ``defects``: weave, grid, tile, wood, leather."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.data.defects_relief import Float, Relief, colour, inside, mix, waves

Colour = Sequence[float]


def weave(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    *,
    threads: float = 5.0,
    warp: Colour = (0.62, 0.47, 0.25),
    weft: Colour = (0.80, 0.70, 0.49),
) -> Relief:
    """Plain weave of ``threads`` yarns per unit, which dive under one another."""
    p, q = x * threads, y * threads
    i, j = np.floor(p), np.floor(q)
    along, across = np.sin(np.pi * q) * (1 - 2 * (i % 2)), -np.sin(np.pi * p) * (1 - 2 * (j % 2))
    thick = 0.47
    first = np.sqrt(np.clip(1 - ((p - i - 0.5) / thick) ** 2, 0, 1))
    second = np.sqrt(np.clip(1 - ((q - j - 0.5) / thick) ** 2, 0, 1))
    upper, lower = 0.5 * first + 0.4 * along, 0.5 * second + 0.4 * across
    over = inside(lower - upper, 0.1)
    height = np.maximum(upper, lower)
    twist = np.where(over > 0.5, np.cos(2 * np.pi * (3 * p + q)), np.cos(2 * np.pi * (3 * q + p)))
    albedo = mix(colour(weft), colour(warp), over) * (0.42 + 0.62 * np.clip(height, 0, 1) + 0.05 * twist)
    return Relief(height * float(0.22 / threads), albedo, np.ones_like(x), np.zeros_like(x))


def grid(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    *,
    wires: float = 2.3,
    metal: Colour = (0.60, 0.61, 0.60),
    ground: Colour = (0.055, 0.06, 0.07),
) -> Relief:
    """Diagonal mesh of round wires, woven over and under, above a dark ground."""
    c = float(np.sqrt(0.5))
    p, q = (x + y) * (c * wires), (y - x) * (c * wires)
    i, j = np.floor(p), np.floor(q)
    u, v = np.abs(p - i - 0.5), np.abs(q - j - 0.5)
    soft, thick = 0.02 * wires, 0.15
    a, b = inside(u - thick, soft), inside(v - thick, soft)
    sway = 0.5 + 0.5 * np.cos(np.pi * (i + j)) * np.cos(np.pi * (q - j - 0.5)) * np.cos(np.pi * (p - i - 0.5))
    first = np.sqrt(np.clip(1 - (u / thick) ** 2, 0, 1)) + sway
    second = np.sqrt(np.clip(1 - (v / thick) ** 2, 0, 1)) + 1 - sway
    height = np.maximum(a * (0.6 + first), b * (0.6 + second)) * float(0.11 / wires)
    wire = np.maximum(a, b)
    shadow = inside(np.minimum(np.abs(p - i - 0.62), np.abs(q - j - 0.62)) - thick, 0.35)
    albedo = mix(
        colour(ground) * (1.25 - 0.6 * shadow), colour(metal) * (0.72 + 0.14 * np.maximum(first, second)), wire
    )
    return Relief(height, albedo, np.ones_like(x), 0.16 * wire)


def tile(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    *,
    tiles: float = 1.5,
    stone: Colour = (0.74, 0.71, 0.64),
    chips: tuple[Colour, Colour] = ((0.36, 0.35, 0.34), (0.66, 0.40, 0.28)),
    grout: Colour = (0.30, 0.30, 0.31),
) -> Relief:
    """Bevelled tiles of terrazzo: two kinds of chips whose places differ from image to image."""
    u, v = np.mod(x * tiles + 0.5, 1) - 0.5, np.mod(y * tiles + 0.5, 1) - 0.5
    edge = np.maximum(np.abs(u), np.abs(v)) - 0.455
    top = inside(edge, 0.03)
    stony = colour(stone) * (1 + 0.03 * waves(generator, x, y, 0.4, 1.0, 4))
    for chip, level in zip(chips, (1.15, 1.35), strict=True):
        speckle = inside(float(level) - waves(generator, x, y, 2.0, 4.5, 12), 0.25)
        stony = mix(stony, colour(chip), 0.85 * speckle)
    bevel = np.clip(-edge / 0.05, 0, 1)
    return Relief(0.045 * bevel, mix(colour(grout), stony, top), np.ones_like(x), 0.05 * top)


def wood(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    *,
    rings: float = 3.2,
    early: Colour = (0.66, 0.41, 0.20),
    late: Colour = (0.36, 0.19, 0.085),
) -> Relief:
    """Planed board: growth rings along y, bent at random, with fibres and pores."""
    bend = waves(generator, 0.45 * x, 0.9 * y, 0.3, 0.8, 6)
    phase = np.mod(x * rings + 0.28 * bend, 1)
    band = phase**3 * (1 - inside(0.97 - phase, 0.06))  # slow growth darkens towards a sharp edge
    fibre = waves(generator, x * 9, y * 0.7, 0.7, 1.5, 8)
    pores = inside(1.7 - waves(generator, x * 8, y * 1.1, 0.8, 1.6, 8), 0.3)
    albedo = mix(colour(early), colour(late), np.clip(0.85 * band + 0.07 * fibre + 0.08, 0, 1)) * (1 - 0.35 * pores)
    return Relief(0.006 * band - 0.006 * pores, albedo, np.ones_like(x), np.full_like(x, 0.03))


def leather(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    *,
    pebbles: float = 5.5,
    hide: Colour = (0.40, 0.155, 0.075),
) -> Relief:
    """Grained leather: pebbles are the cells of random points, creases lie between them."""
    size = 64
    spots = generator.random((2, size, size)).astype(np.float32)
    tone = generator.random((size, size)).astype(np.float32)
    u, v = x * pebbles, y * pebbles
    i, j = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    nearest, second = np.full(x.shape, 9, np.float32), np.full(x.shape, 9, np.float32)
    shade = np.zeros_like(x)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            cell = (j + dj) % size, (i + di) % size
            distance = np.hypot(u - (i + di) - spots[0][cell], v - (j + dj) - spots[1][cell], dtype=np.float32)
            closer = distance < nearest
            second = np.where(closer, nearest, np.minimum(second, distance))
            shade = np.where(closer, tone[cell], shade)
            nearest = np.where(closer, distance, nearest)
    pebble = np.clip((second - nearest) / 0.42, 0, 1)
    dome = np.sqrt(pebble)
    albedo = colour(hide) * (0.42 + 0.50 * dome + 0.16 * shade)
    return Relief(dome * float(0.16 / pebbles), albedo, np.ones_like(x), 0.07 * dome)
