"""Class ``creature``: a four-legged toy animal with articulated head, legs and tail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.data import meshes, objects_head
from harness.data.factors import Factor, shape
from harness.data.meshes import Array, Mesh
from harness.data.objects_head import SPOTS, STRIPES, Head, coat
from harness.data.solids import Assembly, Float, Solid, Surface

PARTS = (*objects_head.PARTS, "neck", "trunk", "leg", "foot", "tail")
NECK, TRUNK, LEG, FOOT, TAIL = range(9, 14)
KEYPOINTS = (
    *objects_head.KEYPOINTS,
    "left_front_foot", "right_front_foot", "left_hind_foot", "right_hind_foot", "tail_base", "tail_tip",
)  # fmt: skip
MIRROR = (*objects_head.MIRROR, 10, 9, 12, 11, 13, 14)

_EAR_LENGTH = shape("ear_length", 0.20, 0.40)  # longer than in class head, where ears would shrink the face
_ARTICULATION = (
    Factor("head_yaw", "articulation", -0.6, 0.6),
    Factor("head_pitch", "articulation", -0.15, 0.3),
    Factor("gait_phase", "articulation", 0.0, 2 * np.pi, "circular"),
    Factor("gait_amplitude", "articulation", 0.0, 0.5),
    Factor("tail_lift", "articulation", -0.5, 1.1),
    Factor("tail_curl", "articulation", -0.6, 0.9),
)
_BODY = (
    shape("trunk_length", 0.42, 0.60),
    shape("trunk_radius", 0.22, 0.33),
    shape("trunk_depth", 0.85, 1.05),
    shape("leg_length", 0.28, 0.48),
    shape("leg_radius", 0.055, 0.09),
    shape("neck_pitch", 0.2, 1.0),
    shape("neck_length", 0.12, 0.30),
    shape("head_scale", 0.62, 0.85),
    shape("tail_length", 0.22, 0.50),
    shape("tail_end", 0.03, 0.08),
)
FACTORS: tuple[Factor, ...] = (
    *(_EAR_LENGTH if factor.name == "ear_length" else factor for factor in objects_head.SHAPE),
    *_BODY,
    *_ARTICULATION,
    *objects_head.APPEARANCE,
)


def build(factors: Mapping[str, float], texture: np.random.Generator) -> Solid:
    """The creature with the given factors; feet are near y = 0 before framing."""
    f, assembly = factors, Assembly()
    skin = coat(f, texture)
    head = Head(f, skin, rows=24, columns=34)
    radius, length = f["trunk_radius"], f["trunk_length"]
    hip = f["leg_length"] + radius * 0.8
    middle = np.array([0.0, hip, 0.0])
    trunk = meshes.ellipsoid(middle, [radius, radius * f["trunk_depth"], length], rows=20, columns=28)
    assembly.add(_own(trunk), TRUNK)

    pitch = f["neck_pitch"]
    root = np.array([0.0, hip + radius * 0.3, length * 0.75])
    nape = root + f["neck_length"] * np.array([0.0, np.sin(pitch), np.cos(pitch)])
    assembly.add([_own(m) for m in meshes.capsule(root, nape, radius * 0.62, 0.24 * f["head_scale"])], NECK)

    size = f["head_scale"]
    turn = meshes.rotation_y(f["head_yaw"]) @ meshes.rotation_x(f["head_pitch"])
    face = head.add_to(assembly, turn, nape + np.array([0.0, 0.18, 0.12]) * size, size)
    feet = _add_legs(assembly, f, radius, length, hip)
    tail = _add_tail(assembly, f, np.array([0.0, hip + radius * 0.3, -length * 0.88]))

    def paint(surface: Surface) -> tuple[Float, NDArray[np.uint8]]:
        albedo, label = head.paint(surface)
        body = np.flatnonzero(surface.part >= NECK)
        at, part = surface.canonical[body], surface.part[body]
        noise = skin.waves(np.stack([np.abs(at[:, 0]) * 1.6, at[:, 1] * 1.6, at[:, 2] * 2.2], 1))
        colour = np.broadcast_to(skin.base, at.shape).copy()
        if skin.pattern == SPOTS:
            colour[noise > 0.55] = skin.second
        elif skin.pattern == STRIPES:
            colour[(np.sin(at[:, 2] * 15 + 1.2 * noise) > 0.5) & (part != LEG)] = skin.second
        colour[(part == TRUNK) & (at[:, 1] < hip - 0.5 * radius)] = skin.second
        colour[part == FOOT] = skin.base * np.float32(0.35)
        albedo[body] = colour
        return albedo, label

    return assembly.finish(np.concatenate([face, feet, tail]), paint)


def _own(mesh: Mesh) -> Mesh:
    """The mesh with its own coordinates as canonical ones, so that a pattern runs on across primitives."""
    return replace(mesh, canonical=mesh.vertices)


def _add_legs(assembly: Assembly, f: Mapping[str, float], radius: float, length: float, hip: float) -> Array:
    """Four legs of two segments with feet; diagonal pairs swing together. Returns the toes [4,3]."""
    toes = []
    size, thick = f["leg_length"], f["leg_radius"]
    for forward in (1, -1):
        for side in (1, -1):
            swing = f["gait_amplitude"] * np.sin(f["gait_phase"] + (np.pi if side * forward > 0 else 0.0))
            top = np.array([side * radius * 0.6, hip - radius * 0.35, forward * length * 0.62])
            knee = top + size * 0.5 * np.array([0.0, -1.0, np.tan(swing)])
            ankle = np.array([knee[0], thick, knee[2] + size * 0.3 * np.tan(swing - 0.2)])
            assembly.add([_own(m) for m in meshes.capsule(top, knee, thick * 1.4, thick)], LEG)
            assembly.add([_own(m) for m in meshes.capsule(knee, ankle, thick, thick * 0.85)], LEG)
            foot = ankle + np.array([0.0, -thick * 0.3, 0.03])
            assembly.add(meshes.ellipsoid(foot, thick * np.array([1.15, 0.7, 1.7]), rows=9, columns=12), FOOT)
            toes.append(foot + np.array([0.0, 0.0, thick * 1.7]))
    return np.array(toes)


def _add_tail(assembly: Assembly, f: Mapping[str, float], base: Array) -> Array:
    """A tail of two segments. Returns its base and tip [2,3]."""
    lift, curl, half = f["tail_lift"], f["tail_curl"], f["tail_length"] * 0.5
    bend = base + half * np.array([0.0, np.sin(lift), -np.cos(lift)])
    away = np.array([0.5 * np.sin(curl), np.sin(lift + curl), -np.cos(lift + curl)])
    tip = bend + half * away
    assembly.add([_own(m) for m in meshes.capsule(base, bend, 0.07, 0.055)], TAIL)
    assembly.add([_own(m) for m in meshes.capsule(bend, tip, 0.055, f["tail_end"])], TAIL)
    return np.stack([base + np.array([0.0, 0.07, 0.0]), tip + f["tail_end"] * away / np.linalg.norm(away)])
