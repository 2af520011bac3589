"""The objects of family ``defects``: nut, bottle, transistor, pill, cable.

An object lies on its ground and throws a soft shadow towards the lower right. ``fault`` names what is wrong with its
structure (empty: nothing) and ``draws`` are three uniform numbers that say how.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.data.defects_relief import Float, Relief, box, colour, inside, mix, turned, waves

Colour = Sequence[float]
Draws = tuple[float, float, float]
SOFT = 0.03  # width of an edge: about one pixel at 64 px
CAST = 0.045  # length of a shadow


def nut(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    fault: str = "",
    draws: Draws = (0.0, 0.0, 0.0),
    *,
    teeth: int = 4,
    metal: Colour = (0.56, 0.57, 0.60),
    ground: Colour = (0.05, 0.055, 0.06),
) -> Relief:
    """Stamped nut with slanted ``teeth``. Faults: ``missing`` tooth, ``bent`` tooth."""
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    slanted = angle + 0.35 * np.clip(radius - 0.62, 0, 1) / 0.2
    pitch = 2 * np.pi / teeth
    number = np.mod(np.floor(slanted / pitch + 0.5), teeth)
    wrong = (number == float(int(draws[0] * teeth))).astype(np.float32)
    if fault == "bent":
        slanted = slanted + wrong * float((0.3 + 0.2 * draws[1]) * np.sign(draws[2] - 0.5))
    tooth = np.clip(2.2 * np.cos(teeth * slanted) + 0.25, -1, 1)
    if fault == "missing":
        tooth = np.where(wrong > 0, -1, tooth)
    rim = (0.66 + 0.135 * tooth).astype(np.float32)
    body = np.maximum(radius - rim, 0.27 - radius)
    metallic = inside(body, SOFT)
    u, v = x + float(-CAST), y
    shadow = inside(np.maximum(np.hypot(u, v) - rim, 0.24 - np.hypot(u, v)), 0.12)
    collar = np.exp(-(((radius - 0.40) / 0.06) ** 2))
    height = 0.10 * np.clip(-body / 0.10, 0, 1) + 0.035 * collar * metallic
    brushed = 1 + 0.05 * np.cos(70 * radius) + 0.10 * np.cos(2 * angle + 4 * radius)
    albedo = mix(colour(ground) * (1.15 - 0.5 * shadow), colour(metal) * brushed, metallic)
    return Relief(height, albedo, metallic, 0.30 * metallic)


def bottle(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    fault: str = "",
    draws: Draws = (0.0, 0.0, 0.0),
    *,
    glass: Colour = (0.34, 0.15, 0.035),
    bright: Colour = (0.80, 0.50, 0.18),
    ground: Colour = (0.80, 0.80, 0.77),
) -> Relief:
    """Bottle seen from above: shoulder, neck ring and mouth. Faults: mouth ``shifted``, ring ``broken``."""
    radius = np.hypot(x, y)
    ox = oy = 0.0
    if fault == "shifted":
        ox, oy = (float((0.09 + 0.05 * draws[0]) * f(2 * np.pi * draws[1])) for f in (np.cos, np.sin))
    neck = np.hypot(x - ox, y - oy)
    body = inside(radius - 0.82, SOFT)
    ring = np.exp(-(((neck - 0.40) / 0.075) ** 2))
    if fault == "broken":
        away = np.mod(np.arctan2(y, x) / (2 * np.pi) - draws[0] + 0.5, 1) - 0.5
        ring = ring * inside(0.07 + 0.05 * draws[1] - np.abs(away), 0.03)
    shoulder = np.exp(-(((radius - 0.70) / 0.10) ** 2))
    mouth = inside(neck - 0.29, 0.04)
    height = 0.11 * shoulder + 0.10 * ring - 0.10 * inside(neck - 0.28, 0.12)
    shadow = inside(np.hypot(x - CAST, y - CAST) - 0.84, 0.16)
    albedo = mix(colour(ground) * (1 - 0.38 * shadow), colour(glass) * (0.65 + 0.5 * shoulder), body)
    glint = np.exp(-(((radius - 0.555) / 0.045) ** 2)) * (0.55 + 0.25 * (x + y))
    albedo = mix(albedo, colour(bright), np.clip(glint, 0, 1))
    albedo = mix(albedo, colour(bright) * 0.75, 0.8 * ring)
    albedo = mix(albedo, colour((0.03, 0.014, 0.006)), mouth)
    return Relief(height, albedo, body, 0.30 * body * (1 - mouth))


def transistor(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    fault: str = "",
    draws: Draws = (0.0, 0.0, 0.0),
    *,
    board: Colour = (0.52, 0.33, 0.135),
    metal: Colour = (0.72, 0.73, 0.75),
) -> Relief:
    """Transistor on a perforated board. Faults: ``missing`` leg, ``bent`` leg, ``shifted`` case."""
    u, v = np.mod(x * 4 + 0.5, 1) - 0.5, np.mod(y * 4 + 0.5, 1) - 0.5
    hole = inside(np.hypot(u, v) - 0.17, 0.09)
    copper = inside(np.abs(np.hypot(u, v) - 0.27) - 0.05, 0.09)
    grain = 1 + 0.035 * np.cos(40 * y + 3 * np.cos(5 * x))
    albedo = mix(colour(board) * grain, colour((0.62, 0.42, 0.17)), 0.75 * copper)
    albedo = mix(albedo, colour((0.03, 0.02, 0.012)), hole)
    height = 0.012 * copper - 0.02 * hole
    foreground, gloss = np.zeros_like(x), 0.08 * copper
    chosen = int(draws[0] * 3)
    px, py = x, y
    if fault == "shifted":
        side = 1.0 if draws[0] < 0.5 else -1.0
        px, py = turned(x, y, side * (0.28 + 0.2 * draws[1]), side * 0.12 * draws[2], -0.24)
        py = py - 0.28
    for k, centre in enumerate((-0.25, 0.0, 0.25)):
        if fault == "missing" and k == chosen:
            continue
        lean = np.clip(y - 0.12, 0, 1) * (0.4 if draws[1] < 0.5 else -0.4) if fault == "bent" and k == chosen else 0.0
        leg = box(x - centre - lean, y - 0.47, 0.05, 0.40, 0.01)
        shadow = inside(box(x - centre - lean - CAST, y - 0.47 - CAST, 0.05, 0.40), 0.10)
        albedo = albedo * (1 - 0.45 * shadow)
        shown = inside(leg, SOFT)
        albedo, height = mix(albedo, colour(metal), shown), np.maximum(height, 0.05 * np.clip(-leg / 0.035, 0, 1))
        foreground, gloss = np.maximum(foreground, shown), np.maximum(gloss, 0.35 * shown)
    case = box(px, py + 0.28, 0.44, 0.36, 0.07)
    albedo = albedo * (1 - 0.55 * inside(box(px - CAST, py + 0.28 - CAST, 0.44, 0.36, 0.07), 0.14))
    shown = inside(case, SOFT)
    tab = inside(np.abs(np.hypot(px, py + 0.42) - 0.11) - 0.03, SOFT)
    label = inside(box(px, py + 0.12, 0.24, 0.025), SOFT)
    plastic = mix(
        mix(colour((0.075, 0.077, 0.083)), colour((0.40, 0.40, 0.41)), tab), colour((0.45, 0.46, 0.44)), label
    )
    albedo = mix(albedo, plastic, shown)
    height = height * (1 - shown) + shown * (0.05 + 0.10 * np.clip(-case / 0.09, 0, 1) - 0.02 * tab)
    gloss = gloss * (1 - shown) + 0.10 * shown
    return Relief(height, albedo, np.maximum(foreground, shown), gloss)


def pill(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    fault: str = "",
    draws: Draws = (0.0, 0.0, 0.0),
    *,
    left: Colour = (0.74, 0.12, 0.10),
    right: Colour = (0.88, 0.83, 0.68),
    ground: Colour = (0.055, 0.06, 0.07),
) -> Relief:
    """Two-coloured capsule with a print and random specks. Faults: ``shifted`` seam, print ``moved`` or ``missing``."""
    hull = box(x, y, 0.80, 0.42, 0.42)
    body = inside(hull, SOFT)
    deep = np.clip(-hull / 0.42, 0, 1)
    seam = (0.16 + 0.1 * draws[0]) * (1 if draws[1] < 0.5 else -1) if fault == "shifted" else 0.0
    px, py = x - 0.40, y
    if fault == "moved":
        px, py = turned(px, py, 0.6 + 1.9 * draws[0], 0.14 * (draws[1] - 0.5), 0.22 * (draws[2] - 0.5))
    stroke = np.minimum(box(px, py, 0.17, 0.032), box(px + 0.09, py, 0.032, 0.15))
    printed = inside(stroke, SOFT) if fault != "missing" else np.zeros_like(x)
    specks = inside(1.35 - waves(generator, x, y, 2.5, 5.5, 14), 0.25) * (deep > 0.1)
    shadow = inside(box(x - CAST, y - CAST, 0.82, 0.44, 0.44), 0.16)
    groove = np.exp(-(((x - seam) / 0.03) ** 2))
    skin = mix(colour(left), colour(right), inside(seam - x, SOFT)) * (1 - 0.22 * specks) * (1 - 0.3 * groove)
    skin = mix(skin, colour((0.10, 0.10, 0.16)), 0.9 * printed)
    albedo = mix(colour(ground) * (1.15 - 0.6 * shadow), skin, body)
    height = 0.30 * np.sqrt(deep) - 0.012 * groove * body
    return Relief(height, albedo, body, 0.28 * body)


def cable(
    generator: np.random.Generator,
    x: Float,
    y: Float,
    fault: str = "",
    draws: Draws = (0.0, 0.0, 0.0),
    *,
    cores: tuple[Colour, Colour, Colour] = ((0.10, 0.36, 0.13), (0.30, 0.14, 0.055), (0.12, 0.20, 0.55)),
    sheath: Colour = (0.25, 0.25, 0.27),
    ground: Colour = (0.76, 0.76, 0.73),
) -> Relief:
    """Section of a cable with three stranded cores. Faults: ``missing`` core, ``swapped`` cores, ``double`` colour."""
    radius = np.hypot(x, y)
    body = inside(radius - 0.86, SOFT)
    shadow = inside(np.hypot(x - CAST, y - CAST) - 0.88, 0.16)
    albedo = mix(colour(ground) * (1 - 0.38 * shadow), colour(sheath), body)
    filler = inside(radius - 0.745, SOFT)
    albedo = mix(albedo, colour((0.085, 0.085, 0.095)) * (1 + 0.25 * np.cos(24 * x) * np.cos(24 * y)), filler)
    height, gloss = 0.10 * np.clip((0.86 - radius) / 0.05, 0, 1) * body - 0.05 * filler, 0.10 * body * (1 - filler)
    chosen, order = int(draws[0] * 3), [0, 1, 2]
    if fault == "swapped":
        order[chosen], order[(chosen + 1) % 3] = order[(chosen + 1) % 3], order[chosen]
    elif fault == "double":
        order[chosen] = order[(chosen + (1 if draws[1] < 0.5 else 2)) % 3]
    for k in range(3):
        if fault == "missing" and k == chosen:
            continue
        angle = 2 * np.pi * k / 3 + 0.5
        u, v = x - float(0.375 * np.cos(angle)), y - float(0.375 * np.sin(angle))
        distance = np.hypot(u, v)
        albedo = mix(albedo, colour(cores[order[k]]), inside(distance - 0.315, SOFT))
        height = np.maximum(height, 0.14 * np.clip((0.315 - distance) / 0.05, 0, 1))
        strands = 0.5 + 0.5 * np.cos(28 * u) * np.cos(28 * v)
        copper = mix(colour((0.30, 0.12, 0.045)), colour((0.86, 0.50, 0.26)), strands)
        inner = inside(distance - 0.215, SOFT)
        albedo = mix(albedo, copper, inner)
        height = height - inner * (0.05 - 0.03 * strands)
        gloss = np.maximum(gloss, 0.12 * inside(distance - 0.315, SOFT))
    return Relief(height, albedo, body, gloss)
