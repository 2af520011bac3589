"""The six kinds of defect, and the mask of what a defect changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.data.defects_categories import CORE, DISC, Category, Pose, draw_pose
from harness.data.defects_relief import Float, Relief, colour, inside, mix, turned, waves
from harness.data.textures import hsv

KINDS = ("scratch", "hole", "contamination", "colour", "foreign", "structural")
DIRT_HUES = (0.27, 0.50, 0.86)  # lime, cyan, magenta: no category has them
CHANGED = 0.03  # least change of a defective pixel, in encoded units
CLEAR = 0.06  # least mean change inside a mask
LEAST, MOST = 8, 0.25  # pixels; share of the picture
REACH = 0.82  # defects are centred within this part of the picture
SPECK = 4  # components below this number of pixels are dropped


@dataclass(frozen=True)
class Scene:
    """A clean picture before lighting: lattice ``x``, ``y``, category, pose and the ``texture`` stream, made anew at
    every call so that a second painting repeats the first."""

    category: Category
    pose: Pose
    texture: Callable[[], np.random.Generator]
    x: Float
    y: Float

    @cached_property
    def relief(self) -> Relief:
        """The picture without a defect."""
        return self.paint(self.x, self.y)

    def paint(self, x: Float, y: Float, **fault: object) -> Relief:
        """The picture as seen at image coordinates ``x``, ``y``."""
        return self.category.paint(self.texture(), *self.pose.frame(x, y), **fault)

    def spot(self, generator: np.random.Generator) -> tuple[float, float]:
        """A random place on the object."""
        near = (np.abs(self.x) < REACH) & (np.abs(self.y) < REACH) & (self.relief.foreground > 0.8)
        places = np.flatnonzero(near)
        chosen = places[int(generator.random() * len(places))]
        return float(self.x.flat[chosen]), float(self.y.flat[chosen])


def damaged(scene: Scene, kind: str, generator: np.random.Generator) -> Relief:
    """The scene with a random defect of ``kind``."""
    return _DAMAGE[kind](scene, generator, *scene.spot(generator))


def defect_mask(change: Float) -> NDArray[np.bool_]:
    """Pixels whose largest change over the channels [H,W] exceeds ``CHANGED``, closed once, without specks."""
    changed = change > CHANGED
    closed = ndimage.binary_closing(changed) | changed
    labels, count = ndimage.label(closed, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray((sizes >= SPECK)[labels])


def acceptable(mask: NDArray[np.bool_], change: Float) -> bool:
    """Whether a defect is large enough, not too large, and visible."""
    area = int(mask.sum())
    return LEAST <= area <= MOST * mask.size and float(change[mask].mean()) >= CLEAR


# ------------------------------------------------------------------------------------------------ kinds of defect
def _blob(scene: Scene, generator: np.random.Generator, cx: float, cy: float, low: float, high: float) -> Float:
    """Signed distance to an uneven disc of random radius between ``low`` and ``high``."""
    radius, uneven = float(generator.uniform(low, high)), waves(generator, scene.x, scene.y, 1.0, 2.2, 5)
    return np.asarray(np.hypot(scene.x - cx, scene.y - cy) - radius * (1 + 0.22 * uneven), np.float32)


def _scratch(scene: Scene, generator: np.random.Generator, cx: float, cy: float) -> Relief:
    clean = scene.relief
    angle, length, width, bend, ripple = generator.uniform(
        (0, 0.22, 0.018, -0.5, 0), (np.pi, 0.44, 0.034, 0.5, 0.03)
    ).tolist()
    u, v = turned(scene.x, scene.y, angle, cx, cy)
    v = v + bend * u * u + ripple * np.sin(9 * u)
    taper = np.clip((length - np.abs(u)) / (0.5 * length), 0.35, 1)
    on = np.where(clean.foreground > 0.2, np.float32(1), np.float32(0))
    cut = inside(np.maximum(np.abs(v) - width * taper, np.abs(u) - length), 0.02) * on
    rim = inside(np.maximum(np.abs(np.abs(v) - 1.9 * width * taper) - 0.4 * width, np.abs(u) - length), 0.02) * on
    bright = float((clean.albedo.mean(0) * cut).sum() / max(float(cut.sum()), 1e-6)) > 0.28
    trace = clean.albedo * 0.28 if bright else np.broadcast_to(colour((0.66, 0.65, 0.63)), clean.albedo.shape)
    return replace(clean, height=clean.height - 0.03 * cut + 0.008 * rim, albedo=mix(clean.albedo, trace, 0.9 * cut))


def _hole(scene: Scene, generator: np.random.Generator, cx: float, cy: float) -> Relief:
    clean = scene.relief
    distance = _blob(scene, generator, cx, cy, 0.09, 0.17)
    open_ = inside(distance, 0.04) * clean.foreground
    return Relief(
        clean.height * (1 - open_) - 0.07 * np.clip(-distance / 0.07, 0, 1) * open_,
        mix(clean.albedo, colour((0.022, 0.019, 0.016)), open_),
        clean.foreground,
        clean.gloss * (1 - open_),
    )


def _contamination(scene: Scene, generator: np.random.Generator, cx: float, cy: float) -> Relief:
    clean = scene.relief
    distance = _blob(scene, generator, cx, cy, 0.09, 0.17)
    hue, jitter, value = generator.random(3).tolist()
    paint = hsv(DIRT_HUES[int(3 * hue)] + 0.03 * (jitter - 0.5), 0.85, 0.55 + 0.25 * value)
    drop = inside(distance, 0.04)
    dome = np.sqrt(np.clip(-distance / 0.12, 0, 1))
    return Relief(
        clean.height + 0.06 * dome,
        mix(clean.albedo, colour(paint.tolist()), 0.93 * drop),
        clean.foreground,
        np.maximum(clean.gloss, 0.35 * drop),
    )


def _colour(scene: Scene, generator: np.random.Generator, cx: float, cy: float) -> Relief:
    clean = scene.relief
    stain = inside(_blob(scene, generator, cx, cy, 0.15, 0.26), 0.08) * clean.foreground
    tint = hsv(float(generator.random()), 0.75, 1.0)
    tinted = (0.05 + clean.albedo.mean(0)) * colour((tint / tint.mean()).tolist())
    return replace(clean, albedo=mix(clean.albedo, np.clip(0.35 * clean.albedo + 0.65 * tinted, 0, 1), stain))


def _foreign(scene: Scene, generator: np.random.Generator, cx: float, cy: float) -> Relief:
    """A patch of another category's normal appearance. Donors are always among the first six, so that the pictures of
    a category do not depend on how many categories there are."""
    clean = scene.relief
    patch = inside(_blob(scene, generator, cx, cy, 0.17, 0.26), 0.035)
    donors = [category for category in CORE if category.name.rstrip("2") != scene.category.name.rstrip("2")]
    donor = donors[int(generator.random() * len(donors))]
    key = int(generator.integers(2**62))

    def texture() -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=key))

    other = Scene(donor, draw_pose(donor, generator), texture, scene.x, scene.y)
    ox, oy = other.spot(generator)
    given = other.paint(scene.x + (ox - cx), scene.y + (oy - cy))
    return Relief(
        clean.height * (1 - patch) + (given.height + 0.02) * patch,
        mix(clean.albedo, given.albedo, patch),
        clean.foreground,
        clean.gloss * (1 - patch) + given.gloss * patch,
    )


def _structural(scene: Scene, generator: np.random.Generator, cx: float, cy: float) -> Relief:
    faults = scene.category.faults
    which, *draws = generator.random(4).tolist()
    fault = faults[int(which * len(faults))]
    if fault not in DISC:
        return scene.paint(scene.x, scene.y, fault=fault, draws=tuple(draws))
    radius = 0.20 + 0.09 * draws[0]
    disc = inside(np.hypot(scene.x - cx, scene.y - cy) - radius, 0.03)
    u, v = turned(scene.x, scene.y, 0.5 + 2.1 * draws[1] if fault == "turned" else 0.0, cx, cy)
    zoom = 0.4 + 0.15 * draws[2] if fault == "stretched" else 1.0
    moved, clean = scene.paint(zoom * u + cx, zoom * v + cy), scene.relief
    return Relief(
        clean.height * (1 - disc) + moved.height * disc,
        mix(clean.albedo, moved.albedo, disc),
        clean.foreground,
        clean.gloss * (1 - disc) + moved.gloss * disc,
    )


_DAMAGE: dict[str, Callable[[Scene, np.random.Generator, float, float], Relief]] = {
    "scratch": _scratch,
    "hole": _hole,
    "contamination": _contamination,
    "colour": _colour,
    "foreign": _foreign,
    "structural": _structural,
}
