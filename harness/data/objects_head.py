"""Class ``head``: a toy animal's head, exactly symmetric in shape; also the head of class ``creature``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.data import meshes
from harness.data.factors import Factor, choice, shape
from harness.data.meshes import Array, Mesh
from harness.data.solids import Assembly, Float, Solid, Surface
from harness.data.textures import Waves, hsv

PARTS = ("background", "face", "snout", "ear", "eye", "pupil", "mouth", "brow", "inner_ear")
FACE, SNOUT, EAR, EYE, PUPIL, MOUTH, BROW, INNER_EAR = range(1, 9)
KEYPOINTS = (
    "left_eye", "right_eye", "mouth",
    "left_ear_inner", "left_ear_tip", "left_ear_outer",
    "right_ear_inner", "right_ear_tip", "right_ear_outer",
)  # fmt: skip
MIRROR = (1, 0, 2, 6, 7, 8, 3, 4, 5)  # keypoint ids after a left-right flip

SHAPE = (
    shape("radius_x", 0.44, 0.56),
    shape("radius_y", 0.44, 0.56),
    shape("radius_z", 0.42, 0.50),
    shape("snout_length", 0.12, 0.42),
    shape("snout_width", 0.26, 0.42),
    shape("snout_height", -0.35, -0.12),
    shape("eye_spacing", 0.32, 0.50),
    shape("eye_height", 0.05, 0.28),
    shape("eye_radius", 0.085, 0.135),
    shape("cheek", 0.0, 0.16),
    shape("brow", 0.0, 0.10),
    shape("chin", 0.0, 0.12),
    shape("nose_size", 0.06, 0.10),
    choice("ear_kind", "shape", 1 / 3, 1 / 3, 1 / 3),
    shape("ear_length", 0.16, 0.28),
    shape("ear_width", 0.11, 0.18),
    shape("ear_angle", 0.40, 0.85),
)
APPEARANCE = (
    choice("fur_kind", "appearance", 0.6, 0.4),  # natural browns, any hue
    Factor("fur_hue", "appearance", kind="circular"),
    Factor("fur_saturation", "appearance", 0.15, 0.75),
    Factor("fur_value", "appearance", 0.40, 0.95),
    choice("second_kind", "appearance", 0.65, 0.35),  # light, dark
    choice("pattern", "appearance", 0.25, 0.25, 0.25, 0.25),  # plain, spots, stripes, blaze
    Factor("eye_hue", "appearance", 0.08, 0.65),
    Factor("nose_value", "appearance", 0.12, 0.70),
    Factor("pupil_size", "appearance", 0.40, 0.65),
    choice("asymmetric", "appearance", 0.92, 0.08),
)
FACTORS: tuple[Factor, ...] = SHAPE + APPEARANCE

CONE, ROUND, LONG = range(3)
PLAIN, SPOTS, STRIPES, BLAZE = range(4)


@dataclass(frozen=True)
class Coat:
    """Colours and texture of an animal: linear RGB ``base``, ``second`` and the pattern's noise."""

    base: Float
    second: Float
    pattern: int
    waves: Waves


def coat(factors: Mapping[str, float], texture: np.random.Generator) -> Coat:
    """The coat of the given appearance factors; ``texture`` shapes the pattern."""
    hue, saturation, value = factors["fur_hue"], factors["fur_saturation"], factors["fur_value"]
    fur = 0.02 + 0.10 * hue if factors["fur_kind"] == 0 else hue
    base = hsv(fur, saturation, value)
    if factors["second_kind"] == 0:
        second = hsv(fur + 0.04, saturation * 0.35, min(1.0, value + 0.3))
    else:
        second = hsv(fur - 0.02, 0.55, value * 0.42)
    return Coat(base, second, int(factors["pattern"]), Waves(texture, 0.6, 1.5))


def _toward(x: float, y: float, z: float) -> Array:
    direction = np.array([x, y, z], float)
    return direction / np.linalg.norm(direction)


class Head:
    """Geometry and paint of one head about its own centre; ``rows`` x ``columns`` is the resolution of the skull."""

    def __init__(self, factors: Mapping[str, float], skin: Coat, rows: int = 28, columns: int = 40) -> None:
        self.factors, self.skin = factors, skin
        self._sphere = meshes.unit_sphere(rows, columns)
        self._radii = np.array([factors["radius_x"], factors["radius_y"], factors["radius_z"]])
        self._radial = self._relief()
        self._skull = meshes.displaced_sphere(self._radial, self._radii, rows, columns)

    def _relief(self) -> Array:
        f, d = self.factors, self._sphere.vertices
        ex, ey = f["eye_spacing"], f["eye_height"]

        def bump(x: float, y: float, width: float) -> Array:
            """A smooth bump around (x, y) of the face and its mirror image."""
            gain = np.exp((d @ _toward(x, y, 1.0) - 1) / width**2)
            return gain if x == 0 else gain + np.exp((d @ _toward(-x, y, 1.0) - 1) / width**2)

        relief = 1 + f["snout_length"] * bump(0, f["snout_height"], f["snout_width"])
        relief += f["cheek"] * bump(1.25, -0.58, 0.35) + f["brow"] * bump(0, ey + 0.35, 0.3)
        return relief - 0.10 * bump(ex, ey, 0.2) - f["chin"] * bump(0, -1.8, 0.4)

    def surface(self, x: float, y: float, z: float) -> Array:
        """The point of the skull's surface in the given direction."""
        nearest = int(np.argmax(self._sphere.vertices @ _toward(x, y, z)))
        return _toward(x, y, z) * self._radial[nearest] * self._radii

    def add_to(
        self, assembly: Assembly, rotation: Array | None = None, offset: ArrayLike = (0.0, 0.0, 0.0), scale: float = 1.0
    ) -> Array:
        """Add skull, eyes, ears and nose to ``assembly``; returns the keypoints [9,3] in the assembly's frame."""
        turn = np.eye(3) if rotation is None else rotation
        f = self.factors
        radius = f["eye_radius"]
        lift = np.array([0.0, 0.0, -0.25 * radius])
        eyes = [self.surface(side * f["eye_spacing"], f["eye_height"], 1.0) + lift for side in (1, -1)]
        ears = [self._ear(side) for side in (1, -1)]
        nose = self.surface(0, f["snout_height"] + 0.12, 1.0)
        size = f["nose_size"]

        def add(mesh: Mesh, part: int) -> None:
            assembly.add(mesh.moved(turn, offset, scale), part)

        add(self._skull, FACE)
        for eye in eyes:
            add(meshes.ellipsoid(eye, [radius] * 3, rows=10, columns=14), EYE)
        for ear in ears:
            add(ear, EAR)
        add(meshes.ellipsoid(nose, [1.3 * size, size, size], rows=8, columns=12), SNOUT)
        mouth = self.surface(0, f["snout_height"] - 0.20, 1.0)
        points = np.stack([*(eye + np.array([0, 0, radius]) for eye in eyes), mouth])
        points = np.concatenate([points, *(_ear_points(ear, side) for ear, side in zip(ears, (1, -1), strict=True))])
        return (points * scale) @ turn.T + np.asarray(offset)

    def _ear(self, side: int) -> Mesh:
        f = self.factors
        length, width, angle = f["ear_length"], f["ear_width"], f["ear_angle"]
        root = self.surface(side * np.sin(angle), np.cos(angle), -0.05)
        lean = meshes.rotation_z(-side * angle * 0.8)
        kind = int(f["ear_kind"])
        if kind == CONE:
            cone = meshes.frustum([0, -0.08, 0], [0, length, 0], width, 0.015, 16)
            cone = _flattened(cone, 0.6)
            return replace(cone, canonical=cone.normals).moved(lean, root)
        if kind == ROUND:
            disc = meshes.ellipsoid([0, width * 0.5, 0], [width * 1.1, width * 1.1, 0.06], rows=9, columns=18)
            return disc.moved(lean, root)
        leaf = meshes.ellipsoid([0, length * 0.5, 0], [0.08, length * 0.65, 0.05], rows=10, columns=12)
        return leaf.moved(lean, root)

    def paint(self, surface: Surface) -> tuple[Float, NDArray[np.uint8]]:
        """Albedo and labels of the head's parts; other parts (> 8) are left black with their own label."""
        albedo = np.zeros((len(surface.part), 3), np.float32)
        label = surface.part.copy()
        self._paint_skull(surface, albedo, label)
        skin, f = self.skin, self.factors
        albedo[surface.part == SNOUT] = hsv(0.98, 0.45, f["nose_value"])
        ears = np.flatnonzero(surface.part == EAR)
        albedo[ears] = skin.base * np.float32(0.8)
        inner = ears[surface.canonical[ears, 2] > 0.45]
        albedo[inner], label[inner] = hsv(0.98, 0.35, 0.85), INNER_EAR
        eyes = np.flatnonzero(surface.part == EYE)
        ahead = surface.canonical[eyes, 2]
        albedo[eyes] = np.float32(0.96)
        albedo[eyes[ahead > 0.60]] = hsv(f["eye_hue"], 0.75, 0.75)
        pupil = eyes[ahead > 1 - 0.40 * f["pupil_size"]]
        albedo[pupil], label[pupil] = np.float32(0.03), PUPIL
        return albedo, label

    def _paint_skull(self, surface: Surface, albedo: Float, label: NDArray[np.uint8]) -> None:
        f, skin = self.factors, self.skin
        skull = np.flatnonzero(surface.part == FACE)
        q = surface.canonical[skull]
        x = np.abs(q[:, 0])
        mirrored = np.stack([q[:, 0] if f["asymmetric"] else x, q[:, 1], q[:, 2]], 1)
        colour = np.broadcast_to(skin.base, q.shape).copy()
        part = np.full(len(q), FACE, np.uint8)
        noise = skin.waves(mirrored)
        height, ahead = q[:, 1], q[:, 2] > 0
        if skin.pattern == SPOTS:
            colour[noise > 0.5] = skin.second
        elif skin.pattern == STRIPES:
            colour[np.sin(height * 10 + 1.1 * noise) > 0.5] = skin.second
        elif skin.pattern == BLAZE:
            colour[(x < 0.20) & (height > -0.1) & ahead] = skin.second
        muzzle = q @ _toward(0, f["snout_height"], 1).astype(np.float32) > 1 - 0.88 * f["snout_width"] ** 2
        part[muzzle] = SNOUT
        colour[muzzle] = skin.second
        lips = f["snout_height"] - 0.20 + 0.3 * x**2
        mouth = (np.abs(height - lips) < 0.035) & (x < 0.26) & ahead
        part[mouth], colour[mouth] = MOUTH, (0.22, 0.06, 0.06)
        arch = f["eye_height"] + 0.27 - 0.25 * (x - f["eye_spacing"] * 0.8) ** 2
        brow = (np.abs(height - arch) < 0.038) & (np.abs(x - f["eye_spacing"] * 0.85) < 0.16) & ahead
        part[brow], colour[brow] = BROW, skin.base * np.float32(0.25)
        albedo[skull], label[skull] = colour, part


def _flattened(mesh: Mesh, share: float) -> Mesh:
    depth = np.array([1.0, 1.0, share])
    return replace(mesh, vertices=mesh.vertices * depth, normals=meshes.normalised(mesh.normals / depth))


def _ear_points(ear: Mesh, side: int) -> Array:
    """Inner edge, tip and outer edge of an ear, as vertices of its mesh."""
    outward = ear.vertices[:, 0] * side
    picks = (int(outward.argmin()), int(ear.vertices[:, 1].argmax()), int(outward.argmax()))
    return ear.vertices[list(picks)]


def build(factors: Mapping[str, float], texture: np.random.Generator) -> Solid:
    """The head with the given factors, framed on its own."""
    head = Head(factors, coat(factors, texture))
    assembly = Assembly()
    return assembly.finish(head.add_to(assembly), head.paint)
